// EdgeflowCostVolume: how well each pixel of `first` matches the pixels of `second` around it (PWC-Net).
#include "kernels/operators.h"
#include "plugin_base.h"

namespace edgeflow {
namespace {

struct CostVolume {
    static constexpr char const* kName = "EdgeflowCostVolume";
    enum Input { kFirst, kSecond, kInputs };

    int32_t radius;

    std::array<Field, 1> fields() { return {{{"radius", &radius, 1}}}; }

    bool accepts(int32_t position, Tensors const& tensors) const {
        if (tensors.inputs() != kInputs) return false;
        return tensors.linearData(position) && tensors[position].type == tensors[kFirst].type;
    }

    std::string problem(Tensors const& tensors) const {
        if (tensors.inputs() != kInputs) return "it has 2 inputs";
        if (radius < 0) return "radius is at least 0";
        if (!tensors.fourDimensional(kFirst)) return "first should have 4 dimensions";
        return tensors.unlike("second", kSecond,
                              {tensors.size(kFirst, 0), tensors.size(kFirst, 1), tensors.size(kFirst, 2),
                               tensors.size(kFirst, 3)});
    }

    void outputShape(nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs& output,
                     nvinfer1::IExprBuilder& builder) const {
        int64_t const span = 2 * int64_t(radius) + 1;
        output = inputs[kFirst];
        output.d[1] = builder.constant(span * span);
    }

    size_t workspace(Tensors const&) const { return 0; }

    int enqueue(Tensors const& tensors, void const* const* inputs, void* output, void*,
                cudaStream_t stream) const {
        EdgeflowCostVolume values{};
        values.batch = tensors.size(kFirst, 0);
        values.channels = tensors.size(kFirst, 1);
        values.height = tensors.size(kFirst, 2);
        values.width = tensors.size(kFirst, 3);
        values.radius = radius;
        values.half = tensors.half();
        return edgeflow_cost_volume(&values, inputs[kFirst], inputs[kSecond], output, stream);
    }
};

Registered<CostVolume> const registered;

}  // namespace
}  // namespace edgeflow
