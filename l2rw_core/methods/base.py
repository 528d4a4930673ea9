"""The one interface that every way of training has: a step on a batch, and the order in which batches come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from l2rw_core.datasets import BatchStream, Examples
from l2rw_core.engines.passes import LossFn


class Minibatch(NamedTuple):
    """n training examples; a method that remembers examples needs their positions, the others do without."""

    x: Tensor
    """(n, ...) inputs."""
    y: Tensor
    """(n,) given labels, in the dtype that the loss wants."""
    positions: Tensor | None = None
    """(n,) int64 positions in the training set."""

    @property
    def labels(self) -> Tensor:
        """(n,) int64 given labels."""
        return self.y.long()


@dataclass(frozen=True)
class Task:
    """What a method may know before it starts."""

    labels: Tensor
    """(N,) int64 given labels of the training set."""
    num_classes: int
    total_steps: int
    """Length of the run, for methods that follow a curriculum."""
    share_right: Tensor | None = None
    """(K,) of the examples that are given each label, the share for which it is right. For oracles only."""
    confusion: Tensor | None = None
    """(K, K) row k: how a model trained before this run saw the given labels of what it takes for class k."""

    @property
    def class_counts(self) -> Tensor:
        """(K,) training examples of each given label."""
        return torch.bincount(self.labels, minlength=self.num_classes)


class Update(NamedTuple):
    """What one training step did to a batch of n examples; detached."""

    losses: Tensor
    """(n,) losses before the update."""
    weights: Tensor | None
    """(n,) weights: the gradient that was followed is sum of w_i grad f_i. None if the batch was not used."""
    alignment: Tensor | None = None
    """(n,) alignments u_i, of methods that compute them."""


@dataclass
class Method:
    """Plain training with uniform weights; other methods change the weights, the loss, the step, or the batches.

    Args:
        model: trained in place.
        optimizer: over the model's parameters.
        loss_fn: ``loss_fn(outputs, targets)`` of shape (n,): the negative log-likelihood of each label.
        task: what is known of the training set.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss_fn: LossFn
    task: Task

    uses_clean: ClassVar[bool] = False
    """Whether the clean set is looked at; comparisons must say so."""
    uses_truth: ClassVar[bool] = False
    """Whether something is known that nobody knows in practice: an oracle."""
    needs_confusion: ClassVar[bool] = False
    """Whether a plain model is trained first, for `Task.confusion`."""
    knows_length: ClassVar[bool] = False
    """Whether a step depends on how long the run is, so that a short run is not the beginning of a longer one."""

    @classmethod
    def training_set(cls, examples: Examples, seed: int) -> Examples:
        """The examples to train on, by default all that are given and no others."""
        return examples

    @classmethod
    def batches(cls, labels: Tensor, batch_size: int, seed: int) -> BatchStream:
        """The stream of training batches for given labels (N,): by default shuffled epochs, the same for all."""
        return BatchStream(len(labels), batch_size, seed)

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        """Weights (n,) of a batch from its detached losses (n,) and the step's number."""
        return torch.full_like(losses, 1 / len(losses))

    def objective(self, outputs: Tensor, y: Tensor) -> Tensor:
        """(n,) losses to be weighted, by default the loss function's."""
        return self.loss_fn(outputs, y)

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        """One update on `batch`; ``clean_batch = (x, y)`` is there for methods with `uses_clean`."""
        losses = self.objective(self.model(batch.x), batch.y)
        weights = self.weights(losses.detach(), batch, step)
        self.descend(losses, weights)
        return Update(losses.detach(), weights)

    def descend(self, losses: Tensor, weights: Tensor) -> None:
        """One optimizer step along the weighted gradient; as in `Reweighter.step`, no weight at all moves nothing."""
        self.optimizer.zero_grad(set_to_none=True)
        if weights.any():
            (weights * losses).sum().backward()
            self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """What the method itself remembers from step to step; tensors, numbers and containers of them only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class Baseline(Method):
    """Uniform weights 1/n: ordinary stochastic gradient descent, equation (3)."""
