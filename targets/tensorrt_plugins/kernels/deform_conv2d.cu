// Modulated deformable convolution (Zhu et al., Deformable ConvNets v2, 2018), as ONNX DeformConv 19 has it.
#include "operators.h"
#include "sampled_product.cuh"

namespace edgeflow {
namespace {

template <typename T>
struct DeformSampler {
    using Tap = Corners;
    using Reads = CornerReads<T>;

    EdgeflowDeformConv2d sizes;
    T const* x;
    float const* offset;
    float const* mask;

    __device__ Tap tap(SampledShape const& shape, int64_t image, int32_t offset_group, int32_t tap, int32_t y,
                       int32_t x) const {
        int64_t const pixels = int64_t(shape.output_height) * shape.output_width;
        int64_t const pixel = int64_t(y) * shape.output_width + x;
        int64_t const plane = (image * shape.offset_groups + offset_group) * shape.taps + tap;
        float const modulation = mask ? mask[plane * pixels + pixel] : 1.0f;
        float const* const moved = offset + plane * 2 * pixels + pixel;
        int32_t const row = y * sizes.stride_y - sizes.pad_top + tap / sizes.kernel_width * sizes.dilation_y;
        int32_t const column =
            x * sizes.stride_x - sizes.pad_left + tap % sizes.kernel_width * sizes.dilation_x;
        return corners_at(float(row) + moved[0], float(column) + moved[pixels], shape.height, shape.width,
                          modulation);
    }
    __device__ Reads read(SampledShape const& shape, Tap const& tap, int64_t image, int32_t slot) const {
        return read_corners(tap, x + image * shape.image_values() + slot, shape.pitch(), shape.width);
    }
    __device__ void blend(float (&sum)[Channels<T>::kCount], Reads const& reads, Tap const& tap) const {
        add_corners<T>(sum, reads, tap);
    }
};

template <typename T>
SampledShape shape_of(EdgeflowDeformConv2d const& sizes) {
    SampledShape shape{};
    shape.batch = sizes.batch;
    shape.height = sizes.height;
    shape.width = sizes.width;
    shape.channels = sizes.channels;
    shape.output_height = sizes.output_height;
    shape.output_width = sizes.output_width;
    shape.outputs = sizes.outputs;
    shape.taps = sizes.kernel_height * sizes.kernel_width;
    shape.groups = sizes.groups;
    shape.offset_groups = sizes.offset_groups;
    shape.channels_last = sizes.channels_last != 0;
    bool const steps =
        sizes.stride_y > 0 && sizes.stride_x > 0 && sizes.dilation_y > 0 && sizes.dilation_x > 0;
    return steps && sizes.kernel_height > 0 && valid<T>(shape) ? complete<T>(shape) : SampledShape{};
}

template <typename T>
size_t workspace(EdgeflowDeformConv2d const& sizes) {
    SampledShape const shape = shape_of<T>(sizes);
    return shape.taps ? Operands<T>::bytes(shape, 1) : 0;
}

template <typename T>
cudaError_t run(EdgeflowDeformConv2d const& sizes, void const* x, void const* weight, float const* offset,
                void const* bias, float const* mask, void* output, void* workspace, CUstream_st* stream) {
    SampledShape const shape = shape_of<T>(sizes);
    if (!shape.taps) return cudaErrorInvalidValue;
    if (shape.empty()) return cudaSuccess;
    Operands<T> operands(shape, workspace, stream);
    T const* const packed = operands.weight(weight);
    DeformSampler<T> const sampler{sizes, operands.images(x), offset, mask};
    if (operands.status() != cudaSuccess) return operands.status();
    return launch_sampled_product<T>(shape, sampler, packed, static_cast<T const*>(bias),
                                     static_cast<T*>(output), stream);
}

}  // namespace
}  // namespace edgeflow

size_t edgeflow_deform_conv2d_workspace(EdgeflowDeformConv2d const* sizes) {
    return sizes->half ? edgeflow::workspace<__half>(*sizes) : edgeflow::workspace<float>(*sizes);
}

int edgeflow_deform_conv2d(EdgeflowDeformConv2d const* sizes, void const* x, void const* weight,
                           float const* offset, void const* bias, float const* mask, void* output,
                           void* workspace, CUstream_st* stream) {
    auto const run = sizes->half ? edgeflow::run<__half> : edgeflow::run<float>;
    return run(*sizes, x, weight, offset, bias, mask, output, workspace, stream);
}
