"""Weights that come from the clean set, and their control with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from l2rw_core.methods.base import Method, Update
from l2rw_core.reweight import Reweighter, to_weights


@dataclass
class L2rw(Method):
    """Learning to reweight: weights from the agreement with the clean gradient, equations (7) to (9)."""

    uses_clean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.reweighter = Reweighter(self.model, self.optimizer, self.loss_fn)

    def step(self, batch: tuple[Tensor, Tensor], clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        result = self.reweighter.step(batch, clean_batch)
        return Update(result.losses, result.weights)


class Random(Method):
    """Rectified Gaussian weights, drawn anew each step, equation (16): the control that knows nothing."""

    def weights(self, losses: Tensor, labels: Tensor, step: int) -> Tensor:
        return to_weights(torch.randn_like(losses))
