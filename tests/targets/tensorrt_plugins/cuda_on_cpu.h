// The part of CUDA that the kernels use, run on a CPU: `g++ -x c++ -DEDGEFLOW_CUDA_ON_CPU kernel.cu` runs the
// very kernels, thread by thread. Blocks run one after the other. A block's threads are fibers: one after the
// other runs up to the next barrier, first to last or, in every other block, last to first, so that a missing
// barrier shows. Shared memory begins as NaNs. Threads of a warp do not run in step, so warp shuffles would
// not work.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __host__
#define __device__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9;

struct CUstream_st;

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes = 0;
    CUstream_st* stream = nullptr;
};

// IEEE half precision in 16 bits, rounded to nearest even.
struct __half {
    uint16_t bits;
};

inline float __half2float(__half half) {
    uint32_t const sign = uint32_t(half.bits >> 15) << 31, exponent = half.bits >> 10 & 31,
                   fraction = half.bits & 1023;
    float value = std::ldexp(float(exponent ? 1024 + fraction : fraction), int(exponent ? exponent : 1) - 25);
    if (exponent == 31) value = fraction ? NAN : INFINITY;
    return sign ? -value : value;
}

inline __half __float2half_rn(float value) {
    uint16_t const sign = std::signbit(value) ? 0x8000 : 0;
    float const size = std::fabs(value);
    if (std::isnan(value)) return {uint16_t(sign | 0x7e00)};
    if (size >= 65520.0f) return {uint16_t(sign | 0x7c00)};
    int exponent = 0;
    std::frexp(size, &exponent);
    if (size < 0x1p-14f) exponent = -13;  // zero and subnormal numbers
    uint32_t const steps = uint32_t(std::nearbyint(std::ldexp(size, 11 - exponent)));
    return {uint16_t(sign | (uint32_t(exponent + 13) * 1024 + steps))};
}

namespace cuda_on_cpu {

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[kStack]};
    bool done = false;
    static constexpr size_t kStack = 64 * 1024;
};

inline ucontext_t scheduler;
inline std::vector<Fiber> fibers;
inline Fiber* running = nullptr;
inline std::function<void()> body;
inline uint64_t blocks_run = 0;
alignas(64) inline char shared_memory[48 * 1024];  // what every device has without asking

inline void enter() {
    body();
    running->done = true;
    swapcontext(&running->context, &scheduler);
}

}  // namespace cuda_on_cpu

inline dim3 blockIdx, threadIdx, gridDim, blockDim;

namespace edgeflow {

template <typename T>
T& shared() {
    static_assert(sizeof(T) <= sizeof(cuda_on_cpu::shared_memory));
    return *reinterpret_cast<T*>(cuda_on_cpu::shared_memory);
}

}  // namespace edgeflow

inline void __syncthreads() { swapcontext(&cuda_on_cpu::running->context, &cuda_on_cpu::scheduler); }

// Threads run one after another, so adding is all there is to it.
inline unsigned long long atomicAdd(unsigned long long* sum, unsigned long long value) {
    unsigned long long const before = *sum;
    *sum = before + value;
    return before;
}

namespace cuda_on_cpu {

inline void run_block(unsigned threads) {
    std::memset(shared_memory, 0xff, sizeof(shared_memory));
    if (fibers.size() < threads) fibers = std::vector<Fiber>(threads);
    for (unsigned i = 0; i < threads; ++i) {
        fibers[i].done = false;
        getcontext(&fibers[i].context);
        fibers[i].context.uc_stack.ss_sp = fibers[i].stack.get();
        fibers[i].context.uc_stack.ss_size = Fiber::kStack;
        makecontext(&fibers[i].context, enter, 0);
    }
    bool const backwards = blocks_run++ % 2;
    unsigned done = 0;
    while (done < threads) {
        done = 0;
        for (unsigned i = 0; i < threads; ++i) {
            threadIdx.x = backwards ? threads - 1 - i : i;
            running = &fibers[threadIdx.x];
            if (!running->done) swapcontext(&scheduler, &running->context);
            done += running->done;
        }
        if (done != 0 && done != threads) {
            std::fprintf(stderr, "%u of %u threads left before a __syncthreads()\n", done, threads);
            std::abort();
        }
    }
}

}  // namespace cuda_on_cpu

template <typename... Parameters>
cudaError_t cudaLaunchKernelEx(cudaLaunchConfig_t const* config, void (*kernel)(Parameters...),
                               Parameters... arguments) {
    gridDim = config->gridDim;
    blockDim = config->blockDim;
    if (!gridDim.x || !gridDim.y || gridDim.y > 65535) return cudaErrorInvalidConfiguration;
    cuda_on_cpu::body = [&] { kernel(arguments...); };
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
        for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) cuda_on_cpu::run_block(blockDim.x);
    }
    return cudaSuccess;
}

// Matrices of a warp. The first thread holds and does everything, the other 31 nothing: tiles are only read
// and written between barriers, so that comes to the same.
namespace nvcuda::wmma {

struct row_major {};
struct col_major {};
struct matrix_a {};
struct matrix_b {};
struct accumulator {};
enum layout_t { mem_row_major, mem_col_major };

template <typename Use, int M, int N, int K, typename T, typename Order = void>
struct fragment {
    static_assert(M == 16 && N == 16 && K == 16);
    float of[16][16];
};

inline bool first_of_warp() { return threadIdx.x % 32 == 0; }

inline void check_alignment(void const* pointer, size_t row_bytes) {
    if (reinterpret_cast<uintptr_t>(pointer) % 32 == 0 && row_bytes % 16 == 0) return;
    std::fprintf(stderr, "a WMMA matrix must begin at a multiple of 32 bytes, its rows at one of 16\n");
    std::abort();
}

template <typename Fragment>
void fill_fragment(Fragment& fragment, float value) {
    for (auto& row : fragment.of) {
        for (float& item : row) item = value;
    }
}

template <typename Use, typename T, typename Order>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, Order>& into, T const* from, unsigned pitch) {
    if (!first_of_warp()) return;
    check_alignment(from, pitch * sizeof(T));
    bool const by_row = std::is_same_v<Order, row_major>;
    for (unsigned i = 0; i < 16; ++i) {
        for (unsigned j = 0; j < 16; ++j) {
            into.of[i][j] = __half2float(from[by_row ? i * pitch + j : j * pitch + i]);
        }
    }
}

template <typename Sums, typename A, typename B>
void mma_sync(Sums& result, A const& a, B const& b, Sums const& sums) {
    if (!first_of_warp()) return;
    for (int i = 0; i < 16; ++i) {
        for (int j = 0; j < 16; ++j) {
            float sum = sums.of[i][j];
            for (int k = 0; k < 16; ++k) sum += a.of[i][k] * b.of[k][j];
            result.of[i][j] = sum;
        }
    }
}

template <typename Sums>
void store_matrix_sync(float* to, Sums const& sums, unsigned pitch, layout_t order) {
    if (!first_of_warp()) return;
    check_alignment(to, pitch * sizeof(float));
    for (unsigned i = 0; i < 16; ++i) {
        for (unsigned j = 0; j < 16; ++j)
            to[order == mem_row_major ? i * pitch + j : j * pitch + i] = sums.of[i][j];
    }
}

}  // namespace nvcuda::wmma
