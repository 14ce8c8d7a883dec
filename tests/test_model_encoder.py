"""The convolution with a gradient of its own equals the plain one, forward and backward."""

import pytest
import torch
from torch import nn

from ghostpad.model.encoder import SHORT_ROW, Conv2d, stride_2_convolution, weight_gradient


@pytest.mark.parametrize("size", [(7, 5), (6, 10)])
def test_the_weight_gradient_is_that_of_the_convolution(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    large = torch.randn(3, 4, *size, dtype=torch.float64)
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False, dtype=torch.float64)
    output = conv(large)
    small = torch.randn_like(output)
    output.backward(small)
    assert conv.weight.grad is not None
    torch.testing.assert_close(weight_gradient(large, small), conv.weight.grad)


@pytest.mark.parametrize("padding", [None, (0, 0), (1, 1)])
def test_short_rows_give_the_outputs_and_gradients_of_the_plain_module(
    padding: tuple[int, int] | None,
) -> None:
    torch.manual_seed(0)
    conv: nn.Conv2d | nn.ConvTranspose2d = (
        nn.Conv2d(8, 16, 3, 2, 1, bias=False)
        if padding is None
        else nn.ConvTranspose2d(8, 16, 3, 2, 1, padding, bias=False)
    )
    features = torch.randn(4, 8, 7, 5).bfloat16()

    def results(own: bool) -> list[torch.Tensor]:
        inputs = features.clone().requires_grad_()
        conv.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            output = stride_2_convolution(conv, inputs, padding) if own else conv(inputs)
        assert output is not None
        output.backward(torch.ones_like(output))
        assert inputs.grad is not None and conv.weight.grad is not None
        return [output, inputs.grad, conv.weight.grad]

    for own, plain in zip(results(True), results(False), strict=True):
        assert own.dtype == plain.dtype
        torch.testing.assert_close(own, plain, rtol=1e-2, atol=1e-2)


def test_long_rows_other_precisions_and_inference_call_the_plain_module() -> None:
    conv, short = Conv2d(2, 2, 3, stride=2, padding=1, bias=False), torch.zeros(1, 2, 4, 4)
    assert stride_2_convolution(conv, short) is None
    assert stride_2_convolution(conv, short.bfloat16()) is not None
    assert stride_2_convolution(conv, torch.zeros(1, 2, 4, 2 * SHORT_ROW + 1).bfloat16()) is None
    with torch.no_grad():
        assert stride_2_convolution(conv, short.bfloat16()) is None
