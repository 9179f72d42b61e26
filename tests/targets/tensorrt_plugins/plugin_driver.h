// Calls the plugins as TensorRT does, without TensorRT: with its headers, and our own small implementations
// of the interfaces that the plugins call.
#pragma once

#include <NvInferRuntime.h>

#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace nvinfer1;

extern "C" IPluginCreatorInterface* const* getCreators(int32_t& count);
extern "C" void setLoggerFinder(ILoggerFinder* finder);

namespace {

int failures = 0;

#define CHECK(condition)                                                    \
    if (!(condition)) {                                                     \
        std::printf("%s:%d: not so: %s\n", __func__, __LINE__, #condition); \
        ++failures;                                                         \
    }

// What a plugin logs.
class Logger : public ILogger {
public:
    std::string last;
    void log(Severity severity, AsciiChar const* text) noexcept override {
        CHECK(severity == Severity::kERROR);
        last = text;
    }
    bool said(std::string const& part) const { return last.find(part) != std::string::npos; }
} logger;

class Finder : public ILoggerFinder {
public:
    virtual ~Finder() = default;
    ILogger* findLogger() override { return &logger; }
} finder;

// Dimension expressions: all of them constants.
class Constant : public IDimensionExpr {
    struct Value : apiv::VDimensionExpr {
        int64_t value;
        bool isConstant() const override { return true; }
        int64_t getConstantValue() const override { return value; }
        bool isSizeTensor() const override { return false; }
    } value_;

public:
    explicit Constant(int64_t value) {
        value_.value = value;
        mImpl = &value_;
    }
};

class Builder : public IExprBuilder {
    struct Maker : apiv::VExprBuilder {
        std::deque<Constant> made;
        IDimensionExpr const* constant(int64_t value) override { return &made.emplace_back(value); }
        IDimensionExpr const* operation(DimensionOperation, IDimensionExpr const&,
                                        IDimensionExpr const&) override {
            return nullptr;
        }
        IDimensionExpr const* declareSizeTensor(int32_t, IDimensionExpr const&,
                                                IDimensionExpr const&) override {
            return nullptr;
        }
    } maker_;

public:
    Builder() { mImpl = &maker_; }
};

using Shape = std::vector<int64_t>;

Dims dims_of(Shape const& shape) {
    Dims dims{};
    dims.nbDims = int32_t(shape.size());
    for (size_t i = 0; i < shape.size(); ++i) dims.d[i] = shape[i];
    return dims;
}

struct Tensor {
    DataType type;
    Shape shape;
    TensorFormat format = TensorFormat::kLINEAR;

    PluginTensorDesc desc() const {
        PluginTensorDesc desc{};
        desc.dims = dims_of(shape);
        desc.type = type;
        desc.format = format;
        desc.scale = 1.0f;
        return desc;
    }
    DynamicPluginTensorDesc dynamic() const {
        DynamicPluginTensorDesc dynamic{};
        dynamic.desc = desc();
        dynamic.min = dynamic.opt = dynamic.max = dims_of(shape);
        return dynamic;
    }
    size_t count() const {
        size_t count = 1;
        for (int64_t size : shape) count *= size_t(size);
        return count;
    }
    size_t bytes() const { return count() * (type == DataType::kHALF ? 2 : 4); }
};

using Attributes = std::vector<std::pair<char const*, std::vector<int32_t>>>;

IPluginCreatorV3One* creator_of(std::string const& name) {
    int32_t count = 0;
    IPluginCreatorInterface* const* const all = getCreators(count);
    for (int32_t i = 0; i < count; ++i) {
        auto* const creator = static_cast<IPluginCreatorV3One*>(all[i]);
        if (creator->getPluginName() == name) return creator;
    }
    return nullptr;
}

std::unique_ptr<IPluginV3> create(std::string const& name, Attributes const& attributes) {
    std::vector<PluginField> fields;
    for (auto const& [key, values] : attributes) {
        fields.emplace_back(key, values.data(), PluginFieldType::kINT32, int32_t(values.size()));
    }
    PluginFieldCollection const collection{int32_t(fields.size()), fields.data()};
    return std::unique_ptr<IPluginV3>(
        creator_of(name)->createPlugin("node", &collection, TensorRTPhase::kBUILD));
}

IPluginV3OneCore* core(IPluginV3& plugin) {
    return static_cast<IPluginV3OneCore*>(plugin.getCapabilityInterface(PluginCapabilityType::kCORE));
}
IPluginV3OneBuild* build(IPluginV3& plugin) {
    return static_cast<IPluginV3OneBuild*>(plugin.getCapabilityInterface(PluginCapabilityType::kBUILD));
}
IPluginV3OneRuntime* runtime(IPluginV3& plugin) {
    return static_cast<IPluginV3OneRuntime*>(plugin.getCapabilityInterface(PluginCapabilityType::kRUNTIME));
}

std::vector<DynamicPluginTensorDesc> dynamic(std::vector<Tensor> const& tensors) {
    std::vector<DynamicPluginTensorDesc> descs;
    for (Tensor const& tensor : tensors) descs.push_back(tensor.dynamic());
    return descs;
}

// The last tensor is the output.
bool supports(IPluginV3& plugin, std::vector<Tensor> const& tensors) {
    auto const descs = dynamic(tensors);
    for (int32_t position = 0; position < int32_t(descs.size()); ++position) {
        // What comes after a position has no meaning yet; the answer must not depend on it.
        auto known = descs;
        for (size_t later = size_t(position) + 1; later < known.size(); ++later) known[later] = {};
        if (!build(plugin)->supportsFormatCombination(position, known.data(), int32_t(descs.size()) - 1, 1)) {
            return false;
        }
    }
    return true;
}

int32_t configure(IPluginV3& plugin, std::vector<Tensor> const& tensors) {
    auto const descs = dynamic(tensors);
    return build(plugin)->configurePlugin(descs.data(), int32_t(descs.size()) - 1, &descs.back(), 1);
}

size_t workspace(IPluginV3& plugin, std::vector<Tensor> const& tensors) {
    auto const descs = dynamic(tensors);
    return build(plugin)->getWorkspaceSize(descs.data(), int32_t(descs.size()) - 1, &descs.back(), 1);
}

Shape output_shape(IPluginV3& plugin, std::vector<Tensor> const& inputs) {
    std::deque<Constant> constants;
    std::vector<DimsExprs> given(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
        given[i].nbDims = int32_t(inputs[i].shape.size());
        for (int32_t d = 0; d < given[i].nbDims; ++d)
            given[i].d[d] = &constants.emplace_back(inputs[i].shape[d]);
    }
    DimsExprs output{};
    Builder builder;
    CHECK(build(plugin)->getOutputShapes(given.data(), int32_t(given.size()), nullptr, 0, &output, 1,
                                         builder) == 0);
    Shape shape;
    for (int32_t d = 0; d < output.nbDims; ++d) shape.push_back(output.d[d]->getConstantValue());
    return shape;
}

// Small finite numbers as float32, or, from their upper bits, as float16.
std::vector<char> numbers(Tensor const& tensor, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<char> bytes(tensor.bytes());
    for (size_t i = 0; i < tensor.count(); ++i) {
        float const value = float(random() % 512) / 256.0f - 1.0f;
        if (tensor.type == DataType::kFLOAT) {
            std::memcpy(&bytes[i * 4], &value, 4);
        } else {
            uint32_t bits;
            std::memcpy(&bits, &value, 4);
            uint32_t const exponent = (bits >> 23 & 255) - 112;
            uint16_t const half =
                value == 0.0f ? 0 : uint16_t(bits >> 31 << 15 | exponent << 10 | (bits >> 13 & 1023));
            std::memcpy(&bytes[i * 2], &half, 2);
        }
    }
    return bytes;
}

}  // namespace
