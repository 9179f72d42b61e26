// Networks, profiles, timing caches and builders: they keep what they are told, and hand it to Python.
#pragma once
#include "plugins.h"

struct FakeTensor : ITensor, NTensor {
    IO io;
    FakeTensor(IO x) : io(x) { ITensor::mImpl = this; }
    char const* getName() const noexcept override { return io.name.c_str(); }
    Dims getDimensions() const noexcept override { return io.d; }
    DataType getType() const noexcept override { return (DataType)io.type; }
};
struct FakeNetwork : INetworkDefinition, NNetworkDefinition {
    uint32_t flags;
    std::string id;
    std::vector<FakeTensor*> in, out;
    IBuilder* b;
    FakeNetwork(uint32_t f, IBuilder* bb) : flags(f), b(bb) { INetworkDefinition::mImpl = this; }
    ~FakeNetwork() { TR("network gone"); }
    int32_t getNbInputs() const noexcept override { return in.size(); }
    int32_t getNbOutputs() const noexcept override { return out.size(); }
    ITensor* getInput(int32_t i) const noexcept override { return i < (int)in.size() ? in[i] : nullptr; }
    ITensor* getOutput(int32_t i) const noexcept override { return i < (int)out.size() ? out[i] : nullptr; }
    void unmarkOutput(ITensor& t) noexcept override {
        for (size_t i = 0; i < out.size(); ++i)
            if (static_cast<ITensor*>(out[i]) == &t) {
                out.erase(out.begin() + i);
                return;
            }
        VIOL("unmarkOutput of a tensor that is no output");
    }
    NetworkDefinitionCreationFlags getFlags() const noexcept override { return flags; }
};
struct FakeProfile : IOptimizationProfile, NOptimizationProfile {
    std::map<std::string, std::map<int, Dims>> s;
    FakeProfile() { IOptimizationProfile::mImpl = this; }
    bool setDimensions(char const* n, OptProfileSelector sel, Dims const& d) noexcept override {
        s[n][(int)sel] = d;
        return true;
    }
    Dims getDimensions(char const* n, OptProfileSelector sel) const noexcept override {
        return s.at(n).at((int)sel);
    }
    bool isValid() const noexcept override { return true; }
    std::string str() const {
        std::string r;
        for (auto& x : s) {
            r += x.first;
            for (int k = 0; k < 3; ++k)
                r += "\t" + (x.second.count(k) ? text(x.second.at(k)) : std::string("?"));
            r += "\n";
        }
        return r;
    }
};
struct FakeCache : ITimingCache, NTimingCache {
    std::string b;
    FakeCache(std::string x) : b(x) { ITimingCache::mImpl = this; }
    IHostMemory* serialize() const noexcept override { return new FakeHostMemory(b); }
};
struct FakeConfig : IBuilderConfig, NBuilderConfig {
    uint32_t flags;
    std::map<int, size_t> pools;
    std::vector<const FakeProfile*> profiles;
    int aux = -1, verb = 0;
    FakeCache* cache = nullptr;
    ILogger* l;
    FakeConfig(ILogger* x) : l(x) {
        IBuilderConfig::mImpl = this;
        flags = 1u << (int)BuilderFlag::kTF32;
    }
    void setMemoryPoolLimit(MemoryPoolType p, std::size_t n) noexcept override { pools[(int)p] = n; }
    std::size_t getMemoryPoolLimit(MemoryPoolType p) const noexcept override {
        auto it = pools.find((int)p);
        return it == pools.end() ? 0 : it->second;
    }
    void setProfilingVerbosity(ProfilingVerbosity v) noexcept override { verb = (int)v; }
#if NV_TENSORRT_MAJOR >= 11
    bool setMaxAuxStreams(int32_t n) noexcept override {
        aux = n;
        return true;
    }
#else
    void setMaxAuxStreams(int32_t n) noexcept override { aux = n; }
#endif
    void clearFlag(BuilderFlag f) noexcept override { flags &= ~(1u << (int)f); }
    void setFlag(BuilderFlag f) noexcept override {
        flags |= 1u << (int)f;
        say("setFlag %d", (int)f);
    }
    ITimingCache* createTimingCache(void const* p, std::size_t n) const noexcept override {
        std::string b((const char*)p, n);
        if (n && b.rfind("DOUBLECACHE", 0) != 0) {
            error(l, "[timingCache.cpp::deserialize] Invalid timing cache: magic tag does not match");
            return nullptr;
        }
        return new FakeCache(n ? b : "DOUBLECACHE\n");
    }
    bool setTimingCache(ITimingCache const& c, bool ignore) noexcept override {
        auto& f = static_cast<FakeCache const&>(c);
        if (f.b.find("otherdevice") != std::string::npos && !ignore) return false;
        cache = const_cast<FakeCache*>(&f);
        return true;
    }
    ITimingCache const* getTimingCache() const noexcept override { return cache; }
    int32_t addOptimizationProfile(IOptimizationProfile const* p) noexcept override {
        profiles.push_back(static_cast<FakeProfile const*>(p));
        return profiles.size() - 1;
    }
    int32_t getNbOptimizationProfiles() const noexcept override { return profiles.size(); }
};
struct FakeBuilder : IBuilder, NBuilder {
    ILogger* l;
    FakeBuilder(ILogger* x) : l(x) { IBuilder::mImpl = this; }
    ~FakeBuilder() { TR("builder gone"); }
    IBuilderConfig* createBuilderConfig() noexcept override { return new FakeConfig(l); }
    INetworkDefinition* createNetworkV2(NetworkDefinitionCreationFlags f) noexcept override {
        return new FakeNetwork(f, this);
    }
    IOptimizationProfile* createOptimizationProfile() noexcept override { return new FakeProfile; }
    IPluginRegistry& getPluginRegistry() noexcept override { return registry(); }
    ILogger* getLogger() const noexcept override { return l; }
    IHostMemory* doBuild(INetworkDefinition& n, IBuilderConfig& c) {
        auto& net = static_cast<FakeNetwork&>(n);
        auto& cfg = static_cast<FakeConfig&>(c);
        std::string conf = "flags\t" + std::to_string(cfg.flags) + "\naux\t" + std::to_string(cfg.aux) +
                           "\nverb\t" + std::to_string(cfg.verb) + "\nnetflags\t" + std::to_string(net.flags) +
                           "\ntf32\t" + std::to_string((cfg.flags >> (int)BuilderFlag::kTF32) & 1) + "\n";
        conf += "strong\t" +
                std::to_string((net.flags >> (int)NetworkDefinitionCreationFlag::kSTRONGLY_TYPED) & 1) + "\n";
        conf += "workspace\t" + std::to_string(cfg.getMemoryPoolLimit(MemoryPoolType::kWORKSPACE)) + "\n";
        conf += "outputs\t";
        for (size_t i = 0; i < net.out.size(); ++i) conf += (i ? "," : "") + net.out[i]->io.name;
        conf += "\n";
        std::string prof;
        for (auto* p : cfg.profiles) prof += p->str() + "--\n";
        std::string r;
        {
            Py p;
            r = p.take(PyObject_CallMethod(p.mod, "build", "sss", net.id.c_str(), prof.c_str(), conf.c_str()),
                       true);
        }
        if (r.rfind("ERR\t", 0) == 0) {
            for (auto& x : split(r, '\n')) error(l, x.substr(x.find('\t') + 1));
            return nullptr;
        }
        if (cfg.cache) cfg.cache->b += net.id + "\n";
        return new FakeHostMemory(r);
    }
    IHostMemory* buildSerializedNetwork(INetworkDefinition& n, IBuilderConfig& c) noexcept override {
        return doBuild(n, c);
    }
#if NV_TENSORRT_MAJOR > 10 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR >= 13)
    IHostMemory* buildSerializedNetworkWithKernelText(INetworkDefinition& n, IBuilderConfig& c,
                                                      IHostMemory*& k) noexcept override {
        k = nullptr;
        return doBuild(n, c);
    }
#endif
};
