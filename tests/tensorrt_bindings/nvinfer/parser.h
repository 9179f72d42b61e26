// The ONNX parser, whose Python side loads the graph and checks its types.
#pragma once
#include "builder.h"

struct FakeError : nvonnxparser::IParserError {
    std::string op, name, d;
    nvonnxparser::ErrorCode code() const override { return nvonnxparser::ErrorCode::kUNSUPPORTED_NODE; }
    char const* desc() const override { return d.c_str(); }
    char const* file() const override { return "onnxOpImporters.cpp"; }
    int line() const override { return 1; }
    char const* func() const override { return "importNode"; }
    int node() const override { return 0; }
    char const* nodeName() const override { return name.c_str(); }
    char const* nodeOperator() const override { return op.c_str(); }
    char const* const* localFunctionStack() const override { return nullptr; }
    int32_t localFunctionStackSize() const override { return 0; }
};
struct FakeParser : nvonnxparser::IParser {
    FakeNetwork* n;
    ILogger* l;
    std::vector<FakeError*> errs;
    FakeParser(FakeNetwork* x, ILogger* y) : n(x), l(y) {}
    ~FakeParser() { TR("parser gone"); }
    bool parse(void const*, size_t, const char*) noexcept override {
        say("NOT MODELLED parse");
        return false;
    }
    bool parseFromFile(const char* f, int) noexcept override {
        std::string r;
        {
            Py p;
            r = p.take(PyObject_CallMethod(p.mod, "parse", "s", f));
        }
        auto lines = split(r, '\n');
        auto h = split(lines[0], '\t');
        if (h[0] == "ERR") {
            h.resize(4);
            auto* e = new FakeError;
            e->op = h[1];
            e->name = h[2];
            e->d = h[3];
            errs.push_back(e);
            error(l, "In node " + h[2] + ": " + h[3]);
            return false;
        }
        n->id = h[1];
        for (auto& x : ios(lines)) (x.input ? n->in : n->out).push_back(new FakeTensor(x));
        return true;
    }
#if NV_TENSORRT_MAJOR < 11
    bool supportsModel(void const*, size_t, SubGraphCollection_t&, const char*) noexcept override {
        return false;
    }
    bool parseWithWeightDescriptors(void const*, size_t) noexcept override { return false; }
#endif
    bool supportsOperator(const char*) const noexcept override { return true; }
    int getNbErrors() const noexcept override { return errs.size(); }
    nvonnxparser::IParserError const* getError(int i) const noexcept override { return errs[i]; }
    void clearErrors() noexcept override { errs.clear(); }
    char const* const* getUsedVCPluginLibraries(int64_t& n2) const noexcept override {
        n2 = 0;
        return nullptr;
    }
    void setFlags(nvonnxparser::OnnxParserFlags) noexcept override {}
    nvonnxparser::OnnxParserFlags getFlags() const noexcept override { return 1; }
    void clearFlag(nvonnxparser::OnnxParserFlag) noexcept override {}
    void setFlag(nvonnxparser::OnnxParserFlag) noexcept override {}
    bool getFlag(nvonnxparser::OnnxParserFlag) const noexcept override { return false; }
    ITensor const* getLayerOutputTensor(char const*, int64_t) noexcept override { return nullptr; }
    bool supportsModelV2(void const*, size_t, char const*) noexcept override { return false; }
    int64_t getNbSubgraphs() noexcept override { return 0; }
    bool isSubgraphSupported(int64_t const) noexcept override { return false; }
    int64_t* getSubgraphNodes(int64_t const, int64_t&) noexcept override { return nullptr; }
    bool loadModelProto(void const*, size_t, char const*) noexcept override { return false; }
    bool loadInitializer(char const*, void const*, size_t) noexcept override { return false; }
    bool parseModelProto() noexcept override { return false; }
    bool setBuilderConfig(const IBuilderConfig* const) noexcept override { return false; }
};
