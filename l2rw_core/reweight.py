"""One reweighted training step for any model, loss and optimizer."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from l2rw_core.engines.passes import Batch, LossFn, write_buffers
from l2rw_core.health import Health
from l2rw_core.scoring import ENGINES, Scores, score
from l2rw_core.weights import Step, as_ids, positive_part, scaled


class Reweighter:
    """Trains a model on weighted batches: each step weighs its examples anew by the clean batch (Algorithm 1).

    Args:
        model: any module, trained in place, in the mode that it is in: in eval mode normalisation goes by its running
            statistics, which stay as they are, and dropout is off.
        optimizer: any optimizer over the model's parameters; momentum, decay and schedules live here and have no part
            in the weights. ``None`` if only `loss` is used.
        loss_fn: ``loss_fn(outputs, targets)`` of shape (n,).
        engine: see `l2rw_core.alignment`. If an operator has no forward-mode rule, ``"forward"`` becomes ``"reverse"``
            once, with a warning that names the operator.
        warmup: calls of `step` or `loss` at the beginning in which every example has the weight 1/n: plain training.
            The alignments are computed all the same, so that a `Step` holds what it always holds and a ledger misses
            nothing; such a call therefore costs as much as any other.

    Raises:
        TypeError, ValueError: if one of these is of another kind, the engine is unknown, `warmup` is no number of
            steps, or the optimizer holds none of the model's trainable parameters (`step` looks again).

    Example::

        loss_fn = nn.CrossEntropyLoss(reduction="none")
        reweighter = Reweighter(model, optimizer, loss_fn)
        for batch in loader:
            step = reweighter.step(batch, clean_batch)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        loss_fn: LossFn,
        engine: str = "forward",
        warmup: int = 0,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.engine = engine
        self.warmup = warmup
        self.steps = 0
        """Calls of `step` and `loss` so far, failed ones not counted. Put it back when training is resumed: the warm-up
        goes by it."""
        self.last: Step | None = None
        """The most recent step, also after `loss`."""
        self.health: Health | None = Health()
        """Warns of what looks wrong, through the logger ``l2rw_core``; None to be left alone."""
        _check_kinds(model, optimizer, loss_fn, engine)
        if not (warmup >= 0 and warmup % 1 == 0):  # a share of training, such as 0.1, would be a single step
            raise ValueError(f"warmup must be a whole number of steps, at least 0, got {warmup}")
        if optimizer is not None:
            _check_held(model, optimizer)
            _check_closure(optimizer)

    def step(self, batch: Batch, clean_batch: Batch, ids: Any = None) -> Step:
        """Weigh the n training examples of `batch` by the m of `clean_batch`, and update the model once.

        `ids`, if given, are (n,) numbers that say which examples these are: they are handed on in the `Step`, for
        example to an `l2rw_core.ledger.WeightLedger`, and have no part in training.

        An all-zero batch (no example agrees with the clean gradient) changes nothing at all: no momentum, no decay,
        no running statistics. Errors are raised before the model is changed; see `l2rw_core.alignment`.

        Gradients are released afterwards: the clean gradient of the next step takes their place in memory. To look at
        them, register a hook before the optimizer's step, or use `loss`.
        """
        if self.optimizer is None:
            raise ValueError("step() needs an optimizer: give one to Reweighter, or use loss() in your own loop")
        _check_held(self.model, self.optimizer)
        loss, scores, step = self._weigh(batch, clean_batch, ids)
        self.optimizer.zero_grad(set_to_none=True)
        if step.effective_examples:
            self._backward(loss, self.optimizer)
            self.optimizer.step()
            self._write_buffers(scores)
            self.optimizer.zero_grad(set_to_none=True)
        self._done(step, scores, batch, clean_batch)
        return step

    def loss(self, batch: Batch, clean_batch: Batch, ids: Any = None) -> Tensor:
        """The weighted loss of `batch`, a scalar to call ``backward()`` on, for trainers that own backward and step.

        Followed by ``backward()`` and the optimizer's ``step()`` it gives the same parameters as `step`. For an
        all-zero batch the scalar reaches no parameter: with ``zero_grad(set_to_none=True)``, the default, gradients
        stay ``None`` and the optimizer leaves the model alone, momentum and decay included. A gradient scaler wants at
        least one gradient: leave its step and its update out where every ``.grad`` is ``None``.
        """
        loss, scores, step = self._weigh(batch, clean_batch, ids)
        if step.effective_examples:
            self._write_buffers(scores)
        self._done(step, scores, batch, clean_batch)
        return loss if step.effective_examples else torch.zeros_like(loss, requires_grad=True)

    def _weigh(self, batch: Batch, clean_batch: Batch, ids: Any) -> tuple[Tensor, Scores, Step]:
        scores = score(self.model, self.loss_fn, batch, clean_batch, self.engine)
        weights = scaled(self._unscaled(scores.alignment))
        ids = None if ids is None else as_ids(ids, len(weights))
        with torch.enable_grad():
            loss = (weights * scores.losses).sum()
        step = Step(loss.detach(), weights, scores.alignment, scores.losses.detach(), scores.clean_loss, ids)
        return loss, scores, step

    def _unscaled(self, u: Tensor) -> Tensor:
        """(n,) weights before they are scaled to sum to 1: equal ones during the warm-up."""
        positive = positive_part(u)
        return torch.ones_like(positive) if self.steps < self.warmup else positive

    def _done(self, step: Step, scores: Scores, batch: Batch, clean_batch: Batch) -> None:
        self.engine = scores.engine
        self.steps += 1
        self.last = step
        if self.health is not None:
            self.health.see(step, batch[1], clean_batch[1], self.model.training)

    def _backward(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Gradients of what the optimizer holds; those of other parameters would add up from step to step."""
        held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        with torch.autocast(loss.device.type, enabled=False):
            loss.backward(inputs=held)

    def _write_buffers(self, scores: Scores) -> None:
        """The training pass that was scored is the one that is learned from: its running statistics count, once."""
        write_buffers(self.model, scores.buffers)


def _check_kinds(model: Any, optimizer: Any, loss_fn: Any, engine: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}: wrap what it does in one")
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer or None, got {type(optimizer).__name__}")
    if not callable(loss_fn):
        raise TypeError(f"loss_fn must be a function of (outputs, targets), got {type(loss_fn).__name__}")
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}; choose one of {', '.join(map(repr, ENGINES))}")


def _check_held(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(p) in held for p in model.parameters() if p.requires_grad):
        raise ValueError(
            "the optimizer holds none of the model's trainable parameters: build it from model.parameters(), "
            "after the model was moved or replaced, or unfreeze what it holds"
        )


def _check_closure(optimizer: torch.optim.Optimizer) -> None:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"{type(optimizer).__name__} evaluates the loss several times a step, and the weights hold for one point: "
            "take an optimizer whose step() needs no closure"
        )
