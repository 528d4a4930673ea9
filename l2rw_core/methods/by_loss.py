"""Weights that follow from losses: the two opposite cures of Section 1, and curricula of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from l2rw_core.datasets import BatchStream
from l2rw_core.methods.base import Method, Minibatch, Update


class HardMining(Method):
    """All examples of the rarest class and as many of the others, those with the highest loss (Section 4.1).

    Batches are five times as large as those of other methods, so that there is something to choose from; the chosen
    examples weigh the same, the rest nothing. The losses to choose by are computed without gradients, by the model as
    it is used, without dropout; only the chosen examples are trained on. A batch without a rare example trains on the
    one of the highest loss: of 500 images at 200:1, that is about every eighth batch.
    """

    larger: ClassVar[int] = 5

    @classmethod
    def batches(cls, labels: Tensor, batch_size: int, seed: int) -> BatchStream:
        return BatchStream(len(labels), min(len(labels), cls.larger * batch_size), seed)

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        counts = self.task.class_counts
        rare = batch.labels == int(counts.masked_fill(counts == 0, counts.max() + 1).argmin())
        keep = rare.clone()
        wanted = min(max(int(rare.sum()), 1), int((~rare).sum()))
        keep[losses.masked_fill(rare, -torch.inf).topk(wanted).indices] = True
        return keep.to(losses) / keep.sum()

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        training = self.model.training
        with torch.no_grad():
            losses = self.objective(self.model.eval()(batch.x), batch.y)
        self.model.train(training)
        weights = self.weights(losses, batch, step)
        hard = weights > 0
        self.descend(self.objective(self.model(batch.x[hard]), batch.y[hard]), weights[hard])
        return Update(losses, weights)


class SelfPaced(Method):
    """Only the easiest share of each batch counts; the share grows linearly to all of it (Kumar et al., 2010).

    The published rule admits losses under a threshold that grows; a growing share of the batch is the same curriculum
    without a scale to tune.
    """

    knows_length: ClassVar[bool] = True
    first_share: ClassVar[float] = 0.5

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        share = self.first_share + (1 - self.first_share) * step / max(self.task.total_steps - 1, 1)
        count = max(1, round(share * len(losses)))
        w = torch.zeros_like(losses)
        w[losses.topk(count, largest=False).indices] = 1 / count
        return w


class Focal(Method):
    """Each loss f = -log p becomes (1 - p)^gamma f, so that what is already learnt counts less (Lin et al., 2017)."""

    gamma: ClassVar[float] = 2.0

    def objective(self, outputs: Tensor, y: Tensor) -> Tensor:
        f = self.loss_fn(outputs, y)
        return (-torch.expm1(-f)) ** self.gamma * f


@dataclass
class ActiveBias(Method):
    """More weight for examples whose predictions vary from visit to visit (Chang et al., 2017, "SGD-WPV").

    With p the probabilities that an example's given label had at earlier visits, its score is the standard deviation
    ``sqrt(var(p) + var(p)^2 / (visits - 1))``, which allows for an uncertain variance, plus the mean of the batch's
    scores, so that nobody is forgotten. Weights are scores divided by their sum. The first fifth of the run, and an
    example's first two visits, weigh all alike.
    """

    knows_length: ClassVar[bool] = True
    burn_in: ClassVar[float] = 0.2

    def __post_init__(self) -> None:
        n, device = len(self.task.labels), self.task.labels.device
        self.visits, self.mean, self.squares = (torch.zeros(n, dtype=torch.float64, device=device) for _ in range(3))

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        if batch.positions is None:
            raise ValueError("active_bias remembers every example: give the batch the positions of its examples")
        at = batch.positions.to(self.mean.device)
        scores = self._deviation(at).to(losses)
        self._remember(at, (-losses).exp().to(self.mean))
        if step < self.burn_in * self.task.total_steps or not scores.any():
            return torch.full_like(losses, 1 / len(losses))
        scores = scores + scores.mean()
        return scores / scores.sum()

    def _deviation(self, at: Tensor) -> Tensor:
        """Standard deviations of the examples; those seen less than twice get the mean of the others."""
        visits = self.visits[at]
        variance = self.squares[at] / (visits - 1).clamp(min=1)
        deviation = (variance + variance**2 / (visits - 1).clamp(min=1)).sqrt()
        visited = visits > 1
        if visited.any():
            deviation[~visited] = deviation[visited].mean()
        return deviation

    def _remember(self, at: Tensor, p: Tensor) -> None:
        """Welford's running mean and sum of squared deviations."""
        self.visits[at] += 1
        before = p - self.mean[at]
        self.mean[at] += before / self.visits[at]
        self.squares[at] += before * (p - self.mean[at])

    def state_dict(self) -> dict[str, Any]:
        return {"visits": self.visits, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.visits, self.mean, self.squares = (state[name] for name in ("visits", "mean", "squares"))


@dataclass
class MentorNetPd(Method):
    """The predefined curriculum of MentorNet (Jiang et al., 2018): weights fall linearly with the loss.

    ``v = min(max(0, 1 - (f - lambda_1) / lambda_2), 1)``, divided by their sum over the batch. The threshold
    lambda_1 is a moving average of the 75th percentile of the batch losses, and lambda_2 = lambda_1, so that an
    example counts in full up to the threshold and not at all from twice the threshold on. The first fifth of the run
    weighs all alike. The published rule leaves these constants open.
    """

    percentile: ClassVar[float] = 0.75
    memory: ClassVar[float] = 0.95
    knows_length: ClassVar[bool] = True
    burn_in: ClassVar[float] = 0.2

    def __post_init__(self) -> None:
        self.threshold: float | None = None

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        now = float(losses.quantile(self.percentile))
        self.threshold = now if self.threshold is None else self.memory * self.threshold + (1 - self.memory) * now
        if step < self.burn_in * self.task.total_steps or self.threshold == 0:
            return torch.full_like(losses, 1 / len(losses))
        v = (2 - losses / self.threshold).clamp(0, 1)
        return v / v.sum().clamp(min=torch.finfo(v.dtype).tiny)

    def state_dict(self) -> dict[str, Any]:
        return {"threshold": self.threshold}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.threshold = state["threshold"]
