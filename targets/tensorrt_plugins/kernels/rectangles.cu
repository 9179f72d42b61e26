// Copies rectangles of bytes, many in one launch: the tiles of a frame, or their patches into a picture.
#include "device.cuh"
#include "operators.h"

namespace edgeflow {
namespace {

constexpr int kAtOnce = 128;  // a launch's arguments may take 4 KB
constexpr int kThreads = 128, kRows = 8;

struct Rectangles {
    EdgeflowRectangle of[kAtOnce];
};

// A block copies kRows rows of one rectangle, a Word at a time.
template <typename Word>
__global__ void __launch_bounds__(kThreads)
    copy_rectangles(__grid_constant__ Rectangles const rectangles, int64_t source_pitch, int64_t target_pitch) {
    EdgeflowRectangle const& one = rectangles.of[blockIdx.y];
    auto const source = static_cast<char const*>(one.source);
    auto const target = static_cast<char*>(one.target);
    int32_t const words = one.width / int32_t(sizeof(Word)), first = int32_t(blockIdx.x) * kRows;
    int32_t const rows = one.height - first < kRows ? one.height - first : kRows;
    for (int32_t i = int32_t(threadIdx.x); i < rows * words; i += kThreads) {
        int64_t const row = first + i / words, word = i % words;
        reinterpret_cast<Word*>(target + row * target_pitch)[word] =
            reinterpret_cast<Word const*>(source + row * source_pitch)[word];
    }
}

template <typename Word>
cudaError_t run(Rectangles const& rectangles, int count, int highest, int64_t source_pitch, int64_t target_pitch,
                CUstream_st* stream) {
    dim3 const grid(blocks(ceil_div(highest, kRows)), unsigned(count));
    return launch(copy_rectangles<Word>, grid, kThreads, stream, rectangles, source_pitch, target_pitch);
}

}  // namespace
}  // namespace edgeflow

int edgeflow_copy_rectangles(EdgeflowRectangle const* rectangles, int32_t count, int64_t source_pitch,
                             int64_t target_pitch, CUstream_st* stream) {
    for (int32_t first = 0; first < count; first += edgeflow::kAtOnce) {
        edgeflow::Rectangles part{};
        int const taken = count - first < edgeflow::kAtOnce ? count - first : edgeflow::kAtOnce;
        int highest = 0;
        uint64_t bits = uint64_t(source_pitch) | uint64_t(target_pitch);
        for (int i = 0; i < taken; ++i) {
            EdgeflowRectangle const& one = part.of[i] = rectangles[first + i];
            if (one.width <= 0 || one.height <= 0) return cudaErrorInvalidValue;
            bits |= reinterpret_cast<uint64_t>(one.source) | reinterpret_cast<uint64_t>(one.target);
            bits |= uint64_t(one.width);
            if (one.height > highest) highest = one.height;
        }
        auto const run = bits % 16 == 0  ? edgeflow::run<edgeflow::Channels<float>>
                         : bits % 4 == 0 ? edgeflow::run<uint32_t>
                                         : edgeflow::run<uint8_t>;
        if (int const status = run(part, taken, highest, source_pitch, target_pitch, stream)) return status;
    }
    return cudaSuccess;
}
