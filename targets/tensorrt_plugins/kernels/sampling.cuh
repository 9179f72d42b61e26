// Bilinear sampling at fractional positions. All of it is float32, whatever the data's type: in float16 a
// coordinate between 256 and 512 would be kept to a quarter of a pixel, one between 1024 and 2048 to a whole
// one.
#pragma once

#include "device.cuh"

namespace edgeflow {

// The four pixels around a position: index of the first (top left) in its image, and each one's weight. A
// corner that lies outside, or whose weight is zero, must not be read; `first` alone may lie outside.
struct Corners {
    float weight[4];
    int32_t first;
};

__host__ __device__ inline int32_t corner_offset(int corner, int32_t width) {
    return (corner & 1) + (corner >> 1) * width;
}

// Zeros lie around the image. `scale` multiplies each weight. What is not a number samples nothing.
__host__ __device__ inline Corners corners_at(float y, float x, int32_t height, int32_t width, float scale) {
    Corners corners{};
    bool const near =
        y > -1.0f && x > -1.0f && y < static_cast<float>(height) && x < static_cast<float>(width);
    if (!near) return corners;
    float const top = floorf(y), left = floorf(x);
    float const below = y - top, right = x - left;
    int32_t const row = static_cast<int32_t>(top), column = static_cast<int32_t>(left);
    float const rows[2] = {row >= 0 ? (1.0f - below) * scale : 0.0f, row + 1 < height ? below * scale : 0.0f};
    float const columns[2] = {column >= 0 ? 1.0f - right : 0.0f, column + 1 < width ? right : 0.0f};
    for (int corner = 0; corner < 4; ++corner)
        corners.weight[corner] = rows[corner >> 1] * columns[corner & 1];
    corners.first = row * width + column;
    return corners;
}

// One load per corner, for a vector of neighbouring channels.
template <typename T>
struct CornerReads {
    Channels<T> of[4];
};

// `image` is channels-last, `pitch` values per pixel, and points at the first channel wanted.
template <typename T>
__device__ CornerReads<T> read_corners(Corners const& corners, T const* image, int64_t pitch, int32_t width) {
    CornerReads<T> reads{};
#pragma unroll
    for (int corner = 0; corner < 4; ++corner) {
        int64_t const pixel = corners.first + corner_offset(corner, width);
        if (corners.weight[corner] != 0.0f) reads.of[corner] = load(image + pixel * pitch);
    }
    return reads;
}

// sum += weight * values, channel by channel.
template <typename T>
__device__ void add_scaled(float (&sum)[Channels<T>::kCount], Channels<T> const& values, float weight) {
#pragma unroll
    for (int i = 0; i < Channels<T>::kCount; ++i) sum[i] += weight * to_float(values.of[i]);
}

template <typename T>
__device__ void add_corners(float (&sum)[Channels<T>::kCount], CornerReads<T> const& reads,
                            Corners const& corners) {
#pragma unroll
    for (int corner = 0; corner < 4; ++corner) add_scaled<T>(sum, reads.of[corner], corners.weight[corner]);
}

}  // namespace edgeflow
