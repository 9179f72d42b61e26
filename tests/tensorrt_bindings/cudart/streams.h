// Streams of the double of libcudart: queues that run when somebody waits, or at once; captures; what is given
// back.
#pragma once
#include "memory.h"

struct Op {
    std::function<void()> run;
    std::vector<std::pair<uintptr_t, size_t>> touch;
    std::string what;
};
struct Stream {
    int flags;
    std::deque<std::shared_ptr<Op>> q;
    bool cap = false, bad = false;
    std::vector<std::shared_ptr<Op>> rec;
    int mode = 0;
    long ran = 0;
    bool alive = true;
    std::thread::id runner{};
};
struct Graph {
    std::vector<std::shared_ptr<Op>> ops;
    bool alive = true;
};
struct Exec {
    std::vector<std::shared_ptr<Op>> ops;
    bool alive = true;
};
static std::map<void*, Stream*> S;
static Stream* st(void* s) {
    auto it = S.find(s);
    if (it == S.end()) {
        if (s == nullptr) {
            auto* x = new Stream{0};
            S[nullptr] = x;
            VIOL("the default stream is used");
            return x;
        }
        VIOL("unknown stream %p", s);
        return nullptr;
    }
    return it->second;
}
static Stream* capturing() {
    for (auto& k : S)
        if (k.second->cap) return k.second;
    return nullptr;
}
static int lasterr = 0;
static long events = 0, graphs = 0;
static err E(int e) {
    if (e) lasterr = e;
    return e;
}
static err unsafe(const char* n) {
    if (Stream* s = capturing()) {
        VIOL("%s during a capture", n);
        s->bad = true;
        return E(900);
    }
    return 0;
}
// Operations run in the order in which they were pushed. One may call back (an engine computes in Python, whose
// collector frees what is no longer used): what was pushed after it does not overtake it.
static void drain(Stream* s) {
    if (s->runner == std::this_thread::get_id()) return;
    while (s->runner != std::thread::id()) {
        M.unlock();
        usleep(100);
        M.lock();
    }
    s->runner = std::this_thread::get_id();
    while (!s->q.empty()) {
        auto op = s->q.front();
        s->q.pop_front();
        for (auto& t : op->touch) {
            Alloc* a = find((void*)t.first);
            if (a && a->freed)
                VIOL("%s reads or writes freed memory %p (%zu bytes) when it runs", op->what.c_str(),
                     (void*)t.first, t.second);
        }
        M.unlock();
        op->run();
        M.lock();
        s->ran++;
    }
    s->runner = std::thread::id();
}
static void push(Stream* s, std::shared_ptr<Op> op) {
    if (s->cap) {
        s->rec.push_back(op);
        return;
    }
    s->q.push_back(op);
    if (envl("DOUBLE_CUDA_EAGER", 0)) drain(s);
}
static err alloc(void** p, size_t n, int kind) {
    size_t total = envl("DOUBLE_CUDA_TOTAL_MB", 8192) * (size_t)1048576;
    if (used + n > total) {
        VIOL("note: out of memory at %zu", n);
        return E(2);
    }
    size_t ms = ((n + 2 * G + 4095) / 4096) * 4096;
    uint8_t* m = (uint8_t*)mmap(nullptr, ms, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) return E(2);
    memset(m, 0xA5, G);
    memset(m + G, 0xFF, n);
    memset(m + G + n, 0xA5, ms - G - n);
    Alloc a{m + G, n, kind, false, m, ms, nullptr};
    A[(uintptr_t)a.base] = a;
    used += n;
    if (used > peak) peak = used;
    *p = a.base;
    return 0;
}
static err release(void* p, int kind, const char* name) {
    if (!p) return 0;
    auto it = A.find((uintptr_t)p);
    if (it == A.end() || it->second.kind != kind) {
        VIOL("%s of %p that is no such allocation", name, p);
        return E(1);
    }
    Alloc& a = it->second;
    if (a.freed) {
        VIOL("%s twice of %p", name, p);
        return E(1);
    }
    for (auto& k : S)
        for (auto& op : k.second->q)
            for (auto& t : op->touch)
                if (t.first < (uintptr_t)a.base + a.size && (uintptr_t)a.base < t.first + t.second) {
                    say("note: %s of %p (%zu bytes) while %s is in flight; the call waits", name, p, a.size,
                        op->what.c_str());
                    goto seen;
                }
seen:
    for (auto& k : S) drain(k.second);  // both calls wait for the device
    check_guards(a, name);
    memset(a.base, 0xEE, a.size);
    a.freed = true;
    used -= a.size;
    return 0;
}
#define LOCK std::lock_guard<std::recursive_mutex> g(M)
