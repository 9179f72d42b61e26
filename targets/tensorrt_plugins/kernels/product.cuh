// Products of two tiles in shared memory, summed in float32 in the registers of a block of 256 threads.
//
// Both tiles are K-contiguous: rows of the weight (output channels) and rows of the samples (pixels), kDepth
// values long. Rows are padded by 16 bytes, which spreads them over the memory banks.
#pragma once

#include "device.cuh"
#include "layout.cuh"

namespace edgeflow {

template <typename T>
constexpr int kDepth = kVectors * Channels<T>::kCount;

template <typename T>
constexpr int kRowPitch = kDepth<T> + Channels<T>::kCount;

// float16 on the tensor cores. Eight warps share kRows x kPixels results, 32 rows each.
template <typename T, int kRows>
class Product {
    static_assert(sizeof(T) == 2, "tensor cores take float16 here");
    static constexpr int kWarpsDown = kRows / 32;
    static constexpr int kWarpsAcross = kThreads / 32 / kWarpsDown;
    static constexpr int kAcross = kPixels / kWarpsAcross / 16;

    using Sums = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float>;
    using Rows = nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, 16, 16, 16, T, nvcuda::wmma::row_major>;
    using Columns = nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, 16, 16, 16, T, nvcuda::wmma::col_major>;

    Sums sums_[2][kAcross];
    int row_, pixel_;

public:
    __device__ Product() {
        int const warp = threadIdx.x / 32;
        row_ = warp % kWarpsDown * 32;
        pixel_ = warp / kWarpsDown * kAcross * 16;
        for (auto& row : sums_) {
            for (auto& sum : row) nvcuda::wmma::fill_fragment(sum, 0.0f);
        }
    }

    __device__ void add(T const (*weight)[kRowPitch<T>], T const (*samples)[kRowPitch<T>]) {
#pragma unroll
        for (int k = 0; k < kDepth<T>; k += 16) {
            Rows rows[2];
            for (int i = 0; i < 2; ++i) {
                nvcuda::wmma::load_matrix_sync(rows[i], &weight[row_ + i * 16][k], kRowPitch<T>);
            }
#pragma unroll
            for (int j = 0; j < kAcross; ++j) {
                Columns columns;
                nvcuda::wmma::load_matrix_sync(columns, &samples[pixel_ + j * 16][k], kRowPitch<T>);
                for (int i = 0; i < 2; ++i)
                    nvcuda::wmma::mma_sync(sums_[i][j], rows[i], columns, sums_[i][j]);
            }
        }
    }

    // Results to results[row * pitch + pixel], or results[pixel * pitch + row] where pixels come first.
    __device__ void store(float* results, int pitch, bool pixels_first) {
        auto const order = pixels_first ? nvcuda::wmma::mem_col_major : nvcuda::wmma::mem_row_major;
        for (int i = 0; i < 2; ++i) {
            for (int j = 0; j < kAcross; ++j) {
                int const row = row_ + i * 16, pixel = pixel_ + j * 16;
                float* const corner = results + (pixels_first ? pixel * pitch + row : row * pitch + pixel);
                nvcuda::wmma::store_matrix_sync(corner, sums_[i][j], pitch, order);
            }
        }
    }
};

// float32 without tensor cores, which would round to TF32. Each thread has rows and pixels 16 apart.
template <int kRows>
class Product<float, kRows> {
    static constexpr int kDown = kRows / 16, kAcross = kPixels / 16;

    float sums_[kDown][kAcross] = {};
    int row_ = threadIdx.x / 16, pixel_ = threadIdx.x % 16;

public:
    __device__ void add(float const (*weight)[kRowPitch<float>], float const (*samples)[kRowPitch<float>]) {
#pragma unroll
        for (int k = 0; k < kDepth<float>; k += 4) {
            Channels<float> columns[kAcross];
            for (int j = 0; j < kAcross; ++j) columns[j] = load(&samples[pixel_ + j * 16][k]);
#pragma unroll
            for (int i = 0; i < kDown; ++i) {
                Channels<float> const row = load(&weight[row_ + i * 16][k]);
#pragma unroll
                for (int j = 0; j < kAcross; ++j) {
                    for (int d = 0; d < 4; ++d) sums_[i][j] += row.of[d] * columns[j].of[d];
                }
            }
        }
    }

    __device__ void store(float* results, int pitch, bool pixels_first) {
        for (int i = 0; i < kDown; ++i) {
            for (int j = 0; j < kAcross; ++j) {
                int const row = row_ + i * 16, pixel = pixel_ + j * 16;
                results[pixels_first ? pixel * pitch + row : row * pitch + pixel] = sums_[i][j];
            }
        }
    }
};

}  // namespace edgeflow
