// Cost volume (Sun et al., PWC-Net, 2018, section 3).
//
// A thread sums kAcross neighbouring shifts of four neighbouring pixels, so it reads 4 + (3 + kAcross) values
// from shared memory for 4 * kAcross products. A block holds 32 x 4 pixels and up to nine rows of shifts, and
// goes through the channels a few at a time.
#include "device.cuh"
#include "operators.h"

namespace edgeflow {
namespace {

constexpr int kQuads = 8, kRows = 4, kSlice = 8, kMostDown = 9;
constexpr int kQuad = 4;
constexpr int kColumns = kQuads * kQuad;

struct Volume {
    int32_t batch, channels, height, width, radius;
    int32_t down;  // rows of shifts in a block

    __host__ __device__ int32_t span() const { return 2 * radius + 1; }
    __host__ __device__ int64_t tiles_across() const { return ceil_div(width, kColumns); }
    __host__ __device__ int64_t tiles_down() const { return ceil_div(height, kRows); }
    __host__ __device__ int64_t parts_down() const { return ceil_div(span(), down); }
    __host__ __device__ int64_t parts_across(int across) const { return ceil_div(span(), across); }
};

template <int kAcross>
struct Tiles {
    static constexpr int kWide = (kColumns + kAcross - 1 + 3) / 4 * 4;
    float first[kSlice][kRows][kColumns];
    float second[kSlice][kRows + kMostDown - 1][kWide];
};

// What lies at (y, x) of a channel, or zero outside of the image and past the last channel.
template <typename T>
__device__ float pixel_or_zero(Volume const& volume, T const* image, int32_t channel, int32_t y, int32_t x) {
    bool const inside =
        channel < volume.channels && y >= 0 && y < volume.height && x >= 0 && x < volume.width;
    return inside ? to_float(image[(int64_t(channel) * volume.height + y) * volume.width + x]) : 0.0f;
}

template <typename T, int kAcross>
__global__ void __launch_bounds__(kQuads * kRows * kMostDown, 2)
    cost_volume(Volume volume, T const* first, T const* second, T* output) {
    auto& tiles = shared<Tiles<kAcross>>();
    int64_t rest = blockIdx.x;
    int32_t const x0 = int32_t(rest % volume.tiles_across()) * kColumns;
    rest /= volume.tiles_across();
    int32_t const y0 = int32_t(rest % volume.tiles_down()) * kRows;
    rest /= volume.tiles_down();
    int32_t const right0 = int32_t(rest % volume.parts_across(kAcross)) * kAcross;
    rest /= volume.parts_across(kAcross);
    int32_t const down0 = int32_t(rest % volume.parts_down()) * volume.down;
    int64_t const image = rest / volume.parts_down();
    int const quad = threadIdx.x % kQuads * kQuad;
    int const row = threadIdx.x / kQuads % kRows, down = threadIdx.x / (kQuads * kRows);
    int const threads = kQuads * kRows * volume.down, rows = kRows + volume.down - 1;
    int64_t const plane = int64_t(volume.height) * volume.width;
    first += image * volume.channels * plane;
    second += image * volume.channels * plane;

    float sums[kAcross][kQuad] = {};
    for (int32_t channel = 0; channel < volume.channels; channel += kSlice) {
        __syncthreads();
        for (int at = threadIdx.x; at < kSlice * kRows * kColumns; at += threads) {
            int const x = at % kColumns, y = at / kColumns % kRows, c = at / (kColumns * kRows);
            tiles.first[c][y][x] = pixel_or_zero(volume, first, channel + c, y0 + y, x0 + x);
        }
        for (int at = threadIdx.x; at < kSlice * rows * Tiles<kAcross>::kWide; at += threads) {
            int const x = at % Tiles<kAcross>::kWide, y = at / Tiles<kAcross>::kWide % rows;
            int const c = at / (Tiles<kAcross>::kWide * rows);
            tiles.second[c][y][x] = pixel_or_zero(volume, second, channel + c, y0 + y + down0 - volume.radius,
                                                  x0 + x + right0 - volume.radius);
        }
        __syncthreads();
#pragma unroll 1
        for (int c = 0; c < kSlice; ++c) {
            Channels<float> const here = load(&tiles.first[c][row][quad]);
            float there[(kQuad + kAcross + 2) / 4 * 4];
#pragma unroll
            for (int i = 0; i < kQuad + kAcross - 1; i += 4) {
                Channels<float> const four = load(&tiles.second[c][row + down][quad + i]);
                for (int j = 0; j < 4; ++j) there[i + j] = four.of[j];
            }
#pragma unroll
            for (int right = 0; right < kAcross; ++right) {
                for (int i = 0; i < kQuad; ++i) sums[right][i] += here.of[i] * there[right + i];
            }
        }
    }

    int32_t const y = y0 + row, shift_down = down0 + down;
    if (y >= volume.height || shift_down >= volume.span()) return;
    for (int right = 0; right < kAcross && right0 + right < volume.span(); ++right) {
        int64_t const shift = (image * volume.span() + shift_down) * volume.span() + right0 + right;
        for (int i = 0; i < kQuad && x0 + quad + i < volume.width; ++i) {
            output[shift * plane + int64_t(y) * volume.width + x0 + quad + i] =
                from_float<T>(sums[right][i] / float(volume.channels));
        }
    }
}

template <typename T, int kAcross>
cudaError_t run(Volume const& volume, T const* first, T const* second, T* output, CUstream_st* stream) {
    int64_t const wanted = volume.tiles_across() * volume.tiles_down() * volume.parts_across(kAcross) *
                           volume.parts_down() * volume.batch;
    return launch(cost_volume<T, kAcross>, dim3(blocks(wanted)), kQuads * kRows * volume.down, stream, volume,
                  first, second, output);
}

template <typename T>
cudaError_t run(EdgeflowCostVolume const& sizes, void const* first, void const* second, void* output,
                CUstream_st* stream) {
    Volume volume{sizes.batch, sizes.channels, sizes.height, sizes.width, sizes.radius, 0};
    volume.down = volume.span() < kMostDown ? volume.span() : kMostDown;
    auto const from = static_cast<T const*>(first), other = static_cast<T const*>(second);
    auto const to = static_cast<T*>(output);
    switch (volume.down) {
        case 1:
        case 3: return run<T, 3>(volume, from, other, to, stream);
        case 5: return run<T, 5>(volume, from, other, to, stream);
        case 7: return run<T, 7>(volume, from, other, to, stream);
        default: return run<T, 9>(volume, from, other, to, stream);
    }
}

}  // namespace
}  // namespace edgeflow

int edgeflow_cost_volume(EdgeflowCostVolume const* sizes, void const* first, void const* second, void* output,
                         CUstream_st* stream) {
    bool const valid = sizes->batch >= 0 && sizes->channels > 0 && sizes->height >= 0 && sizes->width >= 0 &&
                       sizes->radius >= 0 && sizes->radius < 1024;
    if (!valid) return cudaErrorInvalidValue;
    if (sizes->batch == 0 || sizes->height == 0 || sizes->width == 0) return cudaSuccess;
    auto const run = sizes->half ? edgeflow::run<__half> : edgeflow::run<float>;
    return run(*sizes, first, second, output, stream);
}
