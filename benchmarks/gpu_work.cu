// Work that is timed by gpu_times.py: a chain of small kernels, as an engine is one, and tiles pasted by one kernel.
#include <stdint.h>

__global__ void step(float* data, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) data[i] = data[i] * 0.5f + 1.0f;
}

// tiles (number, size, size, 3) uint8; each block of rows of a tile goes to (top, left) of the picture.
__global__ void paste(uint8_t const* tiles, int size, int const* places, uint8_t* picture, int width) {
    int const top = places[2 * blockIdx.y], left = places[2 * blockIdx.y + 1];
    uint8_t const* tile = tiles + (size_t)blockIdx.y * size * size * 3;
    for (int i = threadIdx.x; i < size * 3; i += blockDim.x)
        picture[((size_t)(top + blockIdx.x) * width + left) * 3 + i] = tile[blockIdx.x * size * 3 + i];
}

extern "C" {

// Enqueue `length` kernels of `count` values each.
int chain(float* data, int count, int length, cudaStream_t stream) {
    for (int i = 0; i < length; ++i) step<<<(count + 255) / 256, 256, 0, stream>>>(data, count);
    return (int)cudaGetLastError();
}

// Paste all tiles at once.
int paste_all(uint8_t const* tiles, int number, int size, int const* places, uint8_t* picture, int width,
              cudaStream_t stream) {
    paste<<<dim3(size, number), 64, 0, stream>>>(tiles, size, places, picture, width);
    return (int)cudaGetLastError();
}

}
