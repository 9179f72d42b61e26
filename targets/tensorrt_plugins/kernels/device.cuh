// CUDA, or its stand-in where the tests run the kernels on a CPU; scalars; one way to launch.
#pragma once

#ifdef EDGEFLOW_CUDA_ON_CPU
#include "cuda_on_cpu.h"
#else
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>

namespace edgeflow {

// The shared memory of a block, of which a kernel asks for one object; 32 bytes is what WMMA wants.
template <typename T>
__device__ T& shared() {
    __shared__ __align__(32) T memory;
    return memory;
}

}  // namespace edgeflow
#endif

#include <cstdint>

namespace edgeflow {

__host__ __device__ constexpr int64_t ceil_div(int64_t value, int64_t by) { return (value + by - 1) / by; }

__host__ __device__ constexpr int64_t round_up(int64_t value, int64_t to) { return ceil_div(value, to) * to; }

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }

template <typename T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
    return value;
}
template <>
__device__ inline __half from_float<__half>(float value) {
    return __float2half_rn(value);
}

// Sixteen bytes of neighbouring channels: what one load or store moves.
template <typename T>
struct __align__(16) Channels {
    static constexpr int kCount = 16 / sizeof(T);
    T of[kCount];
};

template <typename T>
__device__ Channels<T> load(T const* from) {
    return *reinterpret_cast<Channels<T> const*>(from);
}

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, int threads, CUstream_st* stream,
                   Arguments... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// Blocks of a grid's first dimension, which may have 2^31 - 1; 0 if that is not enough.
inline unsigned blocks(int64_t wanted) { return wanted > INT32_MAX ? 0u : static_cast<unsigned>(wanted); }

}  // namespace edgeflow
