"""PyTorch's own dual numbers for the slopes, in a pass of their own, and then the ordinary training pass.

They see into every function, also where the engine ``forward`` cannot follow. Since the parameters are detached, the
first pass records no graph, so that no memory is taken beyond that of plain training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from l2rw_core.engines.dual import LEVEL, check_not_recomputed, nothing_recomputed, reaches
from l2rw_core.engines.passes import (
    Batch,
    Passes,
    Tensors,
    Untracked,
    check_unhooked,
    plain_operators,
    random_state,
    restore,
)


def derivative(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    """Losses (n,) with their graph, slopes ``< grad f_i, v >`` (n,) without one, and what the buffers become.

    Raises:
        Unfollowed: if a hook is at work, or activation checkpointing, or a parameter is reached around the model.
        NotImplementedError: if an operator has no forward-mode rule.
    """
    check_unhooked(passes.model)
    state = random_state(passes.device)
    with nothing_recomputed(), plain_operators(), LEVEL, forward_ad.dual_level(), _BesideDuals():
        duals = {name: forward_ad.make_dual(p.detach(), v[name]) for name, p in passes.parameters.items()}
        dual_losses, _ = passes.training(duals, batch, attached=False)
        primal, u = forward_ad.unpack_dual(dual_losses)
    if reaches(primal, frozenset(map(id, passes.parameters.values()))):  # what went through the model is detached
        raise Untracked("a parameter is reached around the model, as by a penalty in the loss")
    restore(state)  # both passes draw the same dropout masks
    with plain_operators(), _Unhooked():
        losses, buffers = passes.training(passes.parameters, batch)
    return losses, torch.zeros_like(losses) if u is None else u.detach(), buffers


class _BesideDuals(TorchFunctionMode):
    """What PyTorch's dual tensors need beside them. While it is on, a Transformer does not take its fused fast path."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        check_not_recomputed()
        kwargs = kwargs or {}
        if not torch.is_grad_enabled():  # what is made without a gradient is a constant; dual tensors know no no_grad
            args, kwargs = tree_map_only(Tensor, _without_tangent, (args, kwargs))
        out = func(*args, **kwargs)
        return self._embedding(out, *args, **kwargs) if func is F.embedding else out

    def _embedding(
        self, out: Tensor, input: Tensor, weight: Tensor, padding_idx: int | None = None, *rest: Any, **options: Any
    ) -> Tensor:
        """The row of the padding is not trained. PyTorch's forward mode gives it the slope of its weight."""
        primal, tangent = forward_ad.unpack_dual(out)
        if padding_idx is None or tangent is None:
            return out
        padding = (input == padding_idx % len(weight)).unsqueeze(-1)
        return forward_ad.make_dual(primal, tangent.masked_fill(padding, 0))


def _without_tangent(value: Tensor) -> Tensor:
    primal, tangent = forward_ad.unpack_dual(value)
    return value if tangent is None else primal


class _Unhooked(TorchFunctionMode):
    """Untracked where the model hangs a hook on a tensor: it may change a gradient, and the slopes have not seen it."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is Tensor.register_hook:
            raise Untracked("a hook on a tensor may change its gradient, which forward mode does not see")
        return func(*args, **(kwargs or {}))
