// EdgeflowAdaCoF: adaptive collaboration of flows (ST-MFNet, AdaCoF).
#include "kernels/operators.h"
#include "plugin_base.h"

namespace edgeflow {
namespace {

struct AdaCoF {
    static constexpr char const* kName = "EdgeflowAdaCoF";
    enum Input { kImage, kWeight, kAlpha, kBeta, kInputs };

    int32_t dilation;

    std::array<Field, 1> fields() { return {{{"dilation", &dilation, 1}}}; }

    bool accepts(int32_t position, Tensors const& tensors) const {
        if (tensors.inputs() != kInputs) return false;
        if (position == kAlpha || position == kBeta)
            return tensors.is(position, nvinfer1::DataType::kFLOAT, nvinfer1::TensorFormat::kLINEAR);
        return tensors.linearData(position) && tensors[position].type == tensors[kImage].type;
    }

    std::string problem(Tensors const& tensors) const {
        if (tensors.inputs() != kInputs) return "it has 4 inputs";
        if (dilation < 1) return "dilation is at least 1";
        if (!tensors.fourDimensional(kImage)) return "image should have 4 dimensions";
        if (!tensors.fourDimensional(kWeight)) return "weight should have 4 dimensions";
        int32_t const taps = tensors.size(kWeight, 1), own = side(taps);
        if (own * own != taps || own % 2 == 0) return "the taps of weight are the square of an odd side";
        std::vector<int64_t> const wanted{tensors.size(kImage, 0), taps, tensors.size(kImage, 2),
                                          tensors.size(kImage, 3)};
        std::string wrong = tensors.unlike("weight", kWeight, wanted);
        if (wrong.empty()) wrong = tensors.unlike("alpha", kAlpha, wanted);
        return wrong.empty() ? tensors.unlike("beta", kBeta, wanted) : wrong;
    }

    void outputShape(nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs& output,
                     nvinfer1::IExprBuilder&) const {
        output = inputs[kImage];
    }

    size_t workspace(Tensors const&) const { return 0; }

    int enqueue(Tensors const& tensors, void const* const* inputs, void* output, void*,
                cudaStream_t stream) const {
        EdgeflowAdaCoF values{};
        values.batch = tensors.size(kImage, 0);
        values.channels = tensors.size(kImage, 1);
        values.height = tensors.size(kImage, 2);
        values.width = tensors.size(kImage, 3);
        values.side = side(tensors.size(kWeight, 1));
        values.dilation = dilation;
        values.half = tensors.half();
        return edgeflow_adacof(&values, inputs[kImage], inputs[kWeight], static_cast<float const*>(inputs[kAlpha]),
                               static_cast<float const*>(inputs[kBeta]), output, stream);
    }

private:
    static int32_t side(int32_t taps) {
        int32_t found = 1;
        while ((found + 1) * (found + 1) <= taps) ++found;
        return found;
    }
};

Registered<AdaCoF> const registered;

}  // namespace
}  // namespace edgeflow
