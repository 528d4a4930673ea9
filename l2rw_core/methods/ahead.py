"""L2RW with another look ahead than the paper's: through the step that the optimizer itself would take.

Libraries for meta-learning differentiate through the optimizer that trains, momentum and second moments included. The
paper's virtual step is plain gradient descent (equation (4)) whatever trains. What follows from the other choice, with
``theta_hat(e)`` the parameters after the optimizer's step on ``sum_i e_i f_i``, is still one inner product for each
example at e = 0, with a clean gradient that is taken elsewhere or weighed by parameter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from l2rw_core.engines.passes import CleanGradient, call
from l2rw_core.methods.base import Minibatch, Update
from l2rw_core.methods.clean_guided import L2rw


@dataclass
class _Ahead(L2rw, ABC):
    """The clean gradient is taken where a step of the optimizer leads that gives every training example weight zero."""

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        result = self.reweighter.step((batch.x, batch.y), self._ahead(*clean_batch))
        return Update(result.losses, result.weights, result.alignment)

    def _ahead(self, x: Tensor, y: Tensor) -> CleanGradient:
        """-(1/lr) d f^v(theta_hat) / d e_i is the inner product of this with the gradient of example i."""
        groups = [(p, group) for group in self.optimizer.param_groups for p in group["params"]]
        options = {id(p): group for p, group in groups}
        theta = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        there = {
            name: (
                p.detach() - self.drift(p.detach(), self.optimizer.state.get(p, {}), options[id(p)])
            ).requires_grad_()
            for name, p in theta.items()
        }
        clean_loss = self.loss_fn(call(self.model, there, (x,))[0], y).mean()
        gradients = torch.autograd.grad(clean_loss, list(there.values()), materialize_grads=True)
        weighed = {
            name: g * self.slope(p.detach(), self.optimizer.state.get(p, {}), options[id(p)])
            for (name, p), g in zip(theta.items(), gradients, strict=True)
        }
        return CleanGradient(clean_loss.detach(), weighed, len(y))

    @abstractmethod
    def drift(self, p: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Tensor:
        """How far the optimizer moves a parameter whose gradient is zero."""

    @abstractmethod
    def slope(self, p: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Tensor | float:
        """By how much its step grows with the gradient there, divided by the learning rate."""


@dataclass
class MomentumAhead(_Ahead):
    """L2RW whose virtual step is that of SGD with momentum, which trains here.

    With buffer b, momentum mu and decay d, ``theta_hat(0) = theta - lr (mu b + d theta)``: the clean gradient is taken
    there, and the step is as steep in the training gradient as a plain one.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, torch.optim.SGD):
            raise ValueError("momentum_ahead looks through SGD: train with optimizer 'sgd', or choose adam_ahead")
        super().__post_init__()

    def drift(self, p: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Tensor:
        buffer = state.get("momentum_buffer")
        still = options["weight_decay"] * p
        return options["lr"] * (still if buffer is None else still + options["momentum"] * buffer)

    def slope(self, p: Tensor, state: dict[str, Any], options: dict[str, Any]) -> float:
        return 1.0


@dataclass
class AdamAhead(_Ahead):
    """L2RW whose virtual step is that of AdamW, which trains here.

    At gradient zero the moments are ``b1 m`` and ``b2 v``, and the square of the gradient has no slope, so the step has
    the slope ``(1 - b1) / (1 - b1^t) / (sqrt(b2 v / (1 - b2^t)) + eps)`` in each parameter, t counting this step.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, torch.optim.AdamW):
            raise ValueError("adam_ahead looks through AdamW: train with optimizer 'adamw', or choose momentum_ahead")
        super().__post_init__()

    def drift(self, p: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Tensor:
        still = options["lr"] * options["weight_decay"] * p
        if not state:
            return still
        first, _ = options["betas"]
        return still + options["lr"] * first * state["exp_avg"] * self._per_unit(p, state, options) / (1 - first)

    def slope(self, p: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Tensor:
        return self._per_unit(p, state, options)

    def _per_unit(self, p: Tensor, state: dict[str, Any], options: dict[str, Any]) -> Tensor:
        """Step over learning rate for a gradient of one, beside what the moments hold."""
        first, second = options["betas"]
        t = int(state["step"]) + 1 if state else 1
        squares = second * state["exp_avg_sq"] if state else torch.zeros_like(p)
        return (1 - first) / (1 - first**t) / ((squares / (1 - second**t)).sqrt() + options["eps"])
