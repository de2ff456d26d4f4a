"""Products by oneDNN are those of PyTorch, gradients too, and are taken where they should be."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from atgnn.nn.linear import Linear, by_onednn, linear

SIZES = [(1, 1, 1), (50, 24, 40), (300, 80, 320), (300, 320, 80)]


@pytest.mark.parametrize(("nodes", "width", "out"), SIZES)
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_pytorch(nodes: int, width: int, out: int, bias: bool) -> None:
    x = torch.randn(nodes, width, requires_grad=True)
    layer = Linear(width, out, bias=bias)
    assert by_onednn(x), "on a CPU in fp32"
    weight = torch.randn(nodes, out)
    parameters = [x, *layer.parameters()]
    ours, theirs = layer(x), F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for a, b in zip(
        torch.autograd.grad(ours, parameters, weight), torch.autograd.grad(theirs, parameters, weight), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_columns_of_a_matrix() -> None:
    x, weight, bias = torch.randn(30, 12), torch.randn(5, 8), torch.randn(5)
    torch.testing.assert_close(linear(x[:, 3:11], weight, bias), F.linear(x[:, 3:11], weight, bias))


@pytest.mark.parametrize("gradient", [True, False])
def test_gelu_in_one_go_is_the_exact_one(gradient: bool) -> None:
    x, weight, bias = 3 * torch.randn(64, 16), torch.randn(32, 16), torch.randn(32)
    with torch.set_grad_enabled(gradient):
        torch.testing.assert_close(linear(x, weight, bias, gelu=True), F.gelu(F.linear(x, weight, bias)))


def test_a_gradient_has_a_gradient() -> None:
    x, weight = torch.randn(4, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)

    def curvature(function):
        (first,) = torch.autograd.grad(function(x, weight).square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), (x, weight))

    for a, b in zip(curvature(linear), curvature(F.linear), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_other_types_and_autocast_take_pytorchs_way() -> None:
    x, weight = torch.randn(6, 4), torch.randn(5, 4)
    assert not by_onednn(x.double())
    assert not by_onednn(x[:0])
    assert linear(x[:0], weight).shape == (0, 5)
    torch.testing.assert_close(linear(x.double(), weight.double()), x.double() @ weight.double().T)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not by_onednn(x)
        assert linear(x, weight).dtype == torch.bfloat16
