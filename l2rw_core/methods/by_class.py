"""Cures for imbalance that look at class frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l2rw_core.datasets import BatchStream, Examples
from l2rw_core.methods.base import Method, Minibatch


class Proportion(Method):
    """Weights proportional to the inverse frequency of the given label, normalised in every batch (Section 4.1)."""

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        inverse = 1 / self.task.class_counts.to(losses).clamp(min=1)
        w = inverse[batch.labels]
        return w / w.sum()


class InverseFrequency(Method):
    """Class weights as textbooks have them: by the inverse frequency of the given label, with mean 1 over all examples.

    A batch without a rare example takes a smaller step than one with some. `Proportion` divides by the batch's sum, so
    there every batch counts alike, and rare classes have less than their share of the weight.
    """

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        counts = self.task.class_counts.to(losses)
        inverse = counts.sum() / ((counts > 0).sum() * counts.clamp(min=1))
        return inverse[batch.labels] / len(losses)


@dataclass(frozen=True)
class BalancedStream:
    """Batches with as many examples of each class as of any other; small classes repeat (Section 4.1, RESAMPLE).

    Each class runs through shuffled epochs of its own. If K does not divide the batch size, the first classes get one
    example more.
    """

    members: tuple[Tensor, ...]
    """For each class its positions in the training set."""
    batch_size: int
    seed: int

    def indices(self, step: int) -> Tensor:
        """(batch_size,) positions of the batch of `step`, a pure function of the seed and the step."""
        return torch.cat([self._of_class(k, step) for k in range(len(self.members))])

    def _of_class(self, k: int, step: int) -> Tensor:
        share, extra = divmod(self.batch_size, len(self.members))
        share += k < extra
        members = self.members[k]
        draws = torch.arange(step * share, (step + 1) * share)  # draw d is entry d mod N_k of epoch d // N_k
        epochs, entries = draws // len(members), draws % len(members)
        order = {epoch: self._permutation(k, epoch) for epoch in epochs.unique().tolist()}
        return members[torch.stack([order[e][i] for e, i in zip(epochs.tolist(), entries.tolist(), strict=True)])]

    def _permutation(self, k: int, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed((self.seed * 1_000 + k) * 1_000_003 + epoch)
        return torch.randperm(len(self.members[k]), generator=generator)


class Resample(Method):
    """Class-balanced batches with uniform weights (Section 4.1)."""

    @classmethod
    def batches(cls, labels: Tensor, batch_size: int, seed: int) -> BatchStream | BalancedStream:
        present = labels.unique().tolist()
        if batch_size < len(present):
            raise ValueError(
                f"a batch of {batch_size} cannot hold an example of each of {len(present)} classes: raise batch_size, "
                "or choose another method than resample"
            )
        return BalancedStream(tuple((labels == k).nonzero()[:, 0] for k in present), batch_size, seed)


class Smote(Method):
    """Rare classes are filled up with points between neighbours of the same class (Chawla et al., 2002).

    imbalanced-learn does it, on the pixels, once before training. A class with fewer than six examples has fewer
    neighbours to choose from, and one with a single example stays as it is.
    """

    @classmethod
    def training_set(cls, examples: Examples, seed: int) -> Examples:
        try:
            from imblearn.over_sampling import SMOTE
        except ImportError as error:
            raise ValueError("method 'smote' needs imbalanced-learn: pip install 'l2rw-core[smote]'") from error
        counts = np.bincount(examples.y)
        fillable = {k: int(counts.max()) for k in np.flatnonzero(counts > 1) if counts[k] < counts.max()}
        if not fillable:
            return examples
        smote = SMOTE(
            sampling_strategy=fillable,
            k_neighbors=min(5, min(int(counts[k]) for k in fillable) - 1),
            random_state=seed,
        )
        x, y = smote.fit_resample(examples.x.reshape(len(examples), -1).astype(np.float32), examples.y)
        return examples.extended(
            np.rint(x[len(examples) :]).astype(np.uint8).reshape(-1, *examples.x.shape[1:]), y[len(examples) :]
        )


@dataclass
class LogitAdjustment(Method):
    """The logarithm of each class's frequency is added to its output while training (Menon et al., 2021, tau = 1).

    The network is used without it, and so answers as if all classes were equally frequent. With tau = 1 this is also
    the balanced softmax of J. Ren et al. (2020), so one row stands for both.
    """

    def __post_init__(self) -> None:
        counts = self.task.class_counts.clamp(min=1)
        self.log_prior = (counts / counts.sum()).log()

    def objective(self, outputs: Tensor, y: Tensor) -> Tensor:
        prior = self.log_prior.to(outputs)
        return self.loss_fn(outputs + (prior[1] - prior[0] if outputs.ndim == 1 else prior), y)


@dataclass
class LdamDrw(Method):
    """Larger margins for rare classes, and class weights for the last fifth of the run (Cao et al., 2019).

    The last layer compares directions: its outputs are 30 times the cosines between features and the rows of its
    weight. From the output of the given label k a margin is taken, ``30 * 0.5 (n_min / n_k)^(1/4)`` with n_k examples
    of the class. The weights of the last part are those of effective numbers, ``(1 - b) / (1 - b^n_k)`` with
    b = 0.9999, divided by their sum over the batch.
    """

    knows_length: ClassVar[bool] = True
    scale: ClassVar[float] = 30.0
    largest_margin: ClassVar[float] = 0.5
    deferred: ClassVar[float] = 0.8
    overlap: ClassVar[float] = 0.9999

    def __post_init__(self) -> None:
        layers = [module for module in self.model.modules() if isinstance(module, nn.Linear)]
        classes = self.task.num_classes
        if not layers or layers[-1].out_features not in {classes, 1 if classes == 2 else classes}:
            raise ValueError(
                f"ldam_drw needs a model that ends in a linear layer with one output a class, {classes}, or with one "
                "for two classes; choose another method"
            )
        layers[-1].register_forward_hook(self._cosines)
        counts = self.task.class_counts.clamp(min=1).double()
        self.margins = self.largest_margin * (counts.min() / counts) ** 0.25
        self.class_weights = (1 - self.overlap) / (1 - self.overlap**counts)

    def _cosines(self, layer: nn.Linear, inputs: tuple[Tensor], _: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(inputs[0]), F.normalize(layer.weight))

    def objective(self, outputs: Tensor, y: Tensor) -> Tensor:
        margins = self.margins.to(outputs)
        if outputs.ndim == 1:  # one output for two classes: the margin draws it towards the other one
            return self.loss_fn(outputs - self.scale * margins[y.long()] * (2 * y - 1), y)
        return self.loss_fn(outputs - self.scale * F.one_hot(y.long(), len(margins)) * margins, y)

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        if step < self.deferred * self.task.total_steps:
            return torch.full_like(losses, 1 / len(losses))
        w = self.class_weights.to(losses)[batch.labels]
        return w / w.sum()
