// Summation splatting (Niklaus and Liu, Softmax Splatting, 2020): every pixel is added to the four around its target.
//
// Threads add in no order that could be foretold, and sums of floats depend on their order. So each part is rounded to a
// whole number of 2^-44 first, and the sums are of 64-bit integers, which are the same in any order.
#include "device.cuh"
#include "operators.h"

namespace edgeflow {
namespace {

constexpr int kThreads = 128;
constexpr float kMost = 262144.0f;       // of one part: two such fit the sum
constexpr double kUnits = 17592186044416.0;  // 2^44

struct Splatting {
    int32_t batch, channels, height, width;

    __host__ __device__ int64_t plane() const { return int64_t(height) * width; }
    __host__ __device__ int64_t values() const { return plane() * channels * batch; }
};

__global__ void __launch_bounds__(kThreads) clear(int64_t count, unsigned long long* sums) {
    int64_t const at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (at < count) sums[at] = 0;
}

// What is no number, or beyond the range, is cut to it; NaN adds nothing.
__device__ inline unsigned long long units(float part) {
    if (!(part == part)) return 0;
    part = part > kMost ? kMost : part < -kMost ? -kMost : part;
    return static_cast<unsigned long long>(static_cast<long long>(rint(double(part) * kUnits)));
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    add(Splatting sizes, T const* values, float const* flow, unsigned long long* sums) {
    int64_t const at = int64_t(blockIdx.x) * kThreads + threadIdx.x, plane = sizes.plane();
    if (at >= plane * sizes.batch) return;
    int64_t const image = at / plane, pixel = at % plane;
    float const x = float(pixel % sizes.width) + flow[2 * image * plane + pixel];
    float const y = float(pixel / sizes.width) + flow[(2 * image + 1) * plane + pixel];
    bool const near = x > -1.0f && y > -1.0f && x < float(sizes.width) && y < float(sizes.height);
    if (!near) return;
    float const left = floorf(x), top = floorf(y), right = x - left, down = y - top;
    for (int corner = 0; corner < 4; ++corner) {
        int32_t const column = int32_t(left) + (corner & 1), row = int32_t(top) + (corner >> 1);
        if (column < 0 || row < 0 || column >= sizes.width || row >= sizes.height) continue;
        float const share = (corner & 1 ? right : 1.0f - right) * (corner >> 1 ? down : 1.0f - down);
        int64_t const target = int64_t(row) * sizes.width + column;
        for (int32_t c = 0; c < sizes.channels; ++c) {
            int64_t const channel = (image * sizes.channels + c) * plane;
            atomicAdd(sums + channel + target, units(share * to_float(values[channel + pixel])));
        }
    }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) finish(int64_t count, unsigned long long const* sums, T* output) {
    int64_t const at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (at < count) output[at] = from_float<T>(float(double(static_cast<long long>(sums[at])) / kUnits));
}

template <typename T>
cudaError_t run(EdgeflowSplat const& sizes, void const* values, float const* flow, void* output, void* workspace,
                CUstream_st* stream) {
    Splatting const splatting{sizes.batch, sizes.channels, sizes.height, sizes.width};
    int64_t const count = splatting.values();
    auto const sums = static_cast<unsigned long long*>(workspace);
    dim3 const all(blocks(ceil_div(count, kThreads)));
    dim3 const pixels(blocks(ceil_div(splatting.plane() * sizes.batch, kThreads)));
    cudaError_t error = launch(clear, all, kThreads, stream, count, sums);
    if (error == cudaSuccess)
        error = launch(add<T>, pixels, kThreads, stream, splatting, static_cast<T const*>(values), flow, sums);
    if (error != cudaSuccess) return error;
    return launch(finish<T>, all, kThreads, stream, count, static_cast<unsigned long long const*>(sums),
                  static_cast<T*>(output));
}

}  // namespace
}  // namespace edgeflow

size_t edgeflow_splat_workspace(EdgeflowSplat const* sizes) {
    return size_t(sizes->batch) * sizes->channels * sizes->height * sizes->width * sizeof(unsigned long long);
}

int edgeflow_splat(EdgeflowSplat const* sizes, void const* values, float const* flow, void* output,
                   void* workspace, CUstream_st* stream) {
    bool const valid = sizes->batch >= 0 && sizes->channels > 0 && sizes->height >= 0 && sizes->width >= 0;
    if (!valid) return cudaErrorInvalidValue;
    if (sizes->batch == 0 || sizes->height == 0 || sizes->width == 0) return cudaSuccess;
    auto const run = sizes->half ? edgeflow::run<__half> : edgeflow::run<float>;
    return run(*sizes, values, flow, output, workspace, stream);
}
