// Double of libcudart whose device is host memory: streams, captures, graphs, events, and what libnvinfer's double asks.
#include "memory_calls.h"

extern "C" {
err cudaStreamCreateWithFlags(void** s, unsigned f) {
    LOCK;
    auto* x = new Stream{(int)f};
    S[x] = x;
    *s = x;
    TR("stream %p flags %u", *s, f);
    return 0;
}
err cudaStreamDestroy(void* s) {
    LOCK;
    Stream* x = st(s);
    if (!x) return E(400);
    drain(x);
    S.erase(s);
    return 0;
}
err cudaStreamSynchronize(void* s) {
    LOCK;
    Stream* x = st(s);
    if (!x) return E(400);
    if (x->cap) {
        VIOL("synchronise while capturing");
        x->bad = true;
        return E(900);
    }
    drain(x);
    for (auto& a : A)
        if (!a.second.freed) check_guards(a.second, "synchronise");
    return 0;
}
err cudaStreamBeginCapture(void* s, int mode) {
    LOCK;
    Stream* x = st(s);
    if (!x) return E(400);
    if (x->cap) {
        VIOL("capture begun twice");
        return E(901);
    }
    x->cap = true;
    x->bad = false;
    x->mode = mode;
    x->rec.clear();
    TR("begin capture");
    return 0;
}
err cudaStreamEndCapture(void* s, void** gr) {
    LOCK;
    Stream* x = st(s);
    if (!x) return E(400);
    *gr = nullptr;
    if (!x->cap) {
        return E(1);
    }
    x->cap = false;
    if (x->bad) {
        x->rec.clear();
        return E(901);
    }
    auto* g2 = new Graph{x->rec};
    x->rec.clear();
    *gr = g2;
    TR("end capture, %zu ops", g2->ops.size());
    return 0;
}
err cudaGraphInstantiateWithFlags(void** e, void* gr, unsigned long long f) {
    LOCK;
    *e = new Exec{((Graph*)gr)->ops};
    ++graphs;
    return 0;
}
err cudaGraphDestroy(void* gr) {
    LOCK;
    if (!gr) return E(1);
    ((Graph*)gr)->ops.clear();
    return 0;
}
err cudaGraphExecDestroy(void* e) {
    LOCK;
    Exec* x = (Exec*)e;
    if (!x->alive) {
        VIOL("graph destroyed twice");
        return E(1);
    }
    x->alive = false;
    --graphs;
    TR("graph destroy");
    return 0;
}
err cudaGraphLaunch(void* e, void* s) {
    LOCK;
    if (!e) return E(1);
    Stream* x = st(s);
    if (!x) return E(400);
    Exec* g2 = (Exec*)e;
    if (!g2->alive) {
        VIOL("launch of a destroyed graph");
        return E(1);
    }
    TR("launch %zu", g2->ops.size());
    for (auto& o : g2->ops) push(x, o);
    return 0;
}
struct Event {
    double at = -1;
};
static double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
err cudaEventCreate(void** e) {
    LOCK;
    *e = new Event;
    ++events;
    return 0;
}
err cudaEventDestroy(void* e) {
    LOCK;
    --events;
    (void)e;
    return 0;
}
err cudaEventRecord(void* e, void* s) {
    LOCK;
    Stream* x = st(s);
    if (!x) return E(400);
    auto* v = (Event*)e;
    auto op = std::make_shared<Op>();
    op->what = "an event";
    v->at = -1;
    op->run = [=] { v->at = now(); };
    push(x, op);
    return 0;
}
err cudaEventElapsedTime(float* ms, void* a, void* b) {
    LOCK;
    auto *x = (Event*)a, *y = (Event*)b;
    if (x->at < 0 || y->at < 0) {
        VIOL("elapsed time of an event that has not happened");
        return E(600);
    }
    *ms = y->at - x->at;
    return 0;
}
err cudaGetDeviceProperties(void* p, int d) {
    memset(p, 0, 1024);
    snprintf((char*)p, 256, "%s", getenv("DOUBLE_CUDA_NAME") ? getenv("DOUBLE_CUDA_NAME") : "Double");
    return 0;
}
err cudaGetLastError() {
    int e = lasterr;
    lasterr = 0;
    return e;
}
const char* cudaGetErrorString(int c) {
    switch (c) {
        case 0:
            return "no error";
        case 1:
            return "invalid argument";
        case 2:
            return "out of memory";
        case 35:
            return "CUDA driver version is insufficient for CUDA runtime version";
        case 100:
            return "no CUDA-capable device is detected";
        case 400:
            return "invalid resource handle";
        case 700:
            return "an illegal memory access was encountered";
        case 900:
            return "operation not permitted when stream is capturing";
        case 901:
            return "operation failed due to a previous error during capture";
    }
    return "some error";
}
// for libnvinfer's double
int double_capturing(void* s) {
    LOCK;
    auto it = S.find(s);
    return it != S.end() && it->second->cap;
}
void double_spoil(void* s) {
    LOCK;
    auto it = S.find(s);
    if (it != S.end()) it->second->bad = true;
}
int double_known_stream(void* s) {
    LOCK;
    return S.count(s);
}
// the callback stays valid for ever (graphs); touches as pairs
void double_enqueue(void* s, void (*fn)(void*), void* data, const uintptr_t* touch, int n, const char* what) {
    LOCK;
    Stream* x = st(s);
    if (!x) return;
    auto op = std::make_shared<Op>();
    op->what = what;
    op->run = [=] { fn(data); };
    for (int i = 0; i < n; ++i) op->touch.push_back({touch[2 * i], touch[2 * i + 1]});
    push(x, op);
}
void double_range(const void* p, size_t n, const char* role, const char* what) {
    LOCK;
    range(p, n, role, what, true);
}
// What was taken and not given back: memory, pinned memory, streams, events and graphs.
long double_live() {
    LOCK;
    long live = events + graphs + (long)S.size() - (long)S.count(nullptr);
    for (auto& a : A) live += !a.second.freed;
    return live;
}
}
struct AtExit {
    ~AtExit() {
        int dev = 0, pin = 0;
        size_t b = 0;
        for (auto& a : A)
            if (!a.second.freed) {
                check_guards(a.second, "exit");
                b += a.second.size;
                (a.second.kind == 1 ? dev : pin)++;
            }
        size_t q = 0;
        for (auto& s : S) q += s.second->q.size();
        if (!A.empty())
            say("exit: %d device and %d pinned blocks live, %zu bytes, peak %zu, %zu ops never waited for", dev,
                pin, b, peak, q);
    }
} at_exit;
