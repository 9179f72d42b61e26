// EdgeflowSplat: forward warping by summation (Softmax Splatting).
#include "kernels/operators.h"
#include "plugin_base.h"

namespace edgeflow {
namespace {

struct Splat {
    static constexpr char const* kName = "EdgeflowSplat";
    enum Input { kValues, kFlow, kInputs };

    std::array<Field, 0> fields() { return {}; }

    bool accepts(int32_t position, Tensors const& tensors) const {
        if (tensors.inputs() != kInputs) return false;
        if (position == kFlow)
            return tensors.is(position, nvinfer1::DataType::kFLOAT, nvinfer1::TensorFormat::kLINEAR);
        return tensors.linearData(position) && tensors[position].type == tensors[kValues].type;
    }

    std::string problem(Tensors const& tensors) const {
        if (tensors.inputs() != kInputs) return "it has 2 inputs";
        if (!tensors.fourDimensional(kValues)) return "values should have 4 dimensions";
        return tensors.unlike("flow", kFlow,
                              {tensors.size(kValues, 0), 2, tensors.size(kValues, 2), tensors.size(kValues, 3)});
    }

    void outputShape(nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs& output,
                     nvinfer1::IExprBuilder&) const {
        output = inputs[kValues];
    }

    size_t workspace(Tensors const& tensors) const {
        EdgeflowSplat const values = sizes(tensors);
        return edgeflow_splat_workspace(&values);
    }

    int enqueue(Tensors const& tensors, void const* const* inputs, void* output, void* workspace,
                cudaStream_t stream) const {
        EdgeflowSplat const values = sizes(tensors);
        return edgeflow_splat(&values, inputs[kValues], static_cast<float const*>(inputs[kFlow]), output, workspace,
                              stream);
    }

private:
    static EdgeflowSplat sizes(Tensors const& tensors) {
        return {tensors.size(kValues, 0), tensors.size(kValues, 1), tensors.size(kValues, 2),
                tensors.size(kValues, 3), tensors.half()};
    }
};

Registered<Splat> const registered;

}  // namespace
}  // namespace edgeflow
