"""Example after example by PyTorch's ordinary backward pass: slow, and right for whatever can be trained at all.

It is the last resort, and the reference that the other engines have to agree with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from l2rw_core.engines.identity import inner_product
from l2rw_core.engines.passes import (
    Batch,
    Passes,
    Tensors,
    random_state,
    restore,
    uncompiled,
)


def derivative(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    """Losses (n,) with their graph, slopes ``< grad f_i, v >`` (n,) without one, and what the buffers become.

    One forward pass and n backward passes over its graph. A function that can be differentiated only once gets a
    forward pass for each example, with the same random numbers.
    """
    state = random_state(passes.device)
    with uncompiled():
        losses, buffers = passes.training(passes.parameters, batch)
        try:
            slopes = [inner_product(passes.gradient(loss, retain_graph=True), v) for loss in losses]
        except RuntimeError:
            slopes = [_alone(passes, batch, v, i, state) for i in range(len(losses))]
            restore(state)
            losses, buffers = passes.training(passes.parameters, batch)
    return losses, torch.stack(slopes).to(losses.dtype), buffers


def _alone(passes: Passes, batch: Batch, v: Tensors, i: int, state: list) -> Tensor:
    restore(state)
    losses, _ = passes.training(passes.parameters, batch)
    return inner_product(passes.gradient(losses[i]), v)
