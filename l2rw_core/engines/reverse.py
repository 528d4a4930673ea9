"""A backward pass, differentiated once more: for operators that have no forward-mode rule."""

from __future__ import annotations

import torch
from torch import Tensor

from l2rw_core.engines.identity import agree, inner_product
from l2rw_core.engines.passes import (
    Batch,
    Passes,
    Tensors,
    Unfollowed,
    is_unread,
    plain_operators,
    random_state,
)
from l2rw_core.engines.precision import declared, lowest


def derivative(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    """Losses (n,) with their graph, slopes ``< grad f_i, v >`` (n,) without one, and what the buffers become.

    ``g(s) = sum_i s_i grad f_i`` is linear in s, so that the derivative of ``< g(s), v >`` by s_i is the slope of f_i,
    and at s = 1 the slopes add up to ``< g, v >``.

    Raises:
        Unfollowed: if they do not, because a part of the backward pass has no derivative and does not say so.
    """
    state = random_state(passes.device)
    with plain_operators():
        losses, buffers = passes.training(passes.parameters, batch)
        s = torch.ones_like(losses, requires_grad=True)
        inner = inner_product(passes.gradient((s * losses).sum(), create_graph=True), v)
        u = torch.zeros_like(losses)
        if inner.requires_grad:
            (u,) = torch.autograd.grad(inner, s, materialize_grads=True)
        passes.put_buffers_back()
    u = u.detach()
    sums = u.sum(), inner.detach(), u.abs().sum()
    if not is_unread() and not (agree(*sums, declared(passes)) or agree(*sums, lowest(passes, batch, state))):
        raise Unfollowed("a part of the backward pass has no derivative, as that of a custom autograd.Function may")
    return losses, u, buffers
