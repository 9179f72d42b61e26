// Everything that TensorRT's plugin interfaces ask for and that is the same for every operator of ours.
//
// An operator is one file: a struct as below, and `static Registered<MyOperator> const registered;`.
//
//   struct MyOperator {
//       static constexpr char const* kName = "EdgeflowMyOperator";  // the ONNX node's op type
//       int32_t radius;                                             // its attributes, all int32
//       std::array<Field, 1> fields() { return {{{"radius", &radius, 1}}}; }
//
//       // Whether it takes the type and format of a tensor, counted over inputs and output.
//       bool accepts(int32_t position, Tensors const& tensors) const;
//       // Why it cannot take tensors of these shapes, or "".
//       std::string problem(Tensors const& tensors) const;
//       void outputShape(DimsExprs const* inputs, DimsExprs& output, IExprBuilder& builder) const;
//       size_t workspace(Tensors const& tensors) const;  // bytes
//       // A CUDA error, of which 0 is none.
//       int enqueue(Tensors const& tensors, void const* const* inputs, void* output, void* workspace,
//                   cudaStream_t stream) const;
//   };
//
// There is one output, of the first input's type. Needs headers of TensorRT 10.1 to 11.x, and no library.
#pragma once

#include <NvInferRuntime.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace edgeflow {

constexpr char const* kNamespace = "edgeflow";
// A plan keeps an operator's attributes: others, or ones that mean something else, are a new version.
constexpr char const* kVersion = "1";

// An attribute: where its values lie in the operator.
struct Field {
    char const* name;
    int32_t* values;
    int32_t count;
};

// The tensors of one call, as an operator sees them.
class Tensors {
    static constexpr int32_t kMost = 8;
    std::array<nvinfer1::PluginTensorDesc, kMost> all_{};
    int32_t inputs_;

public:
    Tensors(nvinfer1::PluginTensorDesc const* inputs, int32_t count, nvinfer1::PluginTensorDesc const* output)
        : inputs_(count < kMost ? count : kMost - 1) {
        for (int32_t i = 0; i < inputs_; ++i) all_[i] = inputs[i];
        all_[inputs_] = *output;
    }
    // At build time: free dimensions count as the profile's largest, for which memory must suffice.
    Tensors(nvinfer1::DynamicPluginTensorDesc const* inputs, int32_t count,
            nvinfer1::DynamicPluginTensorDesc const* output)
        : inputs_(count < kMost ? count : kMost - 1) {
        for (int32_t i = 0; i < inputs_; ++i) all_[i] = largest(inputs[i]);
        all_[inputs_] = largest(*output);
    }

    int32_t inputs() const { return inputs_; }
    nvinfer1::PluginTensorDesc const& operator[](int32_t position) const { return all_[position]; }
    int32_t size(int32_t position, int32_t dimension) const {
        return static_cast<int32_t>(all_[position].dims.d[dimension]);
    }
    bool half() const { return all_[0].type == nvinfer1::DataType::kHALF; }
    bool channelsLast() const { return all_[0].format == nvinfer1::TensorFormat::kHWC8; }
    bool is(int32_t position, nvinfer1::DataType type, nvinfer1::TensorFormat format) const {
        return all_[position].type == type && all_[position].format == format;
    }
    // Float32 or float16, channels first.
    bool linearData(int32_t position) const {
        return is(position, nvinfer1::DataType::kFLOAT, nvinfer1::TensorFormat::kLINEAR) ||
               is(position, nvinfer1::DataType::kHALF, nvinfer1::TensorFormat::kLINEAR);
    }
    // What the shape of a tensor should be and is not, or "". The kernels count in int32.
    std::string unlike(char const* name, int32_t position, std::vector<int64_t> const& wanted) const {
        nvinfer1::Dims const& dims = all_[position].dims;
        std::string found, should;
        bool same = dims.nbDims == static_cast<int32_t>(wanted.size());
        for (int32_t i = 0; i < dims.nbDims; ++i) {
            found += (i ? ", " : "") + std::to_string(dims.d[i]);
            same = same && dims.d[i] == wanted[i] && dims.d[i] <= INT32_MAX;
        }
        for (size_t i = 0; i < wanted.size(); ++i) should += (i ? ", " : "") + std::to_string(wanted[i]);
        return same ? "" : std::string(name) + " is (" + found + ") where (" + should + ") is wanted";
    }
    bool fourDimensional(int32_t position) const {
        nvinfer1::Dims const& dims = all_[position].dims;
        bool known = dims.nbDims == 4;
        for (int32_t i = 0; i < 4 && known; ++i) known = dims.d[i] >= 0 && dims.d[i] <= INT32_MAX;
        return known;
    }

private:
    static nvinfer1::PluginTensorDesc largest(nvinfer1::DynamicPluginTensorDesc const& dynamic) {
        nvinfer1::PluginTensorDesc desc = dynamic.desc;
        for (int32_t i = 0; i < desc.dims.nbDims; ++i) {
            if (desc.dims.d[i] < 0) desc.dims.d[i] = dynamic.max.d[i];
        }
        return desc;
    }
};

// TensorRT's logger, once the library was loaded by a plugin registry; stderr before.
inline nvinfer1::ILoggerFinder*& loggerFinder() {
    static nvinfer1::ILoggerFinder* finder = nullptr;
    return finder;
}

inline void logError(std::string const& text) {
    nvinfer1::ILogger* const logger = loggerFinder() ? loggerFinder()->findLogger() : nullptr;
    if (logger) {
        logger->log(nvinfer1::ILogger::Severity::kERROR, text.c_str());
    } else {
        std::fprintf(stderr, "%s\n", text.c_str());
    }
}

// Attributes into an operator; what is wrong with them, or "". Fields of other names are left alone, should
// a parser pass on the attributes that only name the plugin.
template <typename Operator>
std::string read(nvinfer1::PluginFieldCollection const& collection, Operator& into) {
    for (Field const& wanted : into.fields()) {
        nvinfer1::PluginField const* found = nullptr;
        for (int32_t i = 0; i < collection.nbFields; ++i) {
            if (std::strcmp(collection.fields[i].name, wanted.name) == 0) found = &collection.fields[i];
        }
        if (!found) return std::string("attribute ") + wanted.name + " is missing";
        if (found->type != nvinfer1::PluginFieldType::kINT32 || found->length != wanted.count ||
            !found->data) {
            return std::string("attribute ") + wanted.name + " should be " + std::to_string(wanted.count) +
                   " int32 and is " + std::to_string(found->length) + " of field type " +
                   std::to_string(static_cast<int32_t>(found->type));
        }
        std::memcpy(wanted.values, found->data, sizeof(int32_t) * wanted.count);
    }
    return "";
}

template <typename Operator>
class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
    Operator operator_;
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
    std::string description_;  // attributes, as text
    int32_t inputs_ = 0;       // as configured last: enqueue is not told how many there are

    int32_t fail(std::string const& problem) const {
        logError(std::string(Operator::kName) + ": " + problem);
        return -1;
    }
    int32_t check(Tensors const& tensors) {
        inputs_ = tensors.inputs();
        std::string const problem = operator_.problem(tensors);
        return problem.empty() ? 0 : fail(problem);
    }

public:
    explicit Plugin(Operator const& values, int32_t inputs = 0) : operator_(values), inputs_(inputs) {
        fields_.reserve(1);  // so that even an empty collection points somewhere
        for (Field const& field : operator_.fields()) {
            fields_.emplace_back(field.name, field.values, nvinfer1::PluginFieldType::kINT32, field.count);
            description_ += std::string(field.name) + "=";
            for (int32_t i = 0; i < field.count; ++i) description_ += std::to_string(field.values[i]) + ",";
        }
        collection_.nbFields = static_cast<int32_t>(fields_.size());
        collection_.fields = fields_.data();
    }

    nvinfer1::IPluginCapability* getCapabilityInterface(
        nvinfer1::PluginCapabilityType type) noexcept override {
        switch (type) {
            case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
            case nvinfer1::PluginCapabilityType::kBUILD:
                return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
            case nvinfer1::PluginCapabilityType::kRUNTIME:
                return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }
    nvinfer1::IPluginV3* clone() noexcept override { return new Plugin(operator_, inputs_); }

    // Core
    char const* getPluginName() const noexcept override { return Operator::kName; }
    char const* getPluginVersion() const noexcept override { return kVersion; }
    char const* getPluginNamespace() const noexcept override { return kNamespace; }

    // Build
    int32_t getNbOutputs() const noexcept override { return 1; }
    int32_t configurePlugin(nvinfer1::DynamicPluginTensorDesc const* inputs, int32_t count,
                            nvinfer1::DynamicPluginTensorDesc const* outputs, int32_t) noexcept override {
        return check(Tensors(inputs, count, outputs));
    }
    int32_t getOutputDataTypes(nvinfer1::DataType* outputs, int32_t, nvinfer1::DataType const* inputs,
                               int32_t) const noexcept override {
        outputs[0] = inputs[0];
        return 0;
    }
    int32_t getOutputShapes(nvinfer1::DimsExprs const* inputs, int32_t, nvinfer1::DimsExprs const*, int32_t,
                            nvinfer1::DimsExprs* outputs, int32_t,
                            nvinfer1::IExprBuilder& builder) noexcept override {
        if (inputs[0].nbDims != 4) return fail("the first input should have 4 dimensions");
        outputs[0].nbDims = 4;
        operator_.outputShape(inputs, outputs[0], builder);
        return 0;
    }
    // An operator may look at what lies before `position` only, so all of it is handed on.
    bool supportsFormatCombination(int32_t position, nvinfer1::DynamicPluginTensorDesc const* all,
                                   int32_t inputs, int32_t outputs) noexcept override {
        if (position >= inputs + outputs) return false;
        std::vector<nvinfer1::PluginTensorDesc> tensors;
        for (int32_t i = 0; i < inputs + outputs; ++i) tensors.push_back(all[i].desc);
        return operator_.accepts(position, Tensors(tensors.data(), inputs, &tensors[inputs]));
    }
    size_t getWorkspaceSize(nvinfer1::DynamicPluginTensorDesc const* inputs, int32_t count,
                            nvinfer1::DynamicPluginTensorDesc const* outputs,
                            int32_t) const noexcept override {
        return operator_.workspace(Tensors(inputs, count, outputs));
    }
    char const* getTimingCacheID() noexcept override { return description_.c_str(); }
    char const* getMetadataString() noexcept override { return description_.c_str(); }

    // Runtime
    int32_t onShapeChange(nvinfer1::PluginTensorDesc const* inputs, int32_t count,
                          nvinfer1::PluginTensorDesc const* outputs, int32_t) noexcept override {
        return check(Tensors(inputs, count, outputs));
    }
    int32_t enqueue(nvinfer1::PluginTensorDesc const* inputDescs,
                    nvinfer1::PluginTensorDesc const* outputDescs, void const* const* inputs,
                    void* const* outputs, void* workspace, cudaStream_t stream) noexcept override {
        if (inputs_ == 0) return fail("enqueue came before onShapeChange");
        Tensors const tensors(inputDescs, inputs_, outputDescs);
        int const status = operator_.enqueue(tensors, inputs, outputs[0], workspace, stream);
        return status == 0 ? 0 : fail("CUDA error " + std::to_string(status));
    }
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override {
        return clone();
    }
    nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept override { return &collection_; }
};

template <typename Operator>
class Creator final : public nvinfer1::IPluginCreatorV3One {
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};

public:
    Creator() {
        Operator values{};
        fields_.reserve(1);
        for (Field const& field : values.fields()) {
            fields_.emplace_back(field.name, nullptr, nvinfer1::PluginFieldType::kINT32, field.count);
        }
        collection_.nbFields = static_cast<int32_t>(fields_.size());
        collection_.fields = fields_.data();
    }

    // At build time from the ONNX node's attributes, at load time from what getFieldsToSerialize returned.
    nvinfer1::IPluginV3* createPlugin(char const* name, nvinfer1::PluginFieldCollection const* fields,
                                      nvinfer1::TensorRTPhase) noexcept override {
        Operator values{};
        std::string const problem = read(fields ? *fields : nvinfer1::PluginFieldCollection{}, values);
        if (problem.empty()) return new Plugin<Operator>(values);
        logError(std::string(Operator::kName) + " " + (name ? name : "") + ": " + problem);
        return nullptr;
    }
    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override { return &collection_; }
    char const* getPluginName() const noexcept override { return Operator::kName; }
    char const* getPluginVersion() const noexcept override { return kVersion; }
    char const* getPluginNamespace() const noexcept override { return kNamespace; }
};

// The creators of this library, which a plugin registry asks for.
inline std::vector<nvinfer1::IPluginCreatorInterface*>& creators() {
    static std::vector<nvinfer1::IPluginCreatorInterface*> all;
    return all;
}

template <typename Operator>
struct Registered {
    Registered() {
        static Creator<Operator> creator;
        creators().push_back(&creator);
    }
};

}  // namespace edgeflow
