"""Cures for noise that change what the given label stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l2rw_core.methods.base import Method, Minibatch


def log_probabilities(outputs: Tensor) -> Tensor:
    """(n, K) log-probabilities from logits of shape (n, K), or of shape (n,) for two classes."""
    if outputs.ndim == 1:
        return torch.stack([F.logsigmoid(-outputs), F.logsigmoid(outputs)], 1)
    return outputs.log_softmax(1)


class ReedSoft(Method):
    """Soft bootstrapping: the target is part given label, part the model's own prediction (Reed et al., 2015).

    ``beta CE(y) + (1 - beta) CE(p)`` with p the predicted probabilities, through which no gradient flows.
    """

    beta: ClassVar[float] = 0.95

    def objective(self, outputs: Tensor, y: Tensor) -> Tensor:
        log_p = log_probabilities(outputs)
        own = -(self.own_target(log_p.detach()) * log_p).sum(1)
        return self.beta * self.loss_fn(outputs, y) + (1 - self.beta) * own

    @staticmethod
    def own_target(log_p: Tensor) -> Tensor:
        """(n, K) what the model itself would have as target, from its (n, K) log-probabilities."""
        return log_p.exp()


class ReedHard(ReedSoft):
    """Hard bootstrapping: as `ReedSoft`, with the predicted class in place of the probabilities."""

    beta: ClassVar[float] = 0.8

    @staticmethod
    def own_target(log_p: Tensor) -> Tensor:
        return F.one_hot(log_p.argmax(1), log_p.shape[1]).to(log_p)


@dataclass
class SModel(Method):
    """A learned matrix T between the model's classes and the given labels (Goldberger and Ben-Reuven, 2017).

    The likelihood of a given label is ``sum_k p_k T[k, label]``, with T a softmax over each row of a trained
    (K, K) matrix that starts close to the identity. The model is used without T.
    """

    smoothing: ClassVar[float] = 1e-3

    def __post_init__(self) -> None:
        k = self.task.num_classes
        like = next(self.model.parameters())
        start = torch.eye(k) if self.task.confusion is None else self.task.confusion
        self.matrix = nn.Parameter((start.to(like) + self.smoothing).log())
        self.optimizer.add_param_group({"params": [self.matrix], "weight_decay": 0.0})

    def objective(self, outputs: Tensor, y: Tensor) -> Tensor:
        joint = log_probabilities(outputs) + self.matrix.log_softmax(1)[:, y.long()].T
        return -joint.logsumexp(1)

    def state_dict(self) -> dict[str, Any]:
        return {"matrix": self.matrix.detach()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.matrix.copy_(state["matrix"])


class SModelConf(SModel):
    """`SModel` whose matrix starts from the confusion of a plain model trained before, with the same schedule."""

    needs_confusion: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.task.confusion is None:
            raise ValueError("s_model_conf needs task.confusion, from a model that was trained before")
        super().__post_init__()


class Weighted(Method):
    """An oracle: each given label weighs as much as the share of its examples for which it is right (Section 4.2).

    For 40% flips to a background class of K it is 0.4 / K + 0.6 / K of 0.4 + 0.6 / K for the background and 1 for
    every other class; the released code has the numerator for K = 10 only.
    """

    uses_truth: ClassVar[bool] = True

    def weights(self, losses: Tensor, batch: Minibatch, step: int) -> Tensor:
        if self.task.share_right is None:
            raise ValueError("weighted is an oracle: it needs task.share_right, the share of right labels by class")
        w = self.task.share_right.to(losses)[batch.labels]
        return w / (w.sum() + (w.sum() == 0))
