// The plugin registry, and a walk of a plugin node through a real plugin library, as a parser and a builder
// take it.
#pragma once
#include "base.h"

struct FakeDim : IDimensionExpr, NDimensionExpr {
    int64_t v;
    FakeDim(int64_t x) : v(x) { IDimensionExpr::mImpl = this; }
    bool isConstant() const override { return true; }
    int64_t getConstantValue() const override { return v; }
    bool isSizeTensor() const override { return false; }
};
struct FakeExpr : IExprBuilder, NExprBuilder {
    FakeExpr() { IExprBuilder::mImpl = this; }
    IDimensionExpr const* constant(int64_t v) override { return new FakeDim(v); }
    IDimensionExpr const* operation(DimensionOperation op, IDimensionExpr const& a,
                                    IDimensionExpr const& b) override {
        int64_t x = a.getConstantValue(), y = b.getConstantValue(), r = 0;
        switch (op) {
            case DimensionOperation::kSUM:
                r = x + y;
                break;
            case DimensionOperation::kPROD:
                r = x * y;
                break;
            case DimensionOperation::kSUB:
                r = x - y;
                break;
            case DimensionOperation::kFLOOR_DIV:
                r = x / y;
                break;
            case DimensionOperation::kCEIL_DIV:
                r = (x + y - 1) / y;
                break;
            case DimensionOperation::kMAX:
                r = x > y ? x : y;
                break;
            case DimensionOperation::kMIN:
                r = x < y ? x : y;
                break;
            default:
                say("NOT MODELLED dimension op");
        }
        return new FakeDim(r);
    }
};
struct FakeRegistry : IPluginRegistry {
    std::map<std::string, IPluginCreatorInterface*> all;
    std::vector<IPluginCreatorInterface*> list;
    static std::string key(std::string n, std::string v, std::string ns) { return ns + "::" + n + "::" + v; }
#if NV_TENSORRT_MAJOR < 11
    bool registerCreator(IPluginCreator&, AsciiChar const* const) noexcept override { return false; }
    IPluginCreator* const* getPluginCreatorList(int32_t* const n) const noexcept override {
        *n = 0;
        return nullptr;
    }
    IPluginCreator* getPluginCreator(AsciiChar const* const, AsciiChar const* const,
                                     AsciiChar const* const) noexcept override {
        return nullptr;
    }
    bool deregisterCreator(IPluginCreator const&) noexcept override { return false; }
#endif
    void setErrorRecorder(IErrorRecorder* const) noexcept override {}
    IErrorRecorder* getErrorRecorder() const noexcept override { return nullptr; }
    bool isParentSearchEnabled() const override { return true; }
    void setParentSearchEnabled(bool const) override {}
    PluginLibraryHandle loadLibrary(AsciiChar const* path) noexcept override {
        if (has("plugins")) return nullptr;
        void* h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!h) {
            say("loadLibrary: %s", dlerror());
            return nullptr;
        }
        auto get = (IPluginCreatorInterface* const* (*)(int32_t&))dlsym(h, "getCreators");
        auto set = (void (*)(ILoggerFinder*))dlsym(h, "setLoggerFinder");
        if (!get || !set) {
            say("loadLibrary: getCreators %p setLoggerFinder %p", (void*)get, (void*)set);
            return nullptr;
        }
        struct Finder : ILoggerFinder {
            ILogger* findLogger() override {
                struct Lg : ILogger {
                    void log(Severity s, AsciiChar const* m) noexcept override {
                        say("plugin log %d: %s", (int)s, m);
                    }
                };
                static Lg l;
                return &l;
            }
        };
        set(new Finder);
        int32_t n = 0;
        auto c = get(n);
        for (int i = 0; i < n; ++i) {
            auto* v3 = static_cast<IPluginCreatorV3One*>(c[i]);
            auto info = c[i]->getInterfaceInfo();
            std::string k = key(v3->getPluginName(), v3->getPluginVersion(), v3->getPluginNamespace());
            TR("creator %s kind %s %d.%d", k.c_str(), info.kind, info.major, info.minor);
            if (all.count(k)) {
                say("loadLibrary: %s already registered", k.c_str());
                return nullptr;
            }
            all[k] = c[i];
            list.push_back(c[i]);
        }
        return h;
    }
    void deregisterLibrary(PluginLibraryHandle) noexcept override {}
    bool registerCreator(IPluginCreatorInterface&, AsciiChar const* const) noexcept override {
        say("NOT MODELLED registerCreator");
        return false;
    }
    IPluginCreatorInterface* const* getAllCreators(int32_t* const n) const noexcept override {
        *n = list.size();
        return list.data();
    }
    IPluginCreatorInterface* getCreator(AsciiChar const* const n, AsciiChar const* const v,
                                        AsciiChar const* const ns) noexcept override {
        auto it = all.find(key(n, v, ns));
        return it == all.end() ? nullptr : it->second;
    }
    bool deregisterCreator(IPluginCreatorInterface const&) noexcept override { return false; }
    IPluginResource* acquirePluginResource(AsciiChar const*, IPluginResource*) noexcept override {
        return nullptr;
    }
    int32_t releasePluginResource(AsciiChar const*) noexcept override { return 0; }
#if NV_TENSORRT_MAJOR > 10 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR >= 13)
    IPluginCreatorInterface* const* getAllCreatorsRecursive(int32_t* const n) noexcept override {
        return getAllCreators(n);
    }
#endif
};
static FakeRegistry& registry() {
    static auto* r = new FakeRegistry;
    return *r;
}
// Called from nvinfer_double.parse through ctypes: walks a plugin node as a parser and builder would.
// spec lines: "name\tversion\tnamespace", "F\tattr\ti1,i2", "I\ttype\tdims", "O\ttype" ; result: text
static std::string walk_plugin(const std::string& spec, bool runtime) {
    auto lines = split(spec, '\n');
    auto head = split(lines[0], '\t');
    head.resize(3);
    auto* c = registry().getCreator(head[0].c_str(), head[1].c_str(), head[2].c_str());
    if (!c) return "ERR no creator " + head[2] + "::" + head[0] + "::" + head[1];
    auto* v3 = static_cast<IPluginCreatorV3One*>(c);
    std::vector<PluginField> f;
    std::vector<std::vector<int32_t>> data;
    std::vector<std::string> names;
    data.reserve(32);
    names.reserve(32);
    auto want = v3->getFieldNames();
    std::vector<IO> in;
    IO out{};
    for (size_t i = 1; i < lines.size(); ++i) {
        auto p = split(lines[i], '\t');
        p.resize(3);
        if (p[0] == "F") {
            bool known = false;
            for (int k = 0; k < want->nbFields; ++k) known |= p[1] == want->fields[k].name;
            if (!known) {
                TR("attribute %s is no field of %s", p[1].c_str(), head[0].c_str());
                continue;
            }
            std::vector<int32_t> v;
            for (auto& x : split(p[2], ',')) v.push_back(atoi(x.c_str()));
            data.push_back(v);
            names.push_back(p[1]);
            f.emplace_back(names.back().c_str(), data.back().data(), PluginFieldType::kINT32,
                           (int32_t)v.size());
        } else if (p[0] == "I")
            in.push_back({"", true, atoi(p[1].c_str()), dims(p[2]), 0});
        else if (p[0] == "O")
            out = {"", false, atoi(p[1].c_str()), dims(p[2]), 0};
    }
    PluginFieldCollection fc{(int32_t)f.size(), f.data()};
    auto* plugin = v3->createPlugin("node", &fc, TensorRTPhase::kBUILD);
    if (!plugin) return "ERR createPlugin returned null for " + head[0];
    auto* core = static_cast<IPluginV3OneCore*>(plugin->getCapabilityInterface(PluginCapabilityType::kCORE));
    auto* build = static_cast<IPluginV3OneBuild*>(plugin->getCapabilityInterface(PluginCapabilityType::kBUILD));
    auto* run =
        static_cast<IPluginV3OneRuntime*>(plugin->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    if (!core || !build || !run) return "ERR a capability is missing";
    FakeExpr e;
    std::vector<DimsExprs> de(in.size());
    DimsExprs od{};
    for (size_t i = 0; i < in.size(); ++i) {
        de[i].nbDims = in[i].d.nbDims;
        for (int k = 0; k < in[i].d.nbDims; ++k) de[i].d[k] = new FakeDim(in[i].d.d[k]);
    }
    if (build->getOutputShapes(de.data(), in.size(), nullptr, 0, &od, 1, e))
        return "ERR getOutputShapes failed";
    std::string got;
    for (int k = 0; k < od.nbDims; ++k)
        got += (k ? "," : "") + std::to_string((long long)od.d[k]->getConstantValue());
    std::vector<DataType> ty;
    for (auto& x : in) ty.push_back((DataType)x.type);
    DataType ot;
    if (build->getOutputDataTypes(&ot, 1, ty.data(), in.size())) return "ERR getOutputDataTypes failed";
    if ((int)ot != out.type)
        return "ERR output type " + std::to_string((int)ot) + " where the graph says " +
               std::to_string(out.type);
    if (out.d.nbDims && got != text(out.d))
        return "ERR output shape " + got + " where the graph says " + text(out.d);
    // formats, position by position, like the builder: greedy over formats, types fixed (strongly typed)
    std::vector<DynamicPluginTensorDesc> t(in.size() + 1);
    std::string formats;
    for (size_t i = 0; i <= in.size(); ++i) {
        auto& x = i < in.size() ? in[i] : out;
        t[i].desc.dims = i < in.size() ? x.d : dims(got);
        t[i].min = t[i].max = t[i].desc.dims;
        t[i].desc.type = (DataType)x.type;
        t[i].desc.scale = 1;
    }
    int found = 0;
    std::vector<TensorFormat> fm = {TensorFormat::kLINEAR, TensorFormat::kHWC8, TensorFormat::kCHW16,
                                    TensorFormat::kHWC};
    std::vector<int> pick(t.size(), 0);
    std::function<void(size_t)> go = [&](size_t pos) {
        if (pos == t.size()) {
            ++found;
            formats += " [";
            for (auto& x : t) formats += std::to_string((int)x.desc.format);
            formats += "]";
            if (build->configurePlugin(t.data(), in.size(), &t[in.size()], 1)) {
                formats += "configure FAILED";
                return;
            }
            size_t w = build->getWorkspaceSize(t.data(), in.size(), &t[in.size()], 1);
            formats += "ws=" + std::to_string(w);
            return;
        }
        for (auto x : fm) {
            t[pos].desc.format = x;
            if (build->supportsFormatCombination(pos, t.data(), in.size(), 1)) go(pos + 1);
        }
    };
    go(0);
    if (!found) return "ERR no format combination is supported by " + head[0];
    if (formats.find("FAILED") != std::string::npos) return "ERR configurePlugin failed:" + formats;
    // serialise, create for the runtime, attach, shape change
    auto* ser = run->getFieldsToSerialize();
    auto* again = v3->createPlugin("node", ser, TensorRTPhase::kRUNTIME);
    if (!again) return "ERR createPlugin at runtime returned null";
    auto* run2 =
        static_cast<IPluginV3OneRuntime*>(again->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    auto* attached = run2->attachToContext(nullptr);
    if (!attached) return "ERR attachToContext returned null";
    auto* run3 =
        static_cast<IPluginV3OneRuntime*>(attached->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    std::vector<PluginTensorDesc> pd;
    for (auto& x : t) {
        x.desc.format = TensorFormat::kLINEAR;
        pd.push_back(x.desc);
    }
    if (run3->onShapeChange(pd.data(), in.size(), &pd[in.size()], 1)) return "ERR onShapeChange failed";
    std::string id = build->getTimingCacheID() ? build->getTimingCacheID() : "(null)";
    auto* copy = plugin->clone();
    delete plugin;
    delete again;
    delete attached;
    delete copy;
    return "OK " + head[0] + " " + got + formats + " id=" + id;
}
extern "C" const char* double_walk_plugin(const char* spec) {
    static std::string r;
    r = walk_plugin(spec, false);
    return r.c_str();
}
