"""Linear map, BatchNorm, GELU and linear map as one step, which keeps for the way back nothing but its input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from atgnn.nn.linear import linear, weight_gradient


def norm_gelu(x: Tensor, norm: nn.Module, layer: nn.Module | None = None, before: nn.Module | None = None) -> Tensor:
    """Layer(GELU(norm(before(x)))): the same numbers and gradients, for less memory in training.

    Autograd keeps what goes into each of the four, two to four times as wide as x in a feed-forward part; here only x
    is kept, and the rest computed again on the way back. Statistics are those of :class:`torch.nn.BatchNorm1d`. In
    evaluation, under autocast, in a compiled graph, and with another norm (such as SyncBatchNorm) the modules do it.

    Args:
        x: nodes.
        norm: BatchNorm1d.
        layer: linear map behind GELU, if it is to be part of the step.
        before: linear map in front of the norm, if it is to be part of the step.

    Shape:
        x: (N, C).
        returns: (N, D).
    """
    if not (isinstance(norm, nn.BatchNorm1d) and _trains(x, norm)):
        bent = F.gelu(norm(x if before is None else before(x)))
        return bent if layer is None else layer(bent)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    maps = [
        None if part is None else part.get_parameter(name) for part in (before, layer) for name in ("weight", "bias")
    ]
    result: Tensor = _Lean.apply(x, norm.weight, norm.bias, *maps, norm)
    return result


def _trains(x: Tensor, norm: nn.BatchNorm1d) -> bool:
    plain = not torch.compiler.is_compiling() and not torch.is_autocast_enabled(x.device.type)
    usual = type(norm) is nn.BatchNorm1d and norm.affine and norm.track_running_stats and norm.momentum is not None
    return usual and plain and norm.training and torch.is_grad_enabled()


class _Lean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, *rest: Any) -> Tensor:
        weight_before, bias_before, weight, bias, norm = rest
        wide = x if weight_before is None else linear(x, weight_before, bias_before)
        normed, mean, invstd = torch.native_batch_norm(
            wide, scale, shift, norm.running_mean, norm.running_var, True, norm.momentum, norm.eps
        )
        ctx.save_for_backward(x, scale, shift, weight_before, bias_before, weight, mean, invstd)
        ctx.eps = norm.eps
        bent = F.gelu(normed)
        return bent if weight is None else linear(bent, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, weight_before, bias_before, weight, mean, invstd = ctx.saved_tensors
        wide = x if weight_before is None else linear(x, weight_before, bias_before)
        normed = torch.addcmul(shift - mean * invstd * scale, wide, invstd * scale)
        of_maps: list[Tensor | None] = [None] * 4
        if weight is not None:
            of_maps[2:] = weight_gradient(F.gelu(normed), grad), grad.sum(0)
            grad = linear(grad, weight.t())
        grad = torch.ops.aten.gelu_backward(grad, normed)
        grad, of_scale, of_shift = torch.ops.aten.native_batch_norm_backward(
            grad, wide, scale, None, None, mean, invstd, True, ctx.eps, [True, True, True]
        )
        if weight_before is not None:
            of_maps[:2] = weight_gradient(x, grad), grad.sum(0)
            grad = linear(grad, weight_before.t())
        return grad, of_scale, of_shift, *of_maps, None
