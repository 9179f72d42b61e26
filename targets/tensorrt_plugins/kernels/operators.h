// What the kernels compute, as plain C: sizes in, pointers to device memory in, work put on a stream.
//
// Nothing here needs TensorRT. Every function returns a cudaError_t as an int (0 is success), allocates
// nothing, waits for nothing and uses no stream but the one given, so that its work can be captured in a CUDA
// graph. Data tensors are contiguous, (n, c, h, w) or, where `channels_last` is 1, (n, h, w, c).
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define EDGEFLOW_API __attribute__((visibility("default")))
#else
#define EDGEFLOW_API
#endif

struct CUstream_st;

#ifdef __cplusplus
extern "C" {
#endif

// Modulated deformable convolution (DCNv2), with the meaning of ONNX DeformConv 19.
//   x       (batch, channels, height, width)
//   weight  (outputs, channels / groups, kernel_height, kernel_width)
//   offset  (batch, offset_groups * taps * 2, output_height, output_width) float32: y, then x, of each tap
//   bias    (outputs), or null for zeros
//   mask    (batch, offset_groups * taps, output_height, output_width) float32, or null for ones
//   output  (batch, outputs, output_height, output_width)
// x, weight, bias and output are float16 where `half` is 1, else float32. `channels_last` (of x and output)
// needs `half`, and multiples of 8: of outputs, and of channels that share a group and an offset group.
typedef struct {
    int32_t batch, channels, height, width;
    int32_t outputs, kernel_height, kernel_width;
    int32_t stride_y, stride_x;
    int32_t pad_top, pad_left;
    int32_t dilation_y, dilation_x;
    int32_t groups, offset_groups;
    int32_t output_height, output_width;
    int32_t half, channels_last;
} EdgeflowDeformConv2d;

EDGEFLOW_API size_t edgeflow_deform_conv2d_workspace(EdgeflowDeformConv2d const* sizes);
EDGEFLOW_API int edgeflow_deform_conv2d(EdgeflowDeformConv2d const* sizes, void const* x, void const* weight,
                                        float const* offset, void const* bias, float const* mask,
                                        void* output, void* workspace, struct CUstream_st* stream);

// Adaptive blending and deformation (Shortcut-V2V, equation 5): 3x3 taps of `current` times mask, plus
// deformed taps of `reference` times (1 - mask), blended before the one product with the weight. Stride 1,
// zeros around.
//   current, reference  (batch, channels, height, width)
//   offset  (batch, 18, height, width) float32: y, then x, of each tap
//   mask    (batch, 9, height, width) float32
//   weight  (outputs, channels, 3, 3)
//   output  (batch, outputs, height, width)
// `half` and `channels_last` as above.
typedef struct {
    int32_t batch, channels, height, width, outputs;
    int32_t half, channels_last;
} EdgeflowAdaBD;

EDGEFLOW_API size_t edgeflow_adabd_workspace(EdgeflowAdaBD const* sizes);
EDGEFLOW_API int edgeflow_adabd(EdgeflowAdaBD const* sizes, void const* current, void const* reference,
                                float const* offset, float const* mask, void const* weight, void* output,
                                void* workspace, struct CUstream_st* stream);

// Cost volume (PWC-Net, section 3): the mean over channels of `first` times `second` shifted by up to
// `radius` pixels.
//   first, second  (batch, channels, height, width); second is zero outside
//   output  (batch, (2 * radius + 1)^2, height, width): shifts row by row, from (-radius, -radius)
typedef struct {
    int32_t batch, channels, height, width, radius;
    int32_t half;
} EdgeflowCostVolume;

EDGEFLOW_API int edgeflow_cost_volume(EdgeflowCostVolume const* sizes, void const* first, void const* second,
                                      void* output, struct CUstream_st* stream);

// AdaCoF: tap (k, l) of a pixel reads at its row + (k - side / 2) * dilation + alpha, and so in columns with beta. Offsets
// are split by truncation toward zero; places outside are the border's.
//   image, output  (batch, channels, height, width)
//   weight         (batch, side^2, height, width): taps row by row
//   alpha, beta    like weight, float32
// image, weight and output are float16 where `half` is 1, else float32.
typedef struct {
    int32_t batch, channels, height, width;
    int32_t side, dilation;
    int32_t half;
} EdgeflowAdaCoF;

EDGEFLOW_API int edgeflow_adacof(EdgeflowAdaCoF const* sizes, void const* image, void const* weight,
                                 float const* alpha, float const* beta, void* output, struct CUstream_st* stream);

// Summation splatting: every pixel is added to the four around its place plus `flow`, by bilinear shares. Sums do not
// depend on the order of threads: parts are whole numbers of 2^-44, so sums beyond 2^19 wrap around.
//   values, output  (batch, channels, height, width), float16 where `half` is 1, else float32
//   flow            (batch, 2, height, width) float32: x, then y
typedef struct {
    int32_t batch, channels, height, width;
    int32_t half;
} EdgeflowSplat;

EDGEFLOW_API size_t edgeflow_splat_workspace(EdgeflowSplat const* sizes);
EDGEFLOW_API int edgeflow_splat(EdgeflowSplat const* sizes, void const* values, float const* flow, void* output,
                                void* workspace, struct CUstream_st* stream);

// Copies rectangles of bytes, as many as there are in one launch for each 128: `height` rows of `width` bytes, whose
// starts lie a pitch apart. None may overlap another's target.
//   rectangles  `count` of them, in the host's memory; they may be changed when the call is back
typedef struct {
    void const* source;
    void* target;
    int32_t width, height;
} EdgeflowRectangle;

EDGEFLOW_API int edgeflow_copy_rectangles(EdgeflowRectangle const* rectangles, int32_t count, int64_t source_pitch,
                                          int64_t target_pitch, struct CUstream_st* stream);

#ifdef __cplusplus
}
#endif
