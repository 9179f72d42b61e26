// EdgeflowDeformConv2d: modulated deformable convolution.
//
// Inputs in ONNX DeformConv's order: x, weight, offset, bias and, unless every modulation is 1, mask. Offset
// and mask are float32 whatever the others are. Channels-last tensors (kHWC8) are taken as they are.
#include <numeric>

#include "kernels/operators.h"
#include "plugin_base.h"

namespace edgeflow {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

struct DeformConv2d {
    static constexpr char const* kName = "EdgeflowDeformConv2d";
    enum Input { kX, kWeight, kOffset, kBias, kMask };

    int32_t strides[2], pads[4], dilations[2], group, offset_group;

    std::array<Field, 5> fields() {
        return {{{"strides", strides, 2},
                 {"pads", pads, 4},
                 {"dilations", dilations, 2},
                 {"group", &group, 1},
                 {"offset_group", &offset_group, 1}}};
    }

    bool accepts(int32_t position, Tensors const& tensors) const {
        if (tensors.inputs() != 4 && tensors.inputs() != 5) return false;
        if (position == tensors.inputs()) return tensors.is(position, tensors[kX].type, tensors[kX].format);
        switch (position) {
            case kX: return tensors.linearData(kX) || takesChannelsLast(tensors);
            case kWeight:
                return tensors.is(kWeight, tensors[kX].type, TensorFormat::kLINEAR) &&
                       (!tensors.channelsLast() || tensors[kWeight].dims.d[0] % 8 == 0);
            case kBias: return tensors.is(kBias, tensors[kX].type, TensorFormat::kLINEAR);
            default: return tensors.is(position, DataType::kFLOAT, TensorFormat::kLINEAR);
        }
    }

    std::string problem(Tensors const& tensors) const {
        if (tensors.inputs() != 4 && tensors.inputs() != 5) return "it has 4 or 5 inputs";
        for (int32_t value : {strides[0], strides[1], dilations[0], dilations[1], group, offset_group}) {
            if (value < 1) return "strides, dilations, group and offset_group are at least 1";
        }
        if (!tensors.fourDimensional(kX) || !tensors.fourDimensional(kWeight)) {
            return "x and weight should have 4 dimensions each";
        }
        int64_t const n = tensors.size(kX, 0), channels = tensors.size(kX, 1);
        int64_t const outputs = tensors.size(kWeight, 0), taps = kernel(tensors, 0) * kernel(tensors, 1);
        int64_t const height = outputSize(tensors, 0), width = outputSize(tensors, 1);
        if (channels % group || outputs % group || channels % offset_group) {
            return "group divides both channels and outputs, offset_group the channels";
        }
        std::string text = tensors.unlike(
            "weight", kWeight, {outputs, channels / group, kernel(tensors, 0), kernel(tensors, 1)});
        if (text.empty())
            text = tensors.unlike("offset", kOffset, {n, offset_group * taps * 2, height, width});
        if (text.empty()) text = tensors.unlike("bias", kBias, {outputs});
        if (text.empty() && tensors.inputs() == 5) {
            text = tensors.unlike("mask", kMask, {n, offset_group * taps, height, width});
        }
        return text;
    }

    // The offset has the output's height and width.
    void outputShape(nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs& output,
                     nvinfer1::IExprBuilder&) const {
        output.d[0] = inputs[kX].d[0];
        output.d[1] = inputs[kWeight].d[0];
        output.d[2] = inputs[kOffset].d[2];
        output.d[3] = inputs[kOffset].d[3];
    }

    size_t workspace(Tensors const& tensors) const {
        EdgeflowDeformConv2d const values = sizes(tensors);
        return edgeflow_deform_conv2d_workspace(&values);
    }

    int enqueue(Tensors const& tensors, void const* const* inputs, void* output, void* workspace,
                cudaStream_t stream) const {
        EdgeflowDeformConv2d const values = sizes(tensors);
        auto const* const mask = tensors.inputs() == 5 ? static_cast<float const*>(inputs[kMask]) : nullptr;
        return edgeflow_deform_conv2d(&values, inputs[kX], inputs[kWeight],
                                      static_cast<float const*>(inputs[kOffset]), inputs[kBias], mask, output,
                                      workspace, stream);
    }

private:
    // A kHWC8 tensor pads its channels to a multiple of 8; the kernel takes it where nothing is padded, and
    // where eight neighbouring channels share a group and an offset group.
    bool takesChannelsLast(Tensors const& tensors) const {
        if (!tensors.is(kX, DataType::kHALF, TensorFormat::kHWC8)) return false;
        if (tensors[kX].dims.nbDims != 4 || group < 1 || offset_group < 1) return false;
        int64_t const channels = tensors[kX].dims.d[1], runs = std::lcm(group, offset_group);
        return channels > 0 && channels % runs == 0 && channels / runs % 8 == 0;
    }
    int64_t kernel(Tensors const& tensors, int32_t axis) const { return tensors.size(kWeight, 2 + axis); }
    int64_t outputSize(Tensors const& tensors, int32_t axis) const {
        int64_t const reach = int64_t(dilations[axis]) * (kernel(tensors, axis) - 1) + 1;
        return (int64_t(tensors.size(kX, 2 + axis)) + pads[axis] + pads[axis + 2] - reach) / strides[axis] +
               1;
    }
    EdgeflowDeformConv2d sizes(Tensors const& tensors) const {
        EdgeflowDeformConv2d values{};
        values.batch = tensors.size(kX, 0);
        values.channels = tensors.size(kX, 1);
        values.height = tensors.size(kX, 2);
        values.width = tensors.size(kX, 3);
        values.outputs = tensors.size(kWeight, 0);
        values.kernel_height = tensors.size(kWeight, 2);
        values.kernel_width = tensors.size(kWeight, 3);
        values.stride_y = strides[0];
        values.stride_x = strides[1];
        values.pad_top = pads[0];
        values.pad_left = pads[1];
        values.dilation_y = dilations[0];
        values.dilation_x = dilations[1];
        values.groups = group;
        values.offset_groups = offset_group;
        values.output_height = tensors.size(kOffset, 2);
        values.output_width = tensors.size(kOffset, 3);
        values.half = tensors.half();
        values.channels_last = tensors.channelsLast();
        return values;
    }
};

Registered<DeformConv2d> const registered;

}  // namespace
}  // namespace edgeflow
