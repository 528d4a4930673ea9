"""Losses that wrong labels pull at less, or that remember what the network thought of a label early on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from l2rw_core.methods.base import Method, Minibatch, Update
from l2rw_core.methods.by_label import log_probabilities


class GeneralisedCrossEntropy(Method):
    """``(1 - p^q) / q`` with p the probability of the given label (Zhang and Sabuncu, 2018).

    Cross-entropy for q towards 0, the mean absolute error for q = 1. Its gradient is that of cross-entropy times p^q,
    so a label that the network holds for unlikely pulls little.
    """

    q: ClassVar[float] = 0.7

    def objective(self, outputs: Tensor, y: Tensor) -> Tensor:
        return -torch.expm1(-self.q * self.loss_fn(outputs, y)) / self.q


class SymmetricCrossEntropy(Method):
    """``alpha CE(y, p) + beta CE(p, y)`` (Wang et al., 2019), with log 0 in the second taken for -4.

    The second part is ``4 (1 - p)``, which is bounded. The values are the paper's for CIFAR-10.
    """

    alpha: ClassVar[float] = 0.1
    beta: ClassVar[float] = 1.0
    log_zero: ClassVar[float] = -4.0

    def objective(self, outputs: Tensor, y: Tensor) -> Tensor:
        f = self.loss_fn(outputs, y)
        return self.alpha * f + self.beta * self.log_zero * torch.expm1(-f)


class LabelSmoothing(Method):
    """A tenth of each target is spread evenly over all classes (Szegedy et al., 2016).

    What it does for wrong labels is the subject of Lukasik et al. (2020).
    """

    smoothing: ClassVar[float] = 0.1

    def objective(self, outputs: Tensor, y: Tensor) -> Tensor:
        spread = -log_probabilities(outputs).mean(1)
        return (1 - self.smoothing) * self.loss_fn(outputs, y) + self.smoothing * spread


@dataclass
class EarlyLearning(Method):
    """Early-learning regularisation, ELR (Liu et al., 2020): ``CE + strength log(1 - <p, t>)``.

    Each example has a target t, the moving average of the probabilities p that it got at its visits; no gradient flows
    through t. Where the network once thought otherwise than the given label, the second part holds it there. The values
    are the paper's for CIFAR-10.
    """

    strength: ClassVar[float] = 3.0
    memory: ClassVar[float] = 0.7
    least: ClassVar[float] = 1e-4

    def __post_init__(self) -> None:
        like = next(self.model.parameters())
        self.targets = torch.zeros(len(self.task.labels), self.task.num_classes, device=like.device, dtype=like.dtype)

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        if batch.positions is None:
            raise ValueError("elr remembers every example: give the batch the positions of its examples")
        at = batch.positions.to(self.targets.device)
        outputs = self.model(batch.x)
        p = log_probabilities(outputs).exp().clamp(self.least, 1 - self.least)
        shares = p.detach() / p.detach().sum(1, keepdim=True)
        self.targets[at] = (self.memory * self.targets[at] + (1 - self.memory) * shares).to(self.targets.dtype)
        losses = self.loss_fn(outputs, batch.y) + self.strength * torch.log1p(-(p * self.targets[at]).sum(1))
        weights = torch.full_like(losses, 1 / len(losses)).detach()
        self.descend(losses, weights)
        return Update(losses.detach(), weights)

    def state_dict(self) -> dict[str, Any]:
        return {"targets": self.targets}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.targets = state["targets"]
