"""How many digits the numbers of a pass have: what sums of them may differ by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from l2rw_core.engines.passes import Batch, Passes, RandomState, random_state, restore, uncompiled


def declared(passes: Passes) -> torch.dtype:
    """The coarsest type of the parameters, and of autocast where it is on."""
    kind = passes.device.type
    of_parameters = [p.dtype for p in passes.parameters.values()]
    return _coarsest([*of_parameters, *([torch.get_autocast_dtype(kind)] * torch.is_autocast_enabled(kind))])


def lowest(passes: Passes, batch: Batch, state: RandomState) -> torch.dtype:
    """The coarsest type of all that a training pass computes with: a model may hold autocast, or casts, within itself.

    It takes a pass of its own, which draws the random numbers that follow `state`.
    """
    if declared(passes) == torch.float32 and passes.device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        return torch.float16  # TensorFloat-32 has as many digits
    after, precisions = random_state(passes.device), _Precisions()
    restore(state)
    with precisions, uncompiled():
        passes.training(passes.parameters, batch)
    restore(after)
    return _coarsest([declared(passes), *precisions.dtypes])


def _coarsest(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    real = [dtype.to_real() for dtype in dtypes if dtype.is_floating_point or dtype.is_complex]
    return max(real, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)


class _Precisions(TorchDispatchMode):
    """Collects the types of the numbers that are computed while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.dtypes |= {t.dtype for t in tree_leaves(out) if isinstance(t, Tensor)}
        return out
