// Execution contexts: what is set before a run is checked, and runs are put on a stream of the double of libcudart.
#pragma once
#include "runtime.h"

struct Job {
    FakeContext* c;
    std::string engine, text;
    IProfiler* p;
    std::string name;
    void* mem;
    int64_t memsize;
};
static void run_job(void* d);
struct FakeContext : IExecutionContext, NExecutionContext {
    FakeEngine* e;
    std::map<std::string, void*> addr;
    std::map<std::string, Dims> shape;
    void* mem = nullptr;
    int64_t memsize = 0;
    int profile = -1;
    IProfiler* prof = nullptr;
    bool dirty = true;
    cudaStream_t pstream = nullptr;
    ExecutionContextAllocationStrategy st;
    bool profset = false;
    long runs = 0;
    FakeContext(FakeEngine* x, ExecutionContextAllocationStrategy s) : e(x), st(s) {
        IExecutionContext::mImpl = this;
        live.insert(this);
        ++e->contexts;
        if (!e->used_profiles[0]) {
            profile = 0;
            e->used_profiles[0]++;
        }
    }
    ~FakeContext() {
        live.erase(this);
        if (!live.count(e))
            VIOL("context outlives its engine");
        else {
            --e->contexts;
            if (profile >= 0) e->used_profiles[profile]--;
        }
        TR("context gone");
    }
    IExecutionContext* getPImpl() noexcept override { return this; }
    ICudaEngine const& getEngine() const noexcept override { return *e; }
    void setProfiler(IProfiler* p) noexcept override { prof = p; }
    IProfiler* getProfiler() const noexcept override { return prof; }
    bool getEnqueueEmitsProfile() const noexcept override { return true; }
    int32_t getOptimizationProfile() const noexcept override { return profile; }
    void setDeviceMemoryV2(void* p, int64_t n) noexcept override {
        TR("device memory %p %lld", p, (long long)n);
        if (st != ExecutionContextAllocationStrategy::kUSER_MANAGED)
            VIOL("device memory set on a context that has its own");
        if ((uintptr_t)p % 256) VIOL("device memory not aligned to 256");
        if (n < e->mem) VIOL("device memory %lld, engine needs %lld", (long long)n, (long long)e->mem);
        mem = p;
        memsize = n;
        dirty = true;
    }
    bool setOptimizationProfileAsync(int32_t i, cudaStream_t s) noexcept override {
        TR("profile %d", i);
        if (i < 0 || i >= e->nprof) {
            VIOL("profile %d of %d", i, e->nprof);
            return false;
        }
        if (auto f = cu<int (*)(void*)>("double_capturing"))
            if (f(s)) {
                VIOL("profile set during capture");
                cu<void (*)(void*)>("double_spoil")(s);
                return false;
            }
        if (profile != i) {
            if (profile >= 0) e->used_profiles[profile]--;
            profile = i;
            e->used_profiles[i]++;
            shape.clear();
            dirty = true;
        }
        pstream = s;
        profset = true;
        return true;
    }
    bool setInputShape(char const* n, Dims const& d) noexcept override {
        auto* x = e->of(n);
        if (!x || !x->input) {
            error(e->l, std::string("setInputShape: no input ") + n);
            return false;
        }
        if (profile < 0) {
            VIOL("setInputShape before a profile was set");
            return false;
        }
        std::string r;
        {
            Py p;
            r = p.take(PyObject_CallMethod(p.mod, "fits", "siss", e->id.c_str(), profile, n, text(d).c_str()));
        }
        if (r != "OK") {
            VIOL("setInputShape %s (%s): %s", n, text(d).c_str(), r.c_str());
            error(e->l, r);
            return false;
        }
        auto it = shape.find(n);
        bool same = it != shape.end() && text(it->second) == text(d);
        if (!same) {
            shape[n] = d;
            dirty = true;
        }
        return true;
    }
    Dims getTensorShape(char const* n) const noexcept override {
        auto* x = e->of(n);
        if (!x) return Dims{-1, {}};
        if (x->input) {
            auto it = shape.find(n);
            return it == shape.end() ? x->d : it->second;
        }
        std::string t;
        for (auto& s : shape) t += s.first + "\t" + text(s.second) + "\n";
        Py p;
        return dims(p.take(PyObject_CallMethod(p.mod, "shape", "sss", e->id.c_str(), n, t.c_str())));
    }
    bool setTensorAddress(char const* n, void* p) noexcept override {
        auto* x = e->of(n);
        if (has("address") || !x) {
            error(e->l, std::string("setTensorAddress: no tensor ") + n);
            return false;
        }
        if ((uintptr_t)p % 256)
            VIOL("address of %s %p is not aligned to 256 (engine %s, remainder %d)", n, p, e->id.c_str(),
                 (int)((uintptr_t)p % 256));
        addr[n] = p;
        return true;
    }
    void const* getTensorAddress(char const* n) const noexcept override {
        auto it = addr.find(n);
        return it == addr.end() ? nullptr : it->second;
    }
    bool enqueueV3(cudaStream_t s) noexcept override {
        auto capturing = cu<int (*)(void*)>("double_capturing");
        if (!capturing) {
            VIOL("no cudart");
            return false;
        }
        bool cap = capturing(s);
        if (!cu<int (*)(void*)>("double_known_stream")(s)) VIOL("enqueue on unknown stream %p", (void*)s);
        if (s == nullptr) VIOL("enqueue on the default stream");
        if (has("execute") || (cap && has("capture"))) {
            error(e->l, "enqueueV3 failed by fault");
            if (cap) cu<void (*)(void*)>("double_spoil")(s);
            return false;
        }
        if (!profset && e->nprof > 1) VIOL("enqueue without a profile set");
        if (pstream && pstream != s) VIOL("profile was set on another stream");
        if (e->mem && !mem) {
            VIOL("enqueue without device memory");
            return false;
        }
        if (cap && dirty)
            VIOL("capture of a context whose shapes, profile or memory changed since its last enqueue");
        if (cap && prof) VIOL("capture with a profiler that emits");
        std::string t;
        std::vector<uintptr_t> touch;
        auto range = cu<void (*)(const void*, size_t, const char*, const char*)>("double_range");
        for (auto& x : e->io) {
            auto it = addr.find(x.name);
            if (it == addr.end() || !it->second) {
                VIOL("no address of %s", x.name.c_str());
                error(e->l, "no address of " + x.name);
                return false;
            }
            if (x.input && !shape.count(x.name)) {
                VIOL("no shape of %s", x.name.c_str());
                return false;
            }
            Dims d = getTensorShape(x.name.c_str());
            size_t n = x.bytes;
            for (int i = 0; i < d.nbDims; ++i) {
                if (d.d[i] < 0) VIOL("shape of %s is not known", x.name.c_str());
                n *= d.d[i];
            }
            range(it->second, n, x.name.c_str(), "enqueueV3");
            touch.push_back((uintptr_t)it->second);
            touch.push_back(n);
            t += (x.input ? "I\t" : "O\t") + x.name + "\t" + std::to_string((uintptr_t)it->second) + "\t" +
                 text(d) + "\n";
        }
        if (e->mem) {
            range(mem, e->mem, "activation memory", "enqueueV3");
            touch.push_back((uintptr_t)mem);
            touch.push_back(e->mem);
            for (size_t i = 0; i + 2 < touch.size(); i += 2)
                if (touch[i] < (uintptr_t)mem + e->mem && (uintptr_t)mem < touch[i] + touch[i + 1])
                    VIOL("a tensor lies in the activation memory");
        }
        for (size_t i = 0; i < e->io.size(); ++i)
            for (size_t k = i + 1; k < e->io.size(); ++k)
                if (touch[2 * i] < touch[2 * k] + touch[2 * k + 1] &&
                    touch[2 * k] < touch[2 * i] + touch[2 * i + 1] && !(e->io[i].input && e->io[k].input))
                    VIOL("tensors %s and %s of %s overlap", e->io[i].name.c_str(), e->io[k].name.c_str(),
                         e->id.c_str());
        auto* j = new Job{this, e->id, t, prof, e->id, mem, e->mem};
        TR("enqueue %s%s profile %d\n%s", cap ? "(captured) " : "", e->id.c_str(), profile, t.c_str());
        cu<void (*)(void*, void (*)(void*), void*, const uintptr_t*, int, const char*)>("double_enqueue")(
            s, run_job, j, touch.data(), touch.size() / 2, "an engine");
        if (!cap) dirty = false;
        ++runs;
        if (prof && !cap) cu<int (*)(void*)>("cudaStreamSynchronize")(s);
        return true;
    }
};
static void run_job(void* d) {
    auto* j = (Job*)d;
    if (!live.count(j->c)) {
        VIOL("an engine runs whose context is gone (%s)", j->engine.c_str());
        return;
    }
    if (j->memsize) {
        uintptr_t b;
        size_t n;
        int k, f;
        if (!cu<int (*)(const void*, uintptr_t*, size_t*, int*, int*)>("double_find")(j->mem, &b, &n, &k, &f) ||
            f)
            VIOL("activation memory is gone when %s runs", j->engine.c_str());
        else
            memset(j->mem, 0x7F, j->memsize);
    }
    std::string r;
    {
        Py p;
        r = p.take(PyObject_CallMethod(p.mod, "run", "ss", j->engine.c_str(), j->text.c_str()));
    }
    auto lines = split(r, '\n');
    for (auto& l : lines) {
        auto p = split(l, '\t');
        if (p[0] == "L" && j->p)
            j->p->reportLayerTime(p[1].c_str(), atof(p[2].c_str()));
        else if (p[0] == "ERR")
            VIOL("%s", l.c_str());
    }
}
IExecutionContext* FakeEngine::createExecutionContext(ExecutionContextAllocationStrategy s) noexcept {
    if (has("context")) {
        error(l, "out of memory");
        return nullptr;
    }
    if (s != ExecutionContextAllocationStrategy::kUSER_MANAGED) VIOL("a context with memory of its own");
    return new FakeContext(this, s);
}
