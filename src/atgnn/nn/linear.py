"""Linear maps of nodes, on a CPU by oneDNN's product instead of BLAS's."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """Map nodes as :func:`torch.nn.functional.linear` does, x · weightᵀ + bias; faster for fp32 on many CPUs.

    PyTorch multiplies fp32 matrices with MKL, which has no 512-bit code for processors that are not Intel's; oneDNN,
    which PyTorch has too, has it for all (measured: 2.3 times as fast). Other devices, types and autocast, and
    compiled or exported graphs, take PyTorch's own way.

    Args:
        x: nodes.
        weight: of the map.
        bias: of the map.
        gelu: bend the result by GELU, in one go where no gradient is asked for.

    Shape:
        x: (N, C).
        weight: (D, C).
        bias: (D,).
        returns: (N, D).
    """
    if not by_onednn(x):
        result = F.linear(x, weight, bias)
        return F.gelu(result) if gelu else result
    if torch.is_grad_enabled():
        result = _Linear.apply(x, weight, bias)
        return F.gelu(result) if gelu else result
    return _product(x, weight, bias, gelu)


def by_onednn(x: Tensor) -> bool:
    """Whether :func:`linear` multiplies this matrix by oneDNN."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > 0
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )


def weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Product gradᵀ · x (D, C), of x (N, C) and the gradient (N, D) of what was made of it."""
    # oneDNN is faster where the result is wide rather than high.
    return linear(grad.t(), x.t()) if x.size(1) >= grad.size(1) else linear(x.t(), grad.t()).t()


class Linear(nn.Linear):
    """:class:`torch.nn.Linear` by way of :func:`linear`; with ``gelu`` set, GELU is part of it.

    Shape:
        x: (N, C).
        returns: (N, D).
    """

    gelu = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C) to (N, D)."""
        return linear(x, self.weight, self.bias, self.gelu)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    # GELU's algorithm "none" is the exact one.
    then: tuple[str, str] = ("gelu", "none") if gelu else ("none", "")
    result: Tensor = torch.ops.mkldnn._linear_pointwise(_whole(x), _whole(weight), bias, then[0], [], then[1])
    return result


def _whole(matrix: Tensor) -> Tensor:
    """A matrix without gaps between rows or columns: with gaps, oneDNN falls back to code a thousand times slower."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        grad_weight = weight_gradient(x, grad) if of_weight else None
        return linear(grad, weight.t()) if of_x else None, grad_weight, grad.sum(0) if of_bias else None
