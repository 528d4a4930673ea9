"""Who gets the weight during training: sums kept on the training device, read at every evaluation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EDGES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Bins of n w_i / sum of w, the weight in units of an equal share: exactly 0, up to each further edge, more."""

WINDOWS = {"midway": (0.4, 0.5), "late": (0.9, 1.0)}
"""Parts of training from which histograms of weights are kept."""


class WeightMeter:
    """Averages over the steps since it was last read, and histograms over two parts of training.

    Args:
        labels: (N,) given labels of the training set.
        flipped: (N,) bool, which of them are wrong.
        num_classes: K.
        total_steps: length of training, fine-tuning not included.
    """

    def __init__(self, labels: Tensor, flipped: Tensor, num_classes: int, total_steps: int) -> None:
        self.labels, self.flipped, self.total_steps = labels, flipped, total_steps
        self.by_class = torch.zeros(num_classes, dtype=torch.float64, device=labels.device)
        self.sums = torch.zeros(4, dtype=torch.float64, device=labels.device)  # steps, effective, idle, on flipped
        self.counts = torch.zeros(len(WINDOWS), 2, len(EDGES) + 1, dtype=torch.int64, device=labels.device)
        self.edges = torch.tensor(EDGES, device=labels.device)

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
        for number, (first, last) in enumerate(WINDOWS.values()):
            if first * self.total_steps <= step < last * self.total_steps:
                bins = torch.bucketize((len(weights) * weights).float(), self.edges)
                cells = wrong.long() * (len(EDGES) + 1) + bins
                self.counts[number] += torch.bincount(cells, minlength=2 * (len(EDGES) + 1)).view(2, -1)

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
        if not self.counts.any():
            return None
        parts = zip(WINDOWS, self.counts.tolist(), strict=True)
        return {"edges": list(EDGES)} | {name: {"right": part[0], "wrong": part[1]} for name, part in parts}

    def state_dict(self) -> dict[str, Tensor]:
        return {"by_class": self.by_class, "sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.by_class, self.sums, self.counts = state["by_class"], state["sums"], state["counts"]
