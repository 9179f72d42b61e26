// What IPluginRegistry::loadLibrary looks for in a plugin library.
#include "plugin_base.h"

extern "C" {

__attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
    count = static_cast<int32_t>(edgeflow::creators().size());
    return edgeflow::creators().data();
}

__attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
    edgeflow::loggerFinder() = finder;
}

}  // extern "C"
