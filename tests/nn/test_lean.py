"""The lean step is BatchNorm, GELU and a linear map: values, gradients, statistics; and it keeps only its input."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atgnn.nn import lean
from atgnn.nn.lean import norm_gelu


def modules(layer: bool) -> tuple[nn.BatchNorm1d, nn.Linear | None]:
    norm = nn.BatchNorm1d(6)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.bias)
    return norm, nn.Linear(6, 4) if layer else None


def plain(x: Tensor, norm: nn.Module, layer: nn.Module | None) -> Tensor:
    bent = F.gelu(norm(x))
    return bent if layer is None else layer(bent)


@pytest.mark.parametrize("layer", [True, False])
@pytest.mark.parametrize("steps", [1, 3])
def test_values_gradients_and_statistics_are_those_of_the_modules(layer: bool, steps: int) -> None:
    ours = modules(layer)
    theirs = copy.deepcopy(ours)
    for _ in range(steps):
        x = (2 * torch.randn(50, 6) + 1).requires_grad_()
        out, expected = norm_gelu(x, *ours), plain(x, *theirs)
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
        weight = torch.randn_like(out)
        parameters = [
            [x, *module[0].parameters(), *(module[1].parameters() if layer else ())] for module in (ours, theirs)
        ]
        found = torch.autograd.grad(out, parameters[0], weight)
        for a, b in zip(found, torch.autograd.grad(expected, parameters[1], weight), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    for name, value in ours[0].state_dict().items():
        torch.testing.assert_close(value, theirs[0].state_dict()[name])


def test_it_keeps_its_input_and_little_else() -> None:
    norm, layer = modules(layer=True)
    x, sizes = torch.randn(1000, 6, requires_grad=True), []

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        norm_gelu(x, norm, layer)
    assert [size for size in sizes if size > 100] == [6000]
    sizes.clear()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        norm_gelu(torch.randn(1000, 2, requires_grad=True), norm, layer, nn.Linear(2, 6))
    assert [size for size in sizes if size > 100] == [2000]


def test_with_a_map_before() -> None:
    norm, layer = modules(layer=True)
    before, x = nn.Linear(3, 6), torch.randn(40, 3, requires_grad=True)
    parameters = [x, *before.parameters(), *norm.parameters(), *layer.parameters()]
    out, expected = norm_gelu(x, norm, layer, before), plain(before(x), copy.deepcopy(norm), layer)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    weight, others = torch.randn_like(out), [*before.parameters(), *layer.parameters()]
    found = dict(zip(map(id, parameters), torch.autograd.grad(out, parameters, weight), strict=True))
    for parameter, gradient in zip([x, *others], torch.autograd.grad(expected, [x, *others], weight), strict=True):
        torch.testing.assert_close(found[id(parameter)], gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", ["evaluation", "no gradient", "autocast", "another norm"])
def test_elsewhere_the_modules_do_it(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "_Lean", None)
    norm, layer = modules(layer=True)
    if case == "another norm":
        norm = nn.LayerNorm(6)
    norm.train(case != "evaluation")
    x = torch.randn(9, 6)
    with torch.set_grad_enabled(case != "no gradient"), torch.autocast("cpu", torch.bfloat16, case == "autocast"):
        again = copy.deepcopy(norm)
        torch.testing.assert_close(norm_gelu(x, norm, layer), plain(x, again, layer))
