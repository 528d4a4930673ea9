"""From alignments to weights, equations (8) and (9), and what a step says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def to_weights(u: Tensor) -> Tensor:
    """Weights of a batch from its alignments: negative ones are cut off, the rest is scaled to sum to 1.

    Args:
        u: (n,) alignments.

    Returns:
        (n,) detached weights, at least 0, that sum to 1; all 0 if no alignment is positive.

    Raises:
        ValueError: if `u` is empty, not one-dimensional, or not finite.

    Source: equations (8) and (9).
    """
    return scaled(positive_part(u))


def positive_part(u: Tensor, checked: bool = True) -> Tensor:
    """``max(u, 0)``, (n,) and detached: the weights before they are scaled, equation (8).

    Errors as in `to_weights`; unless `checked`, no value is looked at, and what is not finite passes.
    """
    if u.ndim != 1 or len(u) == 0:
        raise ValueError(f"alignments must have shape (n,) with n > 0, got {tuple(u.shape)}")
    positive = u.detach().clamp(min=0)
    if checked and not (positive.sum().isfinite() and u.isfinite().all()):
        raise ValueError(
            "the alignments are NaN or infinite: a gradient overflowed, or has no finite value at this point; "
            "lower the learning rate, or keep away from where the loss has no slope, such as the root of 0"
        )
    return positive


def scaled(positive: Tensor, total: Tensor | None = None) -> Tensor:
    """(n,) weights that sum to 1, or are all 0: what is positive over its sum, equation (9).

    Args:
        positive: (n,) at least 0.
        total: () sum over the whole batch, where `positive` is a share of it; by default the sum of `positive`.
    """
    total = positive.sum() if total is None else total
    return (positive / (total + (total == 0))).to(positive.dtype)


@dataclass(frozen=True)
class Step:
    """What one reweighted step saw; every tensor is detached."""

    loss: Tensor
    """() weighted training loss, sum of w_i f_i."""
    weights: Tensor
    """(n,) weights w_i: they sum to 1, or are all 0."""
    alignment: Tensor
    """(n,) alignments u_i."""
    losses: Tensor
    """(n,) training losses f_i before the update."""
    clean_loss: Tensor
    """() mean loss of the clean batch before the update."""
    ids: Tensor | None = None
    """(n,) ids of the examples, as they were given; None if none were."""
    engine: str | None = None
    """Which engine computed the alignments, see ``l2rw_core.scoring``."""

    @property
    def examples(self) -> int:
        """How many examples share the weight of 1: n."""
        return len(self.weights)

    @property
    def effective_examples(self) -> float:
        """1 / sum of w_i squared: n for equal weights, 1 if one example has all the weight, 0 if none has any."""
        squares = float(self.weights.square().sum())
        return 1 / squares if squares > 0 else 0.0


def as_ids(ids: Any, n: int) -> Tensor:
    """Ids of a batch of n as a tensor; ValueError if they are not n, TypeError if they are no numbers."""
    try:
        ids = torch.as_tensor(ids).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"ids must be integers: give positions in the training set, not keys ({error})") from error
    if ids.shape != (n,):
        raise ValueError(f"ids must have shape ({n},), one for each example of the batch, got {tuple(ids.shape)}")
    return ids
