"""Weights that are a function of the loss alone: the two opposite cures of Section 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from l2rw_core.datasets import BatchStream
from l2rw_core.methods.base import Method


class HardMining(Method):
    """All examples of the rarest class and as many of the others, those with the highest loss (Section 4.1).

    Batches are five times as large as those of other methods, so that there is something to choose from; the chosen
    examples weigh the same, the rest nothing.
    """

    larger: ClassVar[int] = 5

    @classmethod
    def batches(cls, labels: Tensor, batch_size: int, seed: int) -> BatchStream:
        return BatchStream(len(labels), min(len(labels), cls.larger * batch_size), seed)

    def weights(self, losses: Tensor, labels: Tensor, step: int) -> Tensor:
        rare = labels == int(self.class_counts.argmin())
        keep = rare.clone()
        wanted = min(max(int(rare.sum()), 1), int((~rare).sum()))
        keep[losses.masked_fill(rare, -torch.inf).topk(wanted).indices] = True
        return keep.to(losses) / keep.sum()


@dataclass
class SelfPaced(Method):
    """Only the easiest share of each batch counts; the share grows linearly to all of it (Kumar et al., 2010).

    The published rule admits losses under a threshold that grows; a growing share of the batch is the same curriculum
    without a scale to tune.
    """

    first_share: ClassVar[float] = 0.5

    def weights(self, losses: Tensor, labels: Tensor, step: int) -> Tensor:
        share = self.first_share + (1 - self.first_share) * step / max(self.total_steps - 1, 1)
        kept = max(1, round(share * len(losses)))
        w = torch.zeros_like(losses)
        w[losses.topk(kept, largest=False).indices] = 1 / kept
        return w
