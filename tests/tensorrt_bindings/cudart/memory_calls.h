// Calls about the device, its memory, and copies.
#pragma once
#include "streams.h"

static bool driver_ok() { return !envl("DOUBLE_CUDA_NODRIVER", 0); }
static void range(const void* p, size_t n, const char* role, const char* what, bool device, bool any = false) {
    Alloc* a = find(p);
    if (!a) {
        if (device)
            VIOL("%s: %s %p is in no device or pinned allocation", what, role, p);
        else
            say("note: %s: %s %p is pageable", what, role, p);
        return;
    }
    if (a->freed) VIOL("%s: %s %p lies in freed memory", what, role, p);
    if ((uintptr_t)p + n > (uintptr_t)a->base + a->size)
        VIOL("%s: %s %p + %zu runs past its allocation of %zu", what, role, p, n, a->size);
    if (device && a->kind == 2 && !envl("DOUBLE_CUDA_INTEGRATED", 1))
        say("note %s: %s is pinned host memory on a discrete device", what, role);
    if (!device && a->kind == 1 && !any) VIOL("%s: %s is device memory where host memory is said", what, role);
}
extern "C" {
err cudaGetDeviceCount(int* n) {
    if (!driver_ok()) return E(35);
    long c = envl("DOUBLE_CUDA_COUNT", 1);
    *n = c;
    if (c == 0) return E(100);
    return 0;
}
err cudaRuntimeGetVersion(int* v) {
    *v = envl("DOUBLE_CUDA_VERSION", 12060);
    return 0;
}
err cudaDriverGetVersion(int* v) {
    *v = envl("DOUBLE_CUDA_DRIVER", 13020);
    return 0;
}
err cudaDeviceGetAttribute(int* v, int a, int d) {
    long cc = envl("DOUBLE_CUDA_CC", 87);
    switch (a) {
        case 75:
            *v = cc / 10;
            break;
        case 76:
            *v = cc % 10;
            break;
        case 18:
            *v = envl("DOUBLE_CUDA_INTEGRATED", 1);
            break;
        default:
            say("note: attribute %d asked", a);
            *v = 0;
    }
    return 0;
}
err cudaMemGetInfo(size_t* f, size_t* t) {
    LOCK;
    *t = envl("DOUBLE_CUDA_TOTAL_MB", 8192) * (size_t)1048576;
    long free_ = envl("DOUBLE_CUDA_FREE_MB", -1);
    *f = free_ >= 0 ? free_ * (size_t)1048576 : *t - used;
    return 0;
}
err cudaMalloc(void** p, size_t n) {
    LOCK;
    if (err e = unsafe("cudaMalloc")) return e;
    err e = alloc(p, n, 1);
    TR("malloc %zu -> %p", n, *p);
    return e;
}
err cudaFree(void* p) {
    LOCK;
    if (err e = unsafe("cudaFree")) return e;
    TR("free %p", p);
    return release(p, 1, "cudaFree");
}
err cudaHostAlloc(void** p, size_t n, unsigned f) {
    LOCK;
    if (err e = unsafe("cudaHostAlloc")) return e;
    err e = alloc(p, n, 2);
    TR("hostalloc %zu flags %u -> %p", n, f, *p);
    return e;
}
err cudaFreeHost(void* p) {
    LOCK;
    if (err e = unsafe("cudaFreeHost")) return e;
    TR("freehost %p", p);
    return release(p, 2, "cudaFreeHost");
}
err cudaHostGetDevicePointer(void** d, void* h, unsigned f) {
    LOCK;
    Alloc* a = find(h);
    if (!a || a->kind != 2 || a->freed) {
        VIOL("cudaHostGetDevicePointer of %p", h);
        return E(1);
    }
    *d = h;
    return 0;
}
err cudaMemcpyAsync(void* t, const void* s, size_t n, int kind, void* stream) {
    LOCK;
    Stream* x = st(stream);
    if (!x) return E(400);
    TR("memcpy %p <- %p %zu kind %d", t, s, n, kind);
    range(t, n, "target", "cudaMemcpyAsync", kind == 1 || kind == 3, kind == 4);
    range(s, n, "source", "cudaMemcpyAsync", kind == 2 || kind == 3, kind == 4);
    auto op = std::make_shared<Op>();
    op->what = "a copy";
    op->touch = {{(uintptr_t)t, n}, {(uintptr_t)s, n}};
    op->run = [=] { memmove(t, s, n); };
    push(x, op);
    return 0;
}
err cudaMemcpy2DAsync(void* t, size_t tp, const void* s, size_t sp, size_t w, size_t h, int kind,
                      void* stream) {
    LOCK;
    Stream* x = st(stream);
    if (!x) return E(400);
    if (w > tp || w > sp) {
        VIOL("cudaMemcpy2DAsync width %zu above a pitch (%zu, %zu)", w, tp, sp);
        return E(12);
    }
    TR("memcpy2d %p/%zu <- %p/%zu %zux%zu", t, tp, s, sp, w, h);
    if (h) {
        range(t, tp * (h - 1) + w, "target", "cudaMemcpy2DAsync", kind == 1 || kind == 3, kind == 4);
        range(s, sp * (h - 1) + w, "source", "cudaMemcpy2DAsync", kind == 2 || kind == 3, kind == 4);
    }
    auto op = std::make_shared<Op>();
    op->what = "a 2D copy";
    op->touch = {{(uintptr_t)t, tp * h}, {(uintptr_t)s, sp * h}};
    op->run = [=] {
        for (size_t i = 0; i < h; ++i) memmove((char*)t + i * tp, (const char*)s + i * sp, w);
    };
    push(x, op);
    return 0;
}
}
