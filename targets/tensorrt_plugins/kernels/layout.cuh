// How a sampled convolution's operands lie in memory, and the kernels that put them so.
//
// Channels are cut into *runs*: channels of one group and one offset group, which therefore share their taps.
// Images are channels-last, each run padded to whole 16-byte vectors. The weight is packed so that what a
// block multiplies next lies next: group, output channel, run, tap, channel of the run. Padding is zeros.
#pragma once

#include <numeric>

#include "device.cuh"

namespace edgeflow {

constexpr int kThreads = 256;
constexpr int kVectors = 4;     // 16-byte vectors of channels multiplied at a time
constexpr int kTileHeight = 4;  // output pixels of a block
constexpr int kTileWidth = 16;
constexpr int kPixels = kTileHeight * kTileWidth;

struct SampledShape {
    int32_t batch, height, width, channels;
    int32_t output_height, output_width, outputs;
    int32_t taps, groups, offset_groups;
    int32_t runs;             // of each group
    int32_t run_channels;     // of each run
    int32_t run_pitch;        // values from one run of a pixel to the next
    int32_t packed_channels;  // of each run, in the packed weight
    int32_t packed_outputs;   // of each group, in the packed weight
    int32_t block_outputs;    // output channels of a block
    bool channels_last;       // of inputs and output, as given

    __host__ __device__ int64_t pitch() const { return int64_t(groups) * runs * run_pitch; }
    __host__ __device__ int64_t image_values() const { return int64_t(height) * width * pitch(); }
    __host__ __device__ int64_t packed_row() const { return int64_t(runs) * taps * packed_channels; }
    __host__ __device__ int32_t group_outputs() const { return outputs / groups; }
    __host__ __device__ int32_t offset_group(int32_t group, int32_t run) const {
        return int32_t((int64_t(group) * runs + run) * run_channels / (channels / offset_groups));
    }
    __host__ __device__ int32_t tiles_across() const { return int32_t(ceil_div(output_width, kTileWidth)); }
    __host__ __device__ int32_t tiles_down() const { return int32_t(ceil_div(output_height, kTileHeight)); }

    int64_t weight_values() const { return int64_t(groups) * packed_outputs * packed_row(); }
    bool empty() const { return batch == 0 || output_height == 0 || output_width == 0; }
};

// `shape` gives everything down to `offset_groups`, and `channels_last`; the rest follows from the data type.
template <typename T>
SampledShape complete(SampledShape shape) {
    constexpr int vector = Channels<T>::kCount;
    int32_t const all_runs = std::lcm(shape.groups, shape.offset_groups);
    shape.runs = all_runs / shape.groups;
    shape.run_channels = shape.channels / all_runs;
    shape.run_pitch = int32_t(round_up(shape.run_channels, vector));
    shape.packed_channels = int32_t(round_up(shape.run_channels, kVectors * vector));
    shape.block_outputs = shape.group_outputs() > 64 ? 128 : 64;
    shape.packed_outputs = int32_t(round_up(shape.group_outputs(), shape.block_outputs));
    return shape;
}

// Whether the kernels can take it: sizes that fit together, indices within an image that fit 32 bits.
template <typename T>
bool valid(SampledShape const& shape) {
    bool const positive = shape.batch >= 0 && shape.height > 0 && shape.width > 0 && shape.channels > 0 &&
                          shape.output_height >= 0 && shape.output_width >= 0 && shape.outputs > 0 &&
                          shape.taps > 0 && shape.groups > 0 && shape.offset_groups > 0;
    if (!positive || shape.channels % shape.groups || shape.outputs % shape.groups) return false;
    if (shape.channels % shape.offset_groups) return false;
    if ((int64_t(shape.height) + 1) * (int64_t(shape.width) + 1) > INT32_MAX) return false;
    if (!shape.channels_last) return true;
    int32_t const run_channels = shape.channels / std::lcm(shape.groups, shape.offset_groups);
    return sizeof(T) == 2 && run_channels % Channels<T>::kCount == 0 &&
           shape.outputs % Channels<T>::kCount == 0;
}

// Bytes of an array in the workspace; arrays begin at multiples of 256.
template <typename T>
size_t workspace_bytes(int64_t values) {
    return size_t(round_up(values * int64_t(sizeof(T)), 256));
}

constexpr int kSide = 32;  // of the squares of pixels by channels that are transposed

template <typename T>
struct Square {
    T of[kSide][kSide + 2];
};

// (n, c, h * w) to channels-last with padded runs. Padding becomes zero, for it is read.
template <typename T>
__global__ void __launch_bounds__(kThreads) to_channels_last(SampledShape shape, T const* from, T* to) {
    auto& square = shared<Square<T>>().of;
    int64_t const pixels = int64_t(shape.height) * shape.width;
    int32_t const pitch = int32_t(shape.pitch());
    int64_t const across = ceil_div(pixels, kSide), down = ceil_div(pitch, kSide);
    int64_t const image = blockIdx.x / (across * down);
    int64_t const pixel0 = blockIdx.x % across * kSide;
    int32_t const slot0 = int32_t(blockIdx.x / across % down * kSide);
    int const lane = threadIdx.x % kSide;
    for (int row = threadIdx.x / kSide; row < kSide; row += kThreads / kSide) {
        int32_t const slot = slot0 + row, within = slot % shape.run_pitch;
        int64_t const channel = int64_t(slot / shape.run_pitch) * shape.run_channels + within;
        bool const real = slot < pitch && within < shape.run_channels && pixel0 + lane < pixels;
        square[row][lane] =
            real ? from[(image * shape.channels + channel) * pixels + pixel0 + lane] : from_float<T>(0.0f);
    }
    __syncthreads();
    for (int row = threadIdx.x / kSide; row < kSide; row += kThreads / kSide) {
        int64_t const pixel = pixel0 + row;
        if (pixel < pixels && slot0 + lane < pitch) {
            to[image * shape.image_values() + pixel * pitch + slot0 + lane] = square[lane][row];
        }
    }
}

template <typename T>
cudaError_t launch_to_channels_last(SampledShape const& shape, T const* from, T* to, CUstream_st* stream) {
    int64_t const squares =
        ceil_div(int64_t(shape.height) * shape.width, kSide) * ceil_div(shape.pitch(), kSide) * shape.batch;
    return launch(to_channels_last<T>, dim3(blocks(squares)), kThreads, stream, shape, from, to);
}

// (outputs, channels / groups, taps) to the packed weight.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    pack_weight(SampledShape shape, T const* from, T* to, int64_t count) {
    int64_t const step = int64_t(gridDim.x) * kThreads;
    for (int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x; at < count; at += step) {
        int32_t const within = int32_t(at % shape.packed_channels);
        int64_t rest = at / shape.packed_channels;
        int32_t const tap = int32_t(rest % shape.taps);
        rest /= shape.taps;
        int32_t const run = int32_t(rest % shape.runs);
        rest /= shape.runs;
        int32_t const row = int32_t(rest % shape.packed_outputs);
        int64_t const group = rest / shape.packed_outputs;
        int64_t const output = group * shape.group_outputs() + row;
        int64_t const channel = int64_t(run) * shape.run_channels + within;
        bool const real = row < shape.group_outputs() && within < shape.run_channels;
        to[at] = real ? from[(output * (shape.channels / shape.groups) + channel) * shape.taps + tap]
                      : from_float<T>(0.0f);
    }
}

template <typename T>
cudaError_t launch_pack_weight(SampledShape const& shape, T const* from, T* to, CUstream_st* stream) {
    int64_t const count = shape.weight_values();
    int64_t const wanted = ceil_div(count, kThreads);
    return launch(pack_weight<T>, dim3(unsigned(wanted < 4096 ? wanted : 4096)), kThreads, stream, shape,
                  from, to, count);
}

}  // namespace edgeflow
