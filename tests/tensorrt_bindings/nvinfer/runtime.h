// Runtimes, engines and inspectors: plans are read by Python, lifetimes are checked.
#pragma once
#include "builder.h"

struct FakeRuntime;
struct FakeEngine;
struct FakeContext;
static std::set<void*> live;
struct FakeInspector : IEngineInspector, NEngineInspector {
    FakeEngine const* e;
    mutable std::string b;
    FakeInspector(FakeEngine const* x) : e(x) { IEngineInspector::mImpl = this; }
    char const* getEngineInformation(LayerInformationFormat f) const noexcept override;
};
struct FakeEngine : ICudaEngine, NCudaEngine {
    FakeRuntime* rt;
    std::string id;
    std::vector<IO> io;
    int64_t mem;
    int nprof;
    mutable int contexts = 0;
    mutable std::map<int, int> used_profiles;
    ILogger* l;
    FakeEngine() {
        ICudaEngine::mImpl = this;
        live.insert(this);
    }
    ~FakeEngine();
    IO const* of(const char* n) const {
        for (auto& x : io)
            if (x.name == n) return &x;
        return nullptr;
    }
    int32_t getNbIOTensors() const noexcept override { return io.size(); }
    char const* getIOTensorName(int32_t i) const noexcept override {
        return i < (int)io.size() ? io[i].name.c_str() : nullptr;
    }
    TensorIOMode getTensorIOMode(char const* n) const noexcept override {
        auto* x = of(n);
        return x ? (x->input ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT) : TensorIOMode::kNONE;
    }
    Dims getTensorShape(char const* n) const noexcept override {
        auto* x = of(n);
        return x ? x->d : Dims{-1, {}};
    }
    DataType getTensorDataType(char const* n) const noexcept override {
        auto* x = of(n);
        return x ? (DataType)x->type : DataType::kFLOAT;
    }
    int32_t getTensorBytesPerComponent(char const* n) const noexcept override {
        return -1;
    }  // NvInferRuntime.h: -1 unless the tensor is vectorised
    int32_t getTensorBytesPerComponentV2(char const* n, int32_t) const noexcept override {
        return getTensorBytesPerComponent(n);
    }
    int64_t getDeviceMemorySizeV2() const noexcept override { return mem; }
    int64_t getDeviceMemorySizeForProfileV2(int32_t) const noexcept override { return mem; }
    int32_t getNbOptimizationProfiles() const noexcept override { return nprof; }
    IEngineInspector* createEngineInspector() const noexcept override { return new FakeInspector(this); }
    IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy s) noexcept override;
};
struct FakeRuntime : IRuntime, NRuntime {
    ILogger* l;
    int engines = 0;
    FakeRuntime(ILogger* x) : l(x) {
        IRuntime::mImpl = this;
        live.insert(this);
    }
    ~FakeRuntime() {
        if (engines) VIOL("runtime destroyed with %d engines alive", engines);
        live.erase(this);
        TR("runtime gone");
    }
    IRuntime* getPImpl() noexcept override { return this; }
    ILogger* getLogger() const noexcept override { return l; }
    IPluginRegistry& getPluginRegistry() noexcept override { return registry(); }
    ICudaEngine* deserializeCudaEngine(void const* p, std::size_t n) noexcept override {
        std::string r;
        {
            Py x;
            r = x.take(
                PyObject_CallMethod(x.mod, "deserialise", "KK", (unsigned long long)p, (unsigned long long)n));
        }
        auto lines = split(r, '\n');
        auto h = split(lines[0], '\t');
        if (h[0] == "ERR") {
            error(l, h.size() > 1 ? h[1] : "?");
            return nullptr;
        }
        auto* e = new FakeEngine;
        e->rt = this;
        e->id = h[1];
        e->mem = atoll(h[2].c_str());
        e->nprof = atoi(h[3].c_str());
        e->io = ios(lines);
        e->l = l;
        ++engines;
        TR("engine %s, %lld bytes of memory", e->id.c_str(), (long long)e->mem);
        return e;
    }
};
FakeEngine::~FakeEngine() {
    if (contexts) VIOL("engine %s destroyed with %d contexts alive", id.c_str(), contexts);
    if (!live.count(rt))
        VIOL("engine %s outlives its runtime", id.c_str());
    else
        --rt->engines;
    live.erase(this);
    TR("engine %s gone", id.c_str());
}
char const* FakeInspector::getEngineInformation(LayerInformationFormat f) const noexcept {
    Py x;
    b = x.take(PyObject_CallMethod(x.mod, "inspect", "si", e->id.c_str(), (int)f));
    return b.c_str();
}
