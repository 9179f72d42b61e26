// EdgeflowAdaBD: adaptive blending and deformation of two frames' features (Shortcut-V2V).
//
// Inputs: current, reference, offset, mask, weight. Offset and mask are float32 whatever the others are.
// Channels-last features (kHWC8) are taken as they are.
#include "kernels/operators.h"
#include "plugin_base.h"

namespace edgeflow {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

struct AdaBD {
    static constexpr char const* kName = "EdgeflowAdaBD";
    enum Input { kCurrent, kReference, kOffset, kMask, kWeight, kInputs };

    std::array<Field, 0> fields() { return {}; }

    bool accepts(int32_t position, Tensors const& tensors) const {
        if (tensors.inputs() != kInputs) return false;
        switch (position) {
            case kCurrent: return tensors.linearData(kCurrent) || takesChannelsLast(tensors);
            case kOffset:
            case kMask: return tensors.is(position, DataType::kFLOAT, TensorFormat::kLINEAR);
            case kWeight:
                return tensors.is(kWeight, tensors[kCurrent].type, TensorFormat::kLINEAR) &&
                       (!tensors.channelsLast() || tensors[kWeight].dims.d[0] % 8 == 0);
            default: return tensors.is(position, tensors[kCurrent].type, tensors[kCurrent].format);
        }
    }

    std::string problem(Tensors const& tensors) const {
        if (tensors.inputs() != kInputs) return "it has 5 inputs";
        if (!tensors.fourDimensional(kCurrent) || !tensors.fourDimensional(kWeight)) {
            return "current and weight should have 4 dimensions each";
        }
        int64_t const n = tensors.size(kCurrent, 0), channels = tensors.size(kCurrent, 1);
        int64_t const height = tensors.size(kCurrent, 2), width = tensors.size(kCurrent, 3);
        std::string text = tensors.unlike("reference", kReference, {n, channels, height, width});
        if (text.empty()) text = tensors.unlike("offset", kOffset, {n, 18, height, width});
        if (text.empty()) text = tensors.unlike("mask", kMask, {n, 9, height, width});
        if (text.empty())
            text = tensors.unlike("weight", kWeight, {tensors.size(kWeight, 0), channels, 3, 3});
        return text;
    }

    void outputShape(nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs& output,
                     nvinfer1::IExprBuilder&) const {
        output = inputs[kCurrent];
        output.d[1] = inputs[kWeight].d[0];
    }

    size_t workspace(Tensors const& tensors) const {
        EdgeflowAdaBD const values = sizes(tensors);
        return edgeflow_adabd_workspace(&values);
    }

    int enqueue(Tensors const& tensors, void const* const* inputs, void* output, void* workspace,
                cudaStream_t stream) const {
        EdgeflowAdaBD const values = sizes(tensors);
        return edgeflow_adabd(
            &values, inputs[kCurrent], inputs[kReference], static_cast<float const*>(inputs[kOffset]),
            static_cast<float const*>(inputs[kMask]), inputs[kWeight], output, workspace, stream);
    }

private:
    bool takesChannelsLast(Tensors const& tensors) const {
        nvinfer1::Dims const& dims = tensors[kCurrent].dims;
        return tensors.is(kCurrent, DataType::kHALF, TensorFormat::kHWC8) && dims.nbDims == 4 &&
               dims.d[1] > 0 && dims.d[1] % 8 == 0;
    }
    EdgeflowAdaBD sizes(Tensors const& tensors) const {
        EdgeflowAdaBD values{};
        values.batch = tensors.size(kCurrent, 0);
        values.channels = tensors.size(kCurrent, 1);
        values.height = tensors.size(kCurrent, 2);
        values.width = tensors.size(kCurrent, 3);
        values.outputs = tensors.size(kWeight, 0);
        values.half = tensors.half();
        values.channels_last = tensors.channelsLast();
        return values;
    }
};

Registered<AdaBD> const registered;

}  // namespace
}  // namespace edgeflow
