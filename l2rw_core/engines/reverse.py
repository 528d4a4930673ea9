"""A backward pass, differentiated once more: for operators that have no forward-mode rule."""

from __future__ import annotations

import torch
from torch import Tensor

from l2rw_core.engines.passes import Batch, CleanGradient, Passes, Scores, Tensors, plain_operators


def scores(passes: Passes, batch: Batch, clean_batch: Batch | CleanGradient, step_size: float = 1.0) -> Scores:
    """Clean forward and backward pass, then `derivative` along the clean gradient; `step_size` has no part in it."""
    clean = passes.clean_gradient(clean_batch)
    losses, u, buffers = derivative(passes, batch, clean.gradient)
    return Scores(losses, u, clean.loss, buffers, "reverse")


def derivative(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    """Losses (n,) with their graph, slopes ``< grad f_i, v >`` (n,) without one, and what the buffers become.

    ``g(s) = sum_i s_i grad f_i`` is linear in s, so that the derivative of ``< g(s), v >`` by s_i is the slope of f_i.
    """
    with plain_operators():
        losses, buffers = passes.training(passes.parameters, batch)
        s = torch.zeros_like(losses, requires_grad=True)
        g = passes.gradient(losses, grad_outputs=s, create_graph=True)
        inner = sum(((g[name] * v[name]).sum() for name in g), start=torch.zeros_like(s[0]))
        (u,) = torch.autograd.grad(inner, s)
    return losses, u.detach(), buffers
