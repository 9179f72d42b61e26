// Entry points of the double of libnvinfer, libnvonnxparser and libnvinfer_plugin.
#include "context.h"
#include "parser.h"

extern "C" {
void* createInferBuilder_INTERNAL(void* l, int32_t v) noexcept {
    TR("builder, version %d", v);
    if (has("builder")) return nullptr;
    return static_cast<IBuilder*>(new FakeBuilder((ILogger*)l));
}
void* createInferRuntime_INTERNAL(void* l, int32_t v) noexcept {
    if (has("runtime")) return nullptr;
    return static_cast<IRuntime*>(new FakeRuntime((ILogger*)l));
}
void* createInferRefitter_INTERNAL(void*, void*, int32_t) noexcept { return nullptr; }
IPluginRegistry* getPluginRegistry() noexcept { return &registry(); }
IPluginRegistry* getBuilderPluginRegistry(EngineCapability) noexcept { return &registry(); }
void* createNvOnnxParser_INTERNAL(void* n, void* l, int) noexcept {
    return static_cast<nvonnxparser::IParser*>(
        new FakeParser(static_cast<FakeNetwork*>((INetworkDefinition*)n), (ILogger*)l));
}
void* createNvOnnxParserRefitter_INTERNAL(void*, void*, int) noexcept { return nullptr; }
int32_t getNvOnnxParserVersion() noexcept { return NV_TENSORRT_VERSION; }
bool initLibNvInferPlugins(void*, char const*) noexcept { return true; }
int32_t getInferLibVersion() noexcept { return NV_TENSORRT_VERSION; }
}
