// AdaCoF (Lee et al., 2020): a pixel is a weighted sum of samples, one a tap, whose places are learnt.
//
// A thread computes one pixel of up to four channels: a kernel's three numbers are read once a tap, next to those of
// the neighbouring pixels, and serve all channels. Offsets are split by truncation toward zero, as the definition says.
#include "device.cuh"
#include "operators.h"

namespace edgeflow {
namespace {

constexpr int kThreads = 128, kChannels = 4;

struct Adaptive {
    int32_t batch, channels, height, width, side, dilation;

    __host__ __device__ int64_t plane() const { return int64_t(height) * width; }
    __host__ __device__ int64_t pixel_blocks() const { return ceil_div(plane(), kThreads); }
    __host__ __device__ int64_t parts() const { return ceil_div(channels, kChannels); }
};

// Where a tap reads along one axis: two neighbouring pixels, cut to the image, and the second one's share.
struct Split {
    int32_t near, next;
    float share;
};

__device__ inline Split split(int32_t start, float offset, int32_t size) {
    float const far = 2.0f * float(size) + 256.0f;  // from anywhere outside: all corners are the border
    if (offset > far) offset = far;
    if (offset < -far) offset = -far;
    int32_t const whole = offset == offset ? int32_t(offset) : 0;  // what is no number keeps its share
    int32_t const near = start + whole, last = size - 1;
    return {near < 0 ? 0 : near > last ? last : near, near < -1 ? 0 : near + 1 > last ? last : near + 1,
            offset - float(whole)};
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    adacof(Adaptive sizes, T const* image, T const* weight, float const* alpha, float const* beta, T* output) {
    int64_t const pixel = blockIdx.x % sizes.pixel_blocks() * kThreads + threadIdx.x;
    int64_t const rest = blockIdx.x / sizes.pixel_blocks();
    int32_t const first = int32_t(rest % sizes.parts()) * kChannels;
    int64_t const number = rest / sizes.parts(), plane = sizes.plane();
    if (pixel >= plane) return;
    int32_t const y = int32_t(pixel / sizes.width), x = int32_t(pixel % sizes.width);
    int32_t const left = sizes.channels - first, own = left < kChannels ? left : kChannels;
    int32_t const taps = sizes.side * sizes.side;
    image += (number * sizes.channels + first) * plane;
    int64_t const kernels = number * taps * plane + pixel;

    float sums[kChannels] = {};
    for (int32_t tap = 0; tap < taps; ++tap) {
        int64_t const at = kernels + tap * plane;
        int32_t const down = (tap / sizes.side - sizes.side / 2) * sizes.dilation;
        int32_t const right = (tap % sizes.side - sizes.side / 2) * sizes.dilation;
        Split const rows = split(y + down, alpha[at], sizes.height);
        Split const columns = split(x + right, beta[at], sizes.width);
        float const scale = to_float(weight[at]);
        float const lower = scale * rows.share, upper = scale - lower;
        float const upper_right = upper * columns.share, lower_right = lower * columns.share;
        int64_t const above = int64_t(rows.near) * sizes.width, below = int64_t(rows.next) * sizes.width;
#pragma unroll
        for (int32_t c = 0; c < kChannels; ++c) {
            if (c >= own) break;
            T const* const channel = image + c * plane;
            sums[c] += (upper - upper_right) * to_float(channel[above + columns.near]) +
                       upper_right * to_float(channel[above + columns.next]) +
                       (lower - lower_right) * to_float(channel[below + columns.near]) +
                       lower_right * to_float(channel[below + columns.next]);
        }
    }
    for (int32_t c = 0; c < own; ++c) {
        output[(number * sizes.channels + first + c) * plane + pixel] = from_float<T>(sums[c]);
    }
}

template <typename T>
cudaError_t run(EdgeflowAdaCoF const& sizes, void const* image, void const* weight, float const* alpha,
                float const* beta, void* output, CUstream_st* stream) {
    Adaptive const adaptive{sizes.batch, sizes.channels, sizes.height, sizes.width, sizes.side, sizes.dilation};
    int64_t const wanted = adaptive.pixel_blocks() * adaptive.parts() * sizes.batch;
    return launch(adacof<T>, dim3(blocks(wanted)), kThreads, stream, adaptive, static_cast<T const*>(image),
                  static_cast<T const*>(weight), alpha, beta, static_cast<T*>(output));
}

}  // namespace
}  // namespace edgeflow

int edgeflow_adacof(EdgeflowAdaCoF const* sizes, void const* image, void const* weight, float const* alpha,
                    float const* beta, void* output, CUstream_st* stream) {
    bool const valid = sizes->batch >= 0 && sizes->channels > 0 && sizes->height >= 0 && sizes->width >= 0 &&
                       sizes->side > 0 && sizes->side % 2 == 1 && sizes->side < 128 && sizes->dilation > 0;
    if (!valid) return cudaErrorInvalidValue;
    if (sizes->batch == 0 || sizes->height == 0 || sizes->width == 0) return cudaSuccess;
    auto const run = sizes->half ? edgeflow::run<__half> : edgeflow::run<float>;
    return run(*sizes, image, weight, alpha, beta, output, stream);
}
