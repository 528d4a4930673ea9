"""The one interface that every way of training has: a step on a batch, and the order in which batches come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from l2rw_core.alignment import LossFn
from l2rw_core.datasets import BatchStream


class Update(NamedTuple):
    """What one training step did to a batch of n examples; detached."""

    losses: Tensor
    """(n,) losses before the update."""
    weights: Tensor
    """(n,) weights: the gradient that was followed is sum of w_i grad f_i."""


@dataclass
class Method:
    """Plain training with uniform weights; other methods change the weights, the step, or the batches.

    Args:
        model: trained in place.
        optimizer: over the model's parameters.
        loss_fn: ``loss_fn(outputs, targets)`` of shape (n,).
        class_counts: (K,) training examples of each given label, for methods that weigh by class.
        total_steps: length of the run, for methods that follow a curriculum.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss_fn: LossFn
    class_counts: Tensor
    total_steps: int

    uses_clean: ClassVar[bool] = False
    """Whether the clean set is looked at; comparisons must say so."""

    @classmethod
    def batches(cls, labels: Tensor, batch_size: int, seed: int) -> BatchStream:
        """The stream of training batches for given labels (N,): by default shuffled epochs, the same for all."""
        return BatchStream(len(labels), batch_size, seed)

    def weights(self, losses: Tensor, labels: Tensor, step: int) -> Tensor:
        """Weights (n,) of a batch from its detached losses (n,), its given labels (n,) and the step's number."""
        return torch.full_like(losses, 1 / len(losses))

    def step(self, batch: tuple[Tensor, Tensor], clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        """One update on ``batch = (x, y)``; `clean_batch` is there for methods with `uses_clean`."""
        x, y = batch
        losses = self.loss_fn(self.model(x), y)
        weights = self.weights(losses.detach(), y.long(), step)
        self.optimizer.zero_grad(set_to_none=True)
        if weights.any():  # as in `Reweighter.step`: a batch without weight moves nothing
            (weights * losses).sum().backward()
            self.optimizer.step()
        return Update(losses.detach(), weights)


class Baseline(Method):
    """Uniform weights 1/n: ordinary stochastic gradient descent, equation (3)."""
