// Device and pinned memory of the double of libcudart: every allocation lies between guards, freed ones stay to
// be noticed.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cstdarg>
#include <string>
#include <vector>
#include <map>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <sys/mman.h>
#include <unistd.h>
#include <time.h>
#include <sys/syscall.h>
typedef int err;
static std::recursive_mutex M;
static FILE* L() {
    static FILE* f = nullptr;
    if (!f) {
        const char* p = getenv("DOUBLE_LOG");
        f = p ? fopen(p, "a") : stderr;
        setvbuf(f, nullptr, _IOLBF, 0);
    }
    return f;
}
static bool trace() {
    static int t = getenv("DOUBLE_TRACE") ? 1 : 0;
    return t;
}
extern "C" void double_say(const char* s) { fprintf(L(), "[%d] %s\n", getpid(), s); }
static void say(const char* fmt, ...) {
    char b[2000];
    va_list a;
    va_start(a, fmt);
    vsnprintf(b, sizeof b, fmt, a);
    va_end(a);
    double_say(b);
}
#define VIOL(...)                            \
    do {                                     \
        say("VIOLATION cuda: " __VA_ARGS__); \
    } while (0)
#define TR(...)                                 \
    do {                                        \
        if (trace()) say("cuda: " __VA_ARGS__); \
    } while (0)
static long envl(const char* n, long d) {
    const char* p = getenv(n);
    return p ? atol(p) : d;
}

struct Alloc {
    uint8_t* base;
    size_t size;
    int kind;
    bool freed;
    uint8_t* map;
    size_t mapsize;
    uint8_t* alias;
};
// kind 1 device 2 pinned
static std::map<uintptr_t, Alloc> A;  // by base
static size_t used = 0, peak = 0;
static const size_t G = 4096;
static Alloc* find(const void* p) {
    auto it = A.upper_bound((uintptr_t)p);
    if (it == A.begin()) return nullptr;
    --it;
    Alloc& a = it->second;
    if ((uintptr_t)p < (uintptr_t)a.base + (a.size ? a.size : 1)) return &a;
    return nullptr;
}
extern "C" int double_find(const void* p, uintptr_t* base, size_t* size, int* kind, int* freed) {
    std::lock_guard<std::recursive_mutex> g(M);
    Alloc* a = find(p);
    if (!a) return 0;
    *base = (uintptr_t)a->base;
    *size = a->size;
    *kind = a->kind;
    *freed = a->freed;
    return 1;
}
static void check_guards(Alloc& a, const char* when) {
    for (size_t i = 1; i <= 256; ++i)
        if (a.base[-(long)i] != 0xA5) {
            VIOL("write before allocation %p size %zu (%s)", a.base, a.size, when);
            break;
        }
    size_t end = a.mapsize - (a.base - a.map) - a.size;
    if (end > 4096) end = 4096;
    for (size_t i = 0; i < end; ++i)
        if (a.base[a.size + i] != 0xA5) {
            VIOL("write past allocation %p size %zu at +%zu (%s)", a.base, a.size, i, when);
            break;
        }
}
