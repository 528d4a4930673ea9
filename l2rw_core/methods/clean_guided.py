"""Weights that come from the clean set, training on nothing else, and the control with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from l2rw_core.methods.base import Method, Minibatch, Update
from l2rw_core.reweight import Reweighter
from l2rw_core.weights import to_weights


@dataclass
class L2rw(Method):
    """Learning to reweight: weights from the agreement with the clean gradient, equations (7) to (9)."""

    uses_clean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.reweighter = Reweighter(self.model, self.optimizer, self.loss_fn)
        self.reweighter.health = None  # what happens in an experiment is on its record

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        result = self.reweighter.step((batch.x, batch.y), clean_batch)
        return Update(result.losses, result.weights, result.alignment)


class CleanOnly(Method):
    """Ordinary training on the clean set alone, the biased set unused (Section 4.2); also the stage "+FT"."""

    uses_clean: ClassVar[bool] = True

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        x, y = clean_batch
        losses = self.loss_fn(self.model(x), y)
        self.descend(losses, torch.full_like(losses, 1 / len(losses)))
        return Update(losses.detach(), None)


class Random(Method):
    """Rectified Gaussian weights, drawn anew each step, equation (16): the control that knows nothing."""

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        return to_weights(torch.randn_like(losses))
