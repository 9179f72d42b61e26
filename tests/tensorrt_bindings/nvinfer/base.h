// What all parts of the double of libnvinfer use: its log, its faults, the Python module that decides, tensors
// as text.
#pragma once
#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <NvInferRuntimePlugin.h>
#include <dlfcn.h>
#include <unistd.h>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <memory>
#include <sstream>
#include <string>
#include <vector>
using namespace nvinfer1;
// The few calls of CPython that the double needs; the interpreter that loads it has them.
extern "C" {
typedef struct _object PyObject;
int PyGILState_Ensure();
void PyGILState_Release(int);
PyObject* PyImport_ImportModule(const char*);
PyObject* PyObject_CallMethod(PyObject*, const char*, const char*, ...);
const char* PyUnicode_AsUTF8(PyObject*);
int PyBytes_AsStringAndSize(PyObject*, char**, ssize_t*);
void Py_DecRef(PyObject*);
void PyErr_Print();
void double_say_(const char*);
}
// A function of the double of libcudart, which this process has loaded.
template <class F>
static F cu(const char* n) {
    static void* h = [] {
        for (const char* n : {"libcudart.so.12", "libcudart.so.13"})
            if (void* p = dlopen(n, RTLD_NOW | RTLD_NOLOAD)) return p;
        return (void*)nullptr;
    }();
    if (!h) return nullptr;
    return (F)dlsym(h, n);
}
static void say(const char* fmt, ...) {
    static FILE* f = nullptr;
    if (!f) {
        const char* p = getenv("DOUBLE_LOG");
        f = p ? fopen(p, "a") : stderr;
        setvbuf(f, nullptr, _IOLBF, 0);
    }
    char b[4000];
    va_list a;
    va_start(a, fmt);
    vsnprintf(b, sizeof b, fmt, a);
    va_end(a);
    fprintf(f, "[%d] %s\n", getpid(), b);
}
#define VIOL(...) say("VIOLATION trt: " __VA_ARGS__)
static bool trace() {
    static int t = getenv("DOUBLE_TRACE") ? 1 : 0;
    return t;
}
#define TR(...)                                \
    do {                                       \
        if (trace()) say("trt: " __VA_ARGS__); \
    } while (0)
template <class T>
T dflt(const char* n) {
    say("NOT MODELLED %s", n);
    if constexpr (std::is_void_v<T>)
        return;
    else if constexpr (std::is_reference_v<T>) {
        abort();
    } else
        return T{};
}
namespace nvinfer1 {
#include "noop.h"
}
static std::string fault() {
    const char* p = getenv("DOUBLE_FAULT");
    return p ? p : "";
}
static bool has(const char* f) {
    return ("," + fault() + ",").find("," + std::string(f) + ",") != std::string::npos;
}
// calls nvinfer_double.fn(args...) -> str or bytes
struct Py {
    int s;
    PyObject* mod;
    Py() {
        s = PyGILState_Ensure();
        mod = PyImport_ImportModule("nvinfer_double");
        if (!mod) {
            PyErr_Print();
            abort();
        }
    }
    ~Py() {
        Py_DecRef(mod);
        PyGILState_Release(s);
    }
    std::string take(PyObject* o, bool bytes = false) {
        if (!o) {
            PyErr_Print();
            return "ERR\tpython failed";
        }
        std::string r;
        if (bytes) {
            char* p;
            ssize_t n;
            if (PyBytes_AsStringAndSize(o, &p, &n) == 0) r.assign(p, n);
        } else {
            const char* c = PyUnicode_AsUTF8(o);
            r = c ? c : "";
        }
        Py_DecRef(o);
        return r;
    }
};
static std::vector<std::string> split(const std::string& t, char by) {
    std::vector<std::string> r;
    std::string x;
    std::istringstream s(t);
    while (std::getline(s, x, by)) r.push_back(x);
    return r;
}
static Dims dims(const std::string& t) {
    Dims d{};
    d.nbDims = 0;
    for (auto& x : split(t, ',')) d.d[d.nbDims++] = atoll(x.c_str());
    return d;
}
static std::string text(Dims const& d) {
    std::string r;
    for (int i = 0; i < d.nbDims; ++i) r += (i ? "," : "") + std::to_string((long long)d.d[i]);
    return r;
}
struct IO {
    std::string name;
    bool input;
    int type;
    Dims d;
    int bytes;
};
static std::vector<IO> ios(const std::vector<std::string>& lines) {
    std::vector<IO> r;
    for (auto& l : lines) {
        auto p = split(l, '\t');
        if (p.size() >= 4 && (p[0] == "I" || p[0] == "O"))
            r.push_back(
                {p[1], p[0] == "I", atoi(p[2].c_str()), dims(p.size() > 4 ? p[4] : ""), atoi(p[3].c_str())});
    }
    return r;
}
static void error(ILogger* l, const std::string& m, ILogger::Severity s = ILogger::Severity::kERROR) {
    TR("log: %s", m.c_str());
    if (l) l->log(s, m.c_str());
}

struct FakeHostMemory : IHostMemory, NHostMemory {
    std::string b;
    FakeHostMemory(std::string x) : b(std::move(x)) { IHostMemory::mImpl = this; }
    void* data() const noexcept override { return (void*)b.data(); }
    std::size_t size() const noexcept override { return b.size(); }
    DataType type() const noexcept override { return DataType::kINT8; }
};
