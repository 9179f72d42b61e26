// Adaptive blending and deformation (Chung et al., Shortcut-V2V, 2023, equation 5).
#include "operators.h"
#include "sampled_product.cuh"

namespace edgeflow {
namespace {

constexpr int kTaps = 9;

template <typename T>
struct BlendSampler {
    struct Tap {
        Corners reference;
        float current_weight;
        int32_t current;  // pixel, read where the weight is not zero
    };
    struct Reads {
        CornerReads<T> reference;
        Channels<T> current;
    };

    T const* current;
    T const* reference;
    float const* offset;
    float const* mask;

    __device__ Tap tap(SampledShape const& shape, int64_t image, int32_t, int32_t tap, int32_t y,
                       int32_t x) const {
        int64_t const pixels = int64_t(shape.height) * shape.width;
        int64_t const pixel = int64_t(y) * shape.width + x;
        int64_t const plane = image * kTaps + tap;
        float const share = mask[plane * pixels + pixel];
        float const* const moved = offset + plane * 2 * pixels + pixel;
        int32_t const row = y - 1 + tap / 3, column = x - 1 + tap % 3;
        bool const inside = row >= 0 && row < shape.height && column >= 0 && column < shape.width;
        Tap result;
        result.reference = corners_at(float(row) + moved[0], float(column) + moved[pixels], shape.height,
                                      shape.width, 1.0f - share);
        result.current_weight = inside ? share : 0.0f;
        result.current = row * shape.width + column;
        return result;
    }
    __device__ Reads read(SampledShape const& shape, Tap const& tap, int64_t image, int32_t slot) const {
        int64_t const start = image * shape.image_values() + slot;
        Reads reads{};
        reads.reference = read_corners(tap.reference, reference + start, shape.pitch(), shape.width);
        if (tap.current_weight != 0.0f) reads.current = load(current + start + tap.current * shape.pitch());
        return reads;
    }
    __device__ void blend(float (&sum)[Channels<T>::kCount], Reads const& reads, Tap const& tap) const {
        add_corners<T>(sum, reads.reference, tap.reference);
        add_scaled<T>(sum, reads.current, tap.current_weight);
    }
};

template <typename T>
SampledShape shape_of(EdgeflowAdaBD const& sizes) {
    SampledShape shape{};
    shape.batch = sizes.batch;
    shape.height = shape.output_height = sizes.height;
    shape.width = shape.output_width = sizes.width;
    shape.channels = sizes.channels;
    shape.outputs = sizes.outputs;
    shape.taps = kTaps;
    shape.groups = shape.offset_groups = 1;
    shape.channels_last = sizes.channels_last != 0;
    return valid<T>(shape) ? complete<T>(shape) : SampledShape{};
}

template <typename T>
size_t workspace(EdgeflowAdaBD const& sizes) {
    SampledShape const shape = shape_of<T>(sizes);
    return shape.taps ? Operands<T>::bytes(shape, 2) : 0;
}

template <typename T>
cudaError_t run(EdgeflowAdaBD const& sizes, void const* current, void const* reference, float const* offset,
                float const* mask, void const* weight, void* output, void* workspace, CUstream_st* stream) {
    SampledShape const shape = shape_of<T>(sizes);
    if (!shape.taps) return cudaErrorInvalidValue;
    if (shape.empty()) return cudaSuccess;
    Operands<T> operands(shape, workspace, stream);
    T const* const packed = operands.weight(weight);
    T const* const now = operands.images(current);
    BlendSampler<T> const sampler{now, operands.images(reference), offset, mask};
    if (operands.status() != cudaSuccess) return operands.status();
    T const* const no_bias = nullptr;
    return launch_sampled_product<T>(shape, sampler, packed, no_bias, static_cast<T*>(output), stream);
}

}  // namespace
}  // namespace edgeflow

size_t edgeflow_adabd_workspace(EdgeflowAdaBD const* sizes) {
    return sizes->half ? edgeflow::workspace<__half>(*sizes) : edgeflow::workspace<float>(*sizes);
}

int edgeflow_adabd(EdgeflowAdaBD const* sizes, void const* current, void const* reference,
                   float const* offset, float const* mask, void const* weight, void* output, void* workspace,
                   CUstream_st* stream) {
    auto const run = sizes->half ? edgeflow::run<__half> : edgeflow::run<float>;
    return run(*sizes, current, reference, offset, mask, weight, output, workspace, stream);
}
