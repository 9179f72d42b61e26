// The plugin shells: shapes, types and formats, workspaces, serialisation, and whole runs on the CPU.
// Prints what failed; exits with 1 if anything did.
#include "kernels/operators.h"
#include "plugin_driver.h"

#include <functional>

namespace {

using Pointers = std::vector<void const*>;
using Direct = std::function<int(Pointers const&, void* output, void* workspace)>;

// Serialises the plugin, makes it anew as a plan's loading does, attaches, runs it, and compares with
// `direct`.
void runs_like(IPluginV3& built, std::vector<Tensor> const& tensors, Direct const& direct) {
    CHECK(supports(built, tensors));
    CHECK(configure(built, tensors) == 0);
    PluginFieldCollection const* const fields = runtime(built)->getFieldsToSerialize();
    std::string const name = core(built)->getPluginName();
    std::unique_ptr<IPluginV3> loaded(
        creator_of(name)->createPlugin("node", fields, TensorRTPhase::kRUNTIME));
    CHECK(loaded);
    std::unique_ptr<IPluginV3> attached(runtime(*loaded)->attachToContext(nullptr));
    std::vector<PluginTensorDesc> descs;
    std::vector<std::vector<char>> data;
    Pointers inputs;
    for (Tensor const& tensor : tensors) {
        descs.push_back(tensor.desc());
        data.push_back(numbers(tensor, unsigned(data.size())));
    }
    for (size_t i = 0; i + 1 < data.size(); ++i) inputs.push_back(data[i].data());
    std::vector<char> scratch(workspace(built, tensors) + 256), wanted(data.back().size());
    void* const aligned =
        reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(scratch.data()) + 255) / 256 * 256);
    int32_t const count = int32_t(inputs.size());
    void* output = data.back().data();
    std::memset(output, 0xff, data.back().size());
    CHECK(runtime(*attached)->enqueue(descs.data(), &descs.back(), inputs.data(), &output, aligned,
                                      nullptr) != 0);
    CHECK(logger.said("before onShapeChange"));
    CHECK(runtime(*attached)->onShapeChange(descs.data(), count, &descs.back(), 1) == 0);
    CHECK(runtime(*attached)->enqueue(descs.data(), &descs.back(), inputs.data(), &output, aligned,
                                      nullptr) == 0);
    CHECK(direct(inputs, wanted.data(), aligned) == 0);
    CHECK(data.back() == wanted);
    std::set<char> const distinct(wanted.begin(), wanted.end());
    CHECK(distinct.size() > 16);  // something was computed
}

Attributes const kDeform{{"strides", {2, 1}},
                         {"pads", {1, 2, 0, 1}},
                         {"dilations", {1, 2}},
                         {"group", {2}},
                         {"offset_group", {1}}};

// 16 channels to 8 in two groups, a 3x2 kernel, from 9x12 to 4x13: (9 + 1 - 3) / 2 + 1, (12 + 3 - 3) / 1 + 1.
std::vector<Tensor> deform_tensors(DataType type, TensorFormat format = TensorFormat::kLINEAR) {
    DataType const fp32 = DataType::kFLOAT;
    return {{type, {2, 16, 9, 12}, format}, {type, {8, 8, 3, 2}},         {fp32, {2, 12, 4, 13}}, {type, {8}},
            {fp32, {2, 6, 4, 13}},          {type, {2, 8, 4, 13}, format}};
}

EdgeflowDeformConv2d deform_sizes(bool half, bool channels_last) {
    return {2, 16, 9, 12, 8, 3, 2, 2, 1, 1, 2, 1, 2, 2, 1, 4, 13, half, channels_last};
}

void library_names_its_plugins() {
    int32_t count = 0;
    IPluginCreatorInterface* const* const all = getCreators(count);
    std::set<std::string> names;
    for (int32_t i = 0; i < count; ++i) {
        auto* const creator = static_cast<IPluginCreatorV3One*>(all[i]);
        names.insert(creator->getPluginName());
        CHECK(std::string(creator->getPluginNamespace()) == "edgeflow");
        CHECK(std::string(creator->getPluginVersion()) == "1");
        CHECK(std::string(creator->getInterfaceInfo().kind) == "PLUGIN CREATOR_V3ONE");
    }
    CHECK((names == std::set<std::string>{"EdgeflowDeformConv2d", "EdgeflowAdaBD", "EdgeflowCostVolume",
                                         "EdgeflowAdaCoF", "EdgeflowSplat"}));
    PluginFieldCollection const* const fields = creator_of("EdgeflowDeformConv2d")->getFieldNames();
    CHECK(fields->nbFields == 5);
    CHECK(std::string(fields->fields[1].name) == "pads" && fields->fields[1].length == 4);
}

void attributes_are_checked() {
    Attributes missing = kDeform;
    missing.pop_back();
    CHECK(!create("EdgeflowDeformConv2d", missing) && logger.said("attribute offset_group is missing"));
    Attributes short_of = kDeform;
    short_of[1].second = {1, 1};
    CHECK(!create("EdgeflowDeformConv2d", short_of) && logger.said("pads should be 4 int32 and is 2"));
    float const radius = 4.0f;
    PluginField const field("radius", &radius, PluginFieldType::kFLOAT32, 1);
    PluginFieldCollection const collection{1, &field};
    CHECK(!creator_of("EdgeflowCostVolume")->createPlugin("node", &collection, TensorRTPhase::kBUILD));
    CHECK(!creator_of("EdgeflowCostVolume")->createPlugin("node", nullptr, TensorRTPhase::kRUNTIME));
    Attributes more = kDeform;
    more.push_back({"plugin_version", {1}});
    CHECK(create("EdgeflowDeformConv2d", more));
}

void plugins_say_what_they_are() {
    auto const plugin = create("EdgeflowDeformConv2d", kDeform);
    std::unique_ptr<IPluginV3> const clone(plugin->clone());
    for (IPluginV3* each : {plugin.get(), clone.get()}) {
        CHECK(std::string(core(*each)->getPluginName()) == "EdgeflowDeformConv2d");
        CHECK(std::string(core(*each)->getPluginVersion()) == "1");
        CHECK(std::string(core(*each)->getPluginNamespace()) == "edgeflow");
        CHECK(build(*each)->getNbOutputs() == 1);
        char const* const wanted = "strides=2,1,pads=1,2,0,1,dilations=1,2,group=2,offset_group=1,";
        CHECK(std::string(build(*each)->getTimingCacheID()) == wanted);
    }
    DataType const inputs[] = {DataType::kHALF, DataType::kHALF, DataType::kFLOAT};
    DataType output = DataType::kINT8;
    CHECK(build(*plugin)->getOutputDataTypes(&output, 1, inputs, 3) == 0 && output == DataType::kHALF);
}

void shapes_follow_the_inputs() {
    auto const deform = create("EdgeflowDeformConv2d", kDeform);
    auto inputs = deform_tensors(DataType::kFLOAT);
    inputs.pop_back();
    CHECK((output_shape(*deform, inputs) == Shape{2, 8, 4, 13}));
    DataType const type = DataType::kFLOAT;
    auto const adabd = create("EdgeflowAdaBD", {});
    CHECK((output_shape(*adabd, {{type, {2, 16, 9, 12}},
                                 {type, {2, 16, 9, 12}},
                                 {type, {2, 18, 9, 12}},
                                 {type, {2, 9, 9, 12}},
                                 {type, {24, 16, 3, 3}}}) == Shape{2, 24, 9, 12}));
    auto const volume = create("EdgeflowCostVolume", {{"radius", {4}}});
    CHECK((output_shape(*volume, {{type, {2, 16, 9, 12}}, {type, {2, 16, 9, 12}}}) == Shape{2, 81, 9, 12}));
}

void wrong_shapes_are_named() {
    auto const plugin = create("EdgeflowDeformConv2d", kDeform);
    auto const good = deform_tensors(DataType::kHALF);
    CHECK(configure(*plugin, good) == 0);
    auto offset = good;
    offset[2].shape[3] = 12;
    CHECK(configure(*plugin, offset) != 0);
    CHECK(logger.said("offset is (2, 12, 4, 12) where (2, 12, 4, 13) is wanted"));
    auto bias = good;
    bias[3].shape = {8, 1};
    CHECK(configure(*plugin, bias) != 0 && logger.said("bias is (8, 1)"));
    auto channels = good;
    channels[0].shape[1] = 15;
    CHECK(configure(*plugin, channels) != 0 && logger.said("group divides"));
    auto few = good;
    few.erase(few.begin() + 3, few.begin() + 5);
    CHECK(configure(*plugin, few) != 0 && logger.said("4 or 5 inputs"));
    auto const still = create("EdgeflowDeformConv2d", {{"strides", {0, 1}},
                                                       {"pads", {1, 2, 0, 1}},
                                                       {"dilations", {1, 2}},
                                                       {"group", {2}},
                                                       {"offset_group", {1}}});
    CHECK(configure(*still, good) != 0 && logger.said("at least 1"));
    auto const volume = create("EdgeflowCostVolume", {{"radius", {1}}});
    DataType const type = DataType::kFLOAT;
    CHECK(configure(*volume, {{type, {1, 4, 5, 6}}, {type, {1, 4, 5, 7}}, {type, {1, 9, 5, 6}}}) != 0);
    CHECK(logger.said("second is (1, 4, 5, 7)"));
}

void free_dimensions_count_as_the_largest() {
    auto const plugin = create("EdgeflowDeformConv2d", kDeform);
    auto const tensors = deform_tensors(DataType::kHALF);
    auto descs = dynamic(tensors);
    for (int32_t i : {0, 2, 4, 5}) {
        descs[i].desc.dims.d[0] = -1;
        descs[i].min.d[0] = 1;
    }
    CHECK(build(*plugin)->configurePlugin(descs.data(), 5, &descs[5], 1) == 0);
    CHECK(build(*plugin)->getWorkspaceSize(descs.data(), 5, &descs[5], 1) == workspace(*plugin, tensors));
    auto single = tensors;
    for (int32_t i : {0, 2, 4, 5}) single[i].shape[0] = 1;
    CHECK(workspace(*plugin, single) < workspace(*plugin, tensors));
}

void formats_are_what_the_kernels_take() {
    DataType const half = DataType::kHALF, fp32 = DataType::kFLOAT;
    TensorFormat const last = TensorFormat::kHWC8;
    auto const plugin = create("EdgeflowDeformConv2d", kDeform);
    CHECK(supports(*plugin, deform_tensors(half)) && supports(*plugin, deform_tensors(fp32)));
    CHECK(supports(*plugin, deform_tensors(half, last)) && !supports(*plugin, deform_tensors(fp32, last)));
    CHECK(!supports(*plugin, deform_tensors(DataType::kINT8)) &&
          !supports(*plugin, deform_tensors(DataType::kBF16)));
    for (int32_t position : {1, 3, 5}) {  // the data's type is one
        auto mixed = deform_tensors(half);
        mixed[position].type = fp32;
        CHECK(!supports(*plugin, mixed));
    }
    for (int32_t position : {2, 4}) {  // sampling is float32
        auto rounded = deform_tensors(half);
        rounded[position].type = half;
        CHECK(!supports(*plugin, rounded));
    }
    auto bent = deform_tensors(half, last);
    bent[5].format = TensorFormat::kLINEAR;
    CHECK(!supports(*plugin, bent));
    auto odd = deform_tensors(half, last);  // four channels to a group: no whole vector
    odd[0].shape[1] = 8;
    odd[1].shape[1] = 4;
    CHECK(!supports(*plugin, odd));
    auto narrow = deform_tensors(half, last);
    narrow[1].shape[0] = narrow[3].shape[0] = narrow[5].shape[1] = 4;
    CHECK(!supports(*plugin, narrow));
    auto unmasked = deform_tensors(half);
    unmasked.erase(unmasked.begin() + 4);
    CHECK(supports(*plugin, unmasked));
    unmasked.erase(unmasked.begin() + 3);
    CHECK(!supports(*plugin, unmasked));
    auto const volume = create("EdgeflowCostVolume", {{"radius", {1}}});
    Shape const shape{1, 8, 5, 6};
    CHECK(supports(*volume, {{half, shape}, {half, shape}, {half, {1, 9, 5, 6}}}));
    CHECK(!supports(*volume, {{half, shape}, {fp32, shape}, {half, {1, 9, 5, 6}}}));
    CHECK(!supports(*volume, {{half, shape, last}, {half, shape, last}, {half, {1, 9, 5, 6}, last}}));
}

void workspaces_hold_packed_weights_and_images() {
    auto const plugin = create("EdgeflowDeformConv2d", kDeform);
    // Two groups of 64 rows of 6 taps of 32 channels, float16; the images of 16 channels in each of two runs
    // of 8.
    size_t const weight = 2 * 64 * 6 * 32 * 2, images = (2 * 9 * 12 * 16 * 2 + 255) / 256 * 256;
    CHECK(workspace(*plugin, deform_tensors(DataType::kHALF)) == weight + images);
    CHECK(workspace(*plugin, deform_tensors(DataType::kHALF, TensorFormat::kHWC8)) == weight);
    auto const volume = create("EdgeflowCostVolume", {{"radius", {1}}});
    Shape const shape{1, 8, 5, 6};
    DataType const type = DataType::kFLOAT;
    CHECK(workspace(*volume, {{type, shape}, {type, shape}, {type, {1, 9, 5, 6}}}) == 0);
    // 64 channels at 4320x7680 are more than 2^32 bytes.
    auto const large = create("EdgeflowDeformConv2d", {{"strides", {1, 1}},
                                                       {"pads", {1, 1, 1, 1}},
                                                       {"dilations", {1, 1}},
                                                       {"group", {1}},
                                                       {"offset_group", {1}}});
    DataType const half = DataType::kHALF;
    size_t const bytes = workspace(*large, {{half, {1, 64, 4320, 7680}},
                                            {half, {64, 64, 3, 3}},
                                            {type, {1, 18, 4320, 7680}},
                                            {half, {64}},
                                            {type, {1, 9, 4320, 7680}},
                                            {half, {1, 64, 4320, 7680}}});
    CHECK(bytes == size_t(64) * 9 * 64 * 2 + size_t(64) * 4320 * 7680 * 2);
}

void deform_conv_runs() {
    auto const plugin = create("EdgeflowDeformConv2d", kDeform);
    for (bool half : {false, true}) {
        for (bool last : {false, true}) {
            if (last && !half) continue;
            EdgeflowDeformConv2d const sizes = deform_sizes(half, last);
            auto const tensors = deform_tensors(half ? DataType::kHALF : DataType::kFLOAT,
                                                last ? TensorFormat::kHWC8 : TensorFormat::kLINEAR);
            runs_like(*plugin, tensors, [&](Pointers const& in, void* output, void* scratch) {
                return edgeflow_deform_conv2d(&sizes, in[0], in[1], static_cast<float const*>(in[2]), in[3],
                                              static_cast<float const*>(in[4]), output, scratch, nullptr);
            });
        }
    }
    auto unmasked = deform_tensors(DataType::kFLOAT);
    unmasked.erase(unmasked.begin() + 4);
    EdgeflowDeformConv2d const sizes = deform_sizes(false, false);
    runs_like(*plugin, unmasked, [&](Pointers const& in, void* output, void* scratch) {
        return edgeflow_deform_conv2d(&sizes, in[0], in[1], static_cast<float const*>(in[2]), in[3], nullptr,
                                      output, scratch, nullptr);
    });
}

void adabd_runs() {
    auto const plugin = create("EdgeflowAdaBD", {});
    for (bool last : {false, true}) {
        TensorFormat const format = last ? TensorFormat::kHWC8 : TensorFormat::kLINEAR;
        DataType const type = DataType::kHALF, fp32 = DataType::kFLOAT;
        std::vector<Tensor> const tensors{{type, {2, 16, 5, 7}, format}, {type, {2, 16, 5, 7}, format},
                                          {fp32, {2, 18, 5, 7}},         {fp32, {2, 9, 5, 7}},
                                          {type, {24, 16, 3, 3}},        {type, {2, 24, 5, 7}, format}};
        EdgeflowAdaBD const sizes{2, 16, 5, 7, 24, 1, last};
        runs_like(*plugin, tensors, [&](Pointers const& in, void* output, void* scratch) {
            return edgeflow_adabd(&sizes, in[0], in[1], static_cast<float const*>(in[2]),
                                  static_cast<float const*>(in[3]), in[4], output, scratch, nullptr);
        });
    }
}

void cost_volume_runs() {
    auto const plugin = create("EdgeflowCostVolume", {{"radius", {2}}});
    DataType const type = DataType::kFLOAT;
    EdgeflowCostVolume const sizes{2, 6, 5, 7, 2, 0};
    runs_like(*plugin, {{type, {2, 6, 5, 7}}, {type, {2, 6, 5, 7}}, {type, {2, 25, 5, 7}}},
              [&](Pointers const& in, void* output, void*) {
                  return edgeflow_cost_volume(&sizes, in[0], in[1], output, nullptr);
              });
}

void adacof_runs() {
    auto const plugin = create("EdgeflowAdaCoF", {{"dilation", {1}}});
    DataType const type = DataType::kHALF, fp32 = DataType::kFLOAT;
    EdgeflowAdaCoF const sizes{2, 3, 5, 7, 3, 1, 1};
    std::vector<Tensor> const tensors{{type, {2, 3, 5, 7}}, {type, {2, 9, 5, 7}}, {fp32, {2, 9, 5, 7}},
                                      {fp32, {2, 9, 5, 7}}, {type, {2, 3, 5, 7}}};
    runs_like(*plugin, tensors, [&](Pointers const& in, void* output, void*) {
        return edgeflow_adacof(&sizes, in[0], in[1], static_cast<float const*>(in[2]),
                               static_cast<float const*>(in[3]), output, nullptr);
    });
    auto even = tensors;
    for (int32_t position : {1, 2, 3}) even[position].shape[1] = 4;
    CHECK(configure(*plugin, even) != 0 && logger.said("the square of an odd side"));
}

void splat_runs() {
    auto const plugin = create("EdgeflowSplat", {});
    DataType const fp32 = DataType::kFLOAT;
    EdgeflowSplat const sizes{2, 4, 5, 7, 0};
    std::vector<Tensor> const tensors{{fp32, {2, 4, 5, 7}}, {fp32, {2, 2, 5, 7}}, {fp32, {2, 4, 5, 7}}};
    CHECK(workspace(*plugin, tensors) == 2 * 4 * 5 * 7 * 8);
    runs_like(*plugin, tensors, [&](Pointers const& in, void* output, void* scratch) {
        return edgeflow_splat(&sizes, in[0], static_cast<float const*>(in[1]), output, scratch, nullptr);
    });
}

}  // namespace

int main() {
    setLoggerFinder(&finder);
    library_names_its_plugins();
    attributes_are_checked();
    plugins_say_what_they_are();
    shapes_follow_the_inputs();
    wrong_shapes_are_named();
    free_dimensions_count_as_the_largest();
    formats_are_what_the_kernels_take();
    workspaces_hold_packed_weights_and_images();
    deform_conv_runs();
    adabd_runs();
    cost_volume_runs();
    adacof_runs();
    splat_runs();
    std::printf("TensorRT %d.%d headers: %d failures\n", NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, failures);
    return failures != 0;
}
