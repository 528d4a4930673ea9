"""Who gets the weight during training: sums kept on the training device, read at every evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Any

import torch
from torch import Tensor

EDGES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Bins of n w_i / sum of w, the weight in units of an equal share: exactly 0, up to each further edge, more."""

WINDOWS = {"midway": (0.4, 0.5), "late": (0.9, 1.0)}
"""Parts of training from which histograms of weights are kept."""

Steps = tuple[int, int]
"""From the first of these steps up to, and without, the second."""


def windows(total_steps: int) -> dict[str, Steps]:
    """`WINDOWS` in steps of a training of this length."""
    return {name: (ceil(first * total_steps), ceil(last * total_steps)) for name, (first, last) in WINDOWS.items()}


class WeightMeter:
    """Averages over the steps since it was last read, and histograms over two parts of training.

    Args:
        labels: (N,) given labels of the training set.
        flipped: (N,) bool, which of them are wrong.
        num_classes: K.
        total_steps: length of training, fine-tuning not included.
        other_lengths: of runs that begin as this one does and will go on from its state.
    """

    def __init__(
        self, labels: Tensor, flipped: Tensor, num_classes: int, total_steps: int, other_lengths: Iterable[int] = ()
    ) -> None:
        self.labels, self.flipped, self.windows = labels, flipped, windows(total_steps)
        self.kept = sorted({steps for length in (total_steps, *other_lengths) for steps in windows(length).values()})
        self.by_class = torch.zeros(num_classes, dtype=torch.float64, device=labels.device)
        self.sums = torch.zeros(4, dtype=torch.float64, device=labels.device)  # steps, effective, idle, on flipped
        self.counts = torch.zeros(len(self.kept), 2, len(EDGES) + 1, dtype=torch.int64, device=labels.device)

    def add(self, chosen: Tensor, weights: Tensor | None, step: int) -> None:
        """Count the (n,) weights of the batch at positions `chosen`; None if the batch was not used."""
        if weights is None:
            return
        chosen, weights = chosen.to(self.labels.device), weights.double()
        weights = weights / (weights.sum() + (weights.sum() == 0))  # shares: not every method's weights sum to 1
        squares = weights.square().sum()
        idle = (squares == 0).double()
        wrong = self.flipped[chosen]
        self.sums += torch.stack([torch.ones_like(squares), (1 - idle) / (squares + idle), idle, weights[wrong].sum()])
        self.by_class.index_add_(0, self.labels[chosen], weights)
        for number, (first, last) in enumerate(self.kept):
            if first <= step < last:
                self.counts[number] += by_weight(weights, wrong)

    def read(self) -> dict[str, Any]:
        """Averages since the last reading, for a curve; empty if nothing was counted. Starts anew."""
        steps, effective, idle, on_flipped = self.sums.tolist()
        if steps == 0:
            return {}
        values = {
            "effective_examples": round(effective / steps, 3),
            "idle_steps": round(idle / steps, 4),
            "weight_by_class": [round(share / steps, 4) for share in self.by_class.tolist()],
            "weight_on_flipped": round(on_flipped / steps, 4),
        }
        self.sums.zero_()
        self.by_class.zero_()
        return values

    def histograms(self) -> dict[str, Any] | None:
        """For each part of training, examples with right and with wrong labels by weight; None if none were counted."""
        parts = {name: self.counts[self.kept.index(steps)] for name, steps in self.windows.items()}
        if not any(part.any() for part in parts.values()):
            return None
        return {"edges": list(EDGES)} | {name: right_and_wrong(part) for name, part in parts.items()}

    def state_dict(self) -> dict[str, Any]:
        windows = [list(steps) for steps in self.kept]
        return {"by_class": self.by_class, "sums": self.sums, "counts": self.counts, "kept": windows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; LookupError if the histograms that are wanted here were not kept there."""
        windows = [(first, last) for first, last in state["kept"]]
        if absent := set(self.windows.values()) - set(windows):
            raise LookupError(f"no histogram of the steps {sorted(absent)}")
        self.by_class, self.sums, self.counts, self.kept = state["by_class"], state["sums"], state["counts"], windows


def by_weight(weights: Tensor, wrong: Tensor) -> Tensor:
    """(2, bins) int64: examples with right (row 0) and with wrong labels, by their (n,) shares of a batch's weight."""
    bins = torch.bucketize((len(weights) * weights).float(), torch.tensor(EDGES, device=weights.device))
    cells = wrong.long() * (len(EDGES) + 1) + bins
    return torch.bincount(cells, minlength=2 * (len(EDGES) + 1)).view(2, -1)


def right_and_wrong(counts: Tensor) -> dict[str, list[int]]:
    """`by_weight` for a record."""
    return dict(zip(("right", "wrong"), counts.tolist(), strict=True))
