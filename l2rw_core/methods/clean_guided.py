"""Weights that come from the clean set, training on nothing else, and the control with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

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


class L2rwUnskipped(L2rw):
    """L2RW as the released code has it where no example agrees: the optimizer takes its step all the same.

    The gradient is zero then, so momentum and weight decay move the parameters. The package skips such a step.
    """

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        update = super().step(batch, clean_batch, step)
        if update.weights is not None and not update.weights.any():
            for p in self.model.parameters():
                p.grad = torch.zeros_like(p) if p.requires_grad else None
            self.optimizer.step()
        return update


class CleanOnly(Method):
    """Ordinary training on the clean set alone, the biased set unused (Section 4.2); also the stage "+FT"."""

    uses_clean: ClassVar[bool] = True

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        x, y = clean_batch
        losses = self.loss_fn(self.model(x), y)
        self.descend(losses, torch.full_like(losses, 1 / len(losses)))
        return Update(losses.detach(), None)


class CleanMixed(Method):
    """Plain training on each batch and the clean batch together, n + m examples that all weigh the same."""

    uses_clean: ClassVar[bool] = True

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        x, y = (torch.cat(pair) for pair in zip((batch.x, batch.y), clean_batch, strict=True))
        losses = self.objective(self.model(x), y)
        weights = self.weights(losses.detach(), batch, step)
        self.descend(losses, weights)
        n = len(batch.y)
        return Update(losses[:n].detach(), weights[:n])


@dataclass
class CleanStopped(Method):
    """Plain training that ends with the parameters that had the lowest loss on the clean set: early stopping.

    The clean batch is looked at after every 25 steps, in evaluation mode and without being trained on.
    """

    uses_clean: ClassVar[bool] = True
    knows_length: ClassVar[bool] = True
    every: ClassVar[int] = 25

    def __post_init__(self) -> None:
        self.lowest = float("inf")
        self.best: dict[str, Tensor] = {}

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        update = super().step(batch, clean_batch, step)
        last = step + 1 == self.task.total_steps
        if last or (step + 1) % self.every == 0:
            self._look(*clean_batch)
        if last and self.best:  # none if every loss was NaN, which the evaluation after this step says
            self.model.load_state_dict(self.best)
        return update

    @torch.no_grad()
    def _look(self, x: Tensor, y: Tensor) -> None:
        training = self.model.training
        loss = float(self.loss_fn(self.model.eval()(x), y).mean())
        self.model.train(training)
        if loss < self.lowest:
            self.lowest = loss
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"lowest": self.lowest, "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lowest, self.best = state["lowest"], state["best"]


class Random(Method):
    """Rectified Gaussian weights, drawn anew each step, equation (16): the control that knows nothing."""

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        return to_weights(torch.randn_like(losses))
