"""What only a GPU can show: order on a stream, capture in a CUDA graph, tensors beyond 2^31 values."""

import pytest
import torch
import torch_kernels

PLENTY = 24 * 2**30


@pytest.fixture(scope="module")
def kernels(gpu_library):
    return torch_kernels.TorchKernels(gpu_library)


def inputs(shape=(2, 24, 37, 50), outputs=72, dtype=torch.float16):
    """current, reference, offset, mask, weight."""
    torch.manual_seed(0)
    n, channels, height, width = shape
    return (
        torch.randn(shape, dtype=dtype, device="cuda"),
        torch.randn(shape, dtype=dtype, device="cuda"),
        torch.randn(n, 18, height, width, device="cuda") * 2,
        torch.rand(n, 9, height, width, device="cuda"),
        torch.randn(outputs, channels, 3, 3, dtype=dtype, device="cuda"),
    )


@pytest.fixture(params=["deform_conv2d", "adabd", "cost_volume"])
def call(request, kernels):
    current, reference, offset, mask, weight = inputs()
    if request.param == "deform_conv2d":
        return current, lambda: kernels.deform_conv2d(
            current, weight, offset, weight[:, 0, 0, 0].clone(), mask
        )
    if request.param == "adabd":
        return current, lambda: kernels.adabd(current, reference, offset, mask, weight)
    return current, lambda: kernels.cost_volume(current, reference, 4)


def test_work_is_put_on_the_stream_given(call):
    x, run = call
    later = torch.randn_like(x)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # so that work on any other stream would be done before x changes
        x.copy_(later)
        found = run()
    torch.cuda.synchronize()
    assert torch.equal(found, run())


def test_work_is_captured_in_a_graph(call):
    x, run = call
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = run()
    x.copy_(torch.randn_like(x))
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(found, run())


def test_channels_last_tensors_are_taken_as_they_are(kernels):
    current, reference, offset, mask, weight = inputs()
    last = [item.contiguous(memory_format=torch.channels_last) for item in (current, reference)]
    found = kernels.adabd(*last, offset, mask, weight)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, kernels.adabd(current, reference, offset, mask, weight))


def test_more_than_2_31_values(kernels):
    if torch.cuda.mem_get_info()[0] < PLENTY:
        pytest.skip("needs 24 GiB of device memory")
    x = torch.randn(2, 64, 4200, 4200, dtype=torch.float16, device="cuda")
    weight = torch.randn(64, 64, 1, 1, dtype=torch.float16, device="cuda") / 8
    offset = torch.zeros(2, 2, 4200, 4200, device="cuda")
    found = kernels.deform_conv2d(x, weight, offset, None, None, pads=(0, 0, 0, 0))
    assert x.numel() > 2**31
    for corner in (slice(0, 40), slice(-40, None)):
        wanted = torch.conv2d(x[:, :, corner, corner].float(), weight.float())
        torch.testing.assert_close(found[:, :, corner, corner].float(), wanted, atol=4e-3, rtol=4e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_picture_sized_call_is_right(kernels, dtype):
    current, reference, offset, mask, weight = inputs((1, 64, 270, 480), 64, dtype)
    exact = [item.double() for item in (current, reference, offset, mask, weight)]
    # At column 480 a float32 coordinate is off by up to 1.5e-5, in each of 1152 terms.
    limits = {"atol": 3e-3, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 6e-2, "rtol": 4e-3}
    found = kernels.adabd(current, reference, offset, mask, weight)
    torch.testing.assert_close(found.double(), torch_kernels.adabd(*exact), **limits)
    bias = torch.randn(64, dtype=dtype, device="cuda")
    found = kernels.deform_conv2d(current, weight, offset, bias, mask)
    wanted = torch_kernels.deform_conv2d(exact[0], exact[4], exact[2], bias.double(), exact[3])
    torch.testing.assert_close(found.double(), wanted, **limits)
