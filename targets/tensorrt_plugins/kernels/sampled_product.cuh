// Convolution over sampled taps as one matrix product, without a column buffer in device memory.
//
// A block computes kRows output channels of 64 output pixels. It works out the taps of its pixels (positions,
// bilinear weights and masks) once, keeps them in shared memory and uses them for all channels. Then, tap by
// tap and a few vectors of channels at a time, it samples what the product needs next into shared memory,
// beside that slice of the packed weight, and multiplies. Loads for one step are under way while the step
// before is multiplied.
//
// A sampler says what one tap is:
//   Tap                                                          a tap at one pixel, in shared memory
//   Tap   tap(shape, image, offset_group, tap, y, x)             at an output position
//   Reads read(shape, tap, image, slot)                          the loads for one vector of channels
//   void  blend(sum, reads, tap)                                 their weighted sum, in float32
// where a default Tap samples nothing, `image` counts in the batch, `slot` is the vector's place in a pixel.
#pragma once

#include "product.cuh"
#include "sampling.cuh"

namespace edgeflow {

constexpr int kPairsAtOnce = 9;  // taps of runs that are kept at a time: all of a 3x3 kernel

template <typename T, int kRows, typename Tap>
union SharedMemory {
    struct {
        T weight[2][kRows][kRowPitch<T>];
        T samples[2][kPixels][kRowPitch<T>];
        Tap taps[kPairsAtOnce][kPixels];
    } in;
    float
        results[kRows * (kPixels + 4) > kPixels*(kRows + 4) ? kRows * (kPixels + 4) : kPixels * (kRows + 4)];
};

// The output pixels of a block.
struct PixelTile {
    int64_t image;
    int32_t y, x;

    __device__ explicit PixelTile(SampledShape const& shape) {
        int32_t const across = shape.tiles_across(), down = shape.tiles_down();
        image = blockIdx.x / (int64_t(across) * down);
        y = int32_t(blockIdx.x / across % down) * kTileHeight;
        x = int32_t(blockIdx.x % across) * kTileWidth;
    }
    __device__ int32_t row(int pixel) const { return y + pixel / kTileWidth; }
    __device__ int32_t column(int pixel) const { return x + pixel % kTileWidth; }
    __device__ bool inside(SampledShape const& shape, int pixel) const {
        return row(pixel) < shape.output_height && column(pixel) < shape.output_width;
    }
};

// Where a block is in its sum: a tap of a run (a pair, counted over all runs) and a slice of its channels.
struct Step {
    int32_t pair, slice;

    __device__ void advance(int32_t slices) {
        if (++slice == slices) {
            slice = 0;
            ++pair;
        }
    }
};

template <typename T, int kRows, typename Sampler>
__global__ void __launch_bounds__(kThreads, 2)
    sampled_product(SampledShape shape, Sampler sampler, T const* weight, T const* bias, T* output) {
    using Tap = typename Sampler::Tap;
    using Vector = Channels<T>;
    static_assert(kThreads == kPixels * kVectors, "each thread samples one vector of one pixel at a time");
    constexpr int kWeightVectors = kRows * kVectors / kThreads;
    auto& memory = shared<SharedMemory<T, kRows, Tap>>();

    PixelTile const tile(shape);
    int32_t const row_tiles = shape.packed_outputs / kRows;
    int32_t const group = blockIdx.y / row_tiles, row0 = blockIdx.y % row_tiles * kRows;
    int32_t const pairs = shape.runs * shape.taps, slices = shape.packed_channels / kDepth<T>;
    int const mine = threadIdx.x / kVectors;  // this thread's pixel, and its first row of the weight
    int const lane = threadIdx.x % kVectors * Vector::kCount;
    T const* const rows =
        weight + (int64_t(group) * shape.packed_outputs + row0 + mine) * shape.packed_row() + lane;

    Product<T, kRows> product;
    typename Sampler::Reads reads;
    Vector weights[kWeightVectors];
    int buffer = 0;

    for (int32_t first = 0; first < pairs; first += kPairsAtOnce) {
        // No barrier before: all taps of a round are read before the last barrier of that round.
        int32_t const count = pairs - first < kPairsAtOnce ? pairs - first : kPairsAtOnce;
        for (int at = threadIdx.x; at < count * kPixels; at += kThreads) {
            int32_t const pair = first + at / kPixels;
            int const pixel = at % kPixels;
            Tap tap{};
            if (tile.inside(shape, pixel)) {
                int32_t const offset_group = shape.offset_group(group, pair / shape.taps);
                tap = sampler.tap(shape, tile.image, offset_group, pair % shape.taps, tile.row(pixel),
                                  tile.column(pixel));
            }
            memory.in.taps[at / kPixels][pixel] = tap;
        }
        __syncthreads();

        auto const fetch = [&](Step const& step) {
            int32_t const within = step.slice * kDepth<T> + lane, pair = first + step.pair;
            reads = {};
            if (within < shape.run_pitch) {
                int32_t const slot = (group * shape.runs + pair / shape.taps) * shape.run_pitch + within;
                reads = sampler.read(shape, memory.in.taps[step.pair][mine], tile.image, slot);
            }
            T const* const from = rows + int64_t(pair) * shape.packed_channels + step.slice * kDepth<T>;
            for (int i = 0; i < kWeightVectors; ++i)
                weights[i] = load(from + i * kPixels * shape.packed_row());
        };
        auto const put = [&](Step const& step) {
            float sum[Vector::kCount] = {};
            sampler.blend(sum, reads, memory.in.taps[step.pair][mine]);
            Vector samples;
            for (int i = 0; i < Vector::kCount; ++i) samples.of[i] = from_float<T>(sum[i]);
            *reinterpret_cast<Vector*>(&memory.in.samples[buffer][mine][lane]) = samples;
            for (int i = 0; i < kWeightVectors; ++i) {
                *reinterpret_cast<Vector*>(&memory.in.weight[buffer][mine + i * kPixels][lane]) = weights[i];
            }
        };

        Step step{0, 0};
        fetch(step);
        while (step.pair < count) {
            put(step);
            __syncthreads();  // one is enough: a buffer is written again only after the next one
            step.advance(slices);
            if (step.pair < count) fetch(step);
            product.add(memory.in.weight[buffer], memory.in.samples[buffer]);
            buffer ^= 1;
        }
    }

    __syncthreads();
    int const pitch = (shape.channels_last ? kRows : kPixels) + 4;
    product.store(memory.results, pitch, shape.channels_last);
    __syncthreads();
    for (int at = threadIdx.x; at < kRows * kPixels; at += kThreads) {
        // Neighbouring threads write neighbouring addresses.
        int const row = shape.channels_last ? at % kRows : at / kPixels;
        int const pixel = shape.channels_last ? at / kRows : at % kPixels;
        if (row0 + row >= shape.group_outputs() || !tile.inside(shape, pixel)) continue;
        int64_t const channel = int64_t(group) * shape.group_outputs() + row0 + row;
        int64_t const y = tile.row(pixel), x = tile.column(pixel);
        float const sum = memory.results[shape.channels_last ? pixel * pitch + row : row * pitch + pixel];
        float const value = bias ? sum + to_float(bias[channel]) : sum;
        int64_t const to =
            shape.channels_last
                ? ((tile.image * shape.output_height + y) * shape.output_width + x) * shape.outputs + channel
                : ((tile.image * shape.outputs + channel) * shape.output_height + y) * shape.output_width + x;
        output[to] = from_float<T>(value);
    }
}

template <typename T, typename Sampler>
cudaError_t launch_sampled_product(SampledShape const& shape, Sampler const& sampler, T const* weight,
                                   T const* bias, T* output, CUstream_st* stream) {
    int64_t const tiles = int64_t(shape.tiles_down()) * shape.tiles_across() * shape.batch;
    dim3 const grid(blocks(tiles), unsigned(shape.packed_outputs / shape.block_outputs * shape.groups));
    auto const kernel =
        shape.block_outputs == 128 ? sampled_product<T, 128, Sampler> : sampled_product<T, 64, Sampler>;
    return launch(kernel, grid, kThreads, stream, shape, sampler, weight, bias, output);
}

// The operands in the form that `sampled_product` reads, in one workspace.
template <typename T>
class Operands {
    SampledShape const& shape_;
    char* next_;
    CUstream_st* stream_;
    cudaError_t status_ = cudaSuccess;

    T* take(int64_t values) {
        T* const taken = reinterpret_cast<T*>(next_);
        next_ += workspace_bytes<T>(values);
        return taken;
    }
    void check(cudaError_t status) {
        if (status_ == cudaSuccess) status_ = status;
    }

public:
    Operands(SampledShape const& shape, void* workspace, CUstream_st* stream)
        : shape_(shape), next_(static_cast<char*>(workspace)), stream_(stream) {}

    static size_t bytes(SampledShape const& shape, int images) {
        int64_t const image_values = shape.channels_last ? 0 : shape.image_values() * shape.batch;
        return workspace_bytes<T>(shape.weight_values()) + workspace_bytes<T>(image_values) * images;
    }
    T const* weight(void const* from) {
        T* const to = take(shape_.weight_values());
        check(launch_pack_weight(shape_, static_cast<T const*>(from), to, stream_));
        return to;
    }
    T const* images(void const* from) {
        if (shape_.channels_last) return static_cast<T const*>(from);
        T* const to = take(shape_.image_values() * shape_.batch);
        check(launch_to_channels_last(shape_, static_cast<T const*>(from), to, stream_));
        return to;
    }
    cudaError_t status() const { return status_; }
};

}  // namespace edgeflow
