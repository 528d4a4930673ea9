"""How an engine's result is checked: weighted slopes add up to one inner product of gradients.

Slopes ``u_i = < grad f_i, v >`` are linear in the losses. So for any weights r, with g the gradient of
``sum_i r_i f_i`` by an ordinary backward pass, ::

    sum_i r_i u_i  =  < g, v >

holds whatever the model is. The left side comes from an engine, which has an idea of the model; the right one from
PyTorch's backward pass, which a training step makes anyway. What the idea misses, a hook, a scripted function, a graph
that was dropped, an overflow, tells the two sides apart. Equal weights would hide a slope that was given to the wrong
example, so r has to be uneven.
"""

from __future__ import annotations

import torch
from torch import Tensor

from l2rw_core.engines.passes import Tensors


def inner_product(g: Tensors, v: Tensors) -> Tensor:
    """() real inner product of the parameters that `g` has, in at least single precision; 0 if it has none."""
    parts = [_dot(*_aligned(g[name], v[name])) for name in g]
    if parts:
        return torch.stack([part.to(parts[0].device) for part in parts]).sum()
    return next(iter(v.values())).new_zeros((), dtype=torch.float32)


def size(g: Tensors, v: Tensors) -> Tensor:
    """() sum of the absolute values of the terms of `inner_product`: the measure of its rounding."""
    return torch.stack([(a * b).abs().sum().float() for a, b in (_aligned(g[name], v[name]) for name in g)]).sum()


def _aligned(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.is_sparse:
        a = a.coalesce()
        a, b = a.values(), b[tuple(a.indices())]
    single = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return a.to(single), b.to(single)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.vdot(a.flatten(), b.flatten()).real if a.is_complex() else torch.dot(a.flatten(), b.flatten())


def uneven(n: int, seed: int) -> Tensor:
    """(n,) random positive weights, no two alike, on the CPU; they take nothing from anybody's random numbers."""
    return 0.5 + torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tolerance(dtype: torch.dtype) -> float:
    """What two sums may differ by, relative to the sizes of their terms, if `dtype` was at work on the way to them."""
    return torch.finfo(dtype).eps ** 0.5


def agree(left: Tensor, right: Tensor, terms: Tensor, dtype: torch.dtype) -> bool:
    """Whether two sums are equal up to the rounding of `dtype`; `terms` is the sum of the absolute values of either."""
    off = (left.double() - right.double()).abs()
    return bool(off.isfinite() and off <= tolerance(dtype) * torch.maximum(terms, right.abs()).double())
