"""From alignments to weights, and one reweighted training step for any model, loss and optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from l2rw_core.alignment import ENGINES, Batch, LossFn, Scores, score
from l2rw_core.health import Health


def to_weights(u: Tensor) -> Tensor:
    """Weights of a batch from its alignments: negative ones are cut off, the rest is scaled to sum to 1.

    Args:
        u: (n,) alignments.

    Returns:
        (n,) detached weights, at least 0, that sum to 1; all 0 if no alignment is positive.

    Raises:
        ValueError: if `u` is empty, not one-dimensional, or not finite.

    Source: equations (8) and (9).
    """
    if u.ndim != 1 or len(u) == 0:
        raise ValueError(f"alignments must have shape (n,) with n > 0, got {tuple(u.shape)}")
    w = u.detach().clamp(min=0)  # (8)
    total = w.sum()
    if not (total.isfinite() and u.isfinite().all()):
        raise ValueError(
            "the alignments are NaN or infinite: a gradient overflowed, or has no finite value at this point; "
            "lower the learning rate, or keep away from where the loss has no slope, such as the root of 0"
        )
    return w / (total + (total == 0))  # (9)


@dataclass(frozen=True)
class Step:
    """What one reweighted step saw; every tensor is detached."""

    loss: Tensor
    """() weighted training loss, sum of w_i f_i."""
    weights: Tensor
    """(n,) weights w_i: they sum to 1, or are all 0."""
    alignment: Tensor
    """(n,) alignments u_i."""
    losses: Tensor
    """(n,) training losses f_i before the update."""
    clean_loss: Tensor
    """() mean loss of the clean batch before the update."""

    @property
    def effective_examples(self) -> float:
        """1 / sum of w_i squared: n for equal weights, 1 if one example has all the weight, 0 if none has any."""
        squares = float(self.weights.square().sum())
        return 1 / squares if squares > 0 else 0.0


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

    Raises:
        TypeError, ValueError: if one of these is of another kind, the engine is unknown, or the optimizer holds none of
            the model's trainable parameters.

    Example::

        reweighter = Reweighter(model, optimizer, nn.CrossEntropyLoss(reduction="none"))
        for batch in loader:
            step = reweighter.step(batch, clean_batch)
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer | None, loss_fn: LossFn, engine: str = "forward"
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.engine = engine
        self.last: Step | None = None
        """The most recent step, also after `loss`."""
        self.health: Health | None = Health()
        """Warns of what looks wrong, through the logger ``l2rw_core``; None to be left alone."""
        _check_kinds(model, optimizer, loss_fn, engine)
        if optimizer is not None:
            _check_optimizer(model, optimizer)

    def step(self, batch: Batch, clean_batch: Batch) -> Step:
        """Weigh the n training examples of `batch` by the m of `clean_batch`, and update the model once.

        An all-zero batch (no example agrees with the clean gradient) changes nothing at all: no momentum, no decay,
        no running statistics. Errors are raised before the model is changed; see `l2rw_core.alignment.alignment`.
        """
        if self.optimizer is None:
            raise ValueError("step() needs an optimizer: give one to Reweighter, or use loss() in your own loop")
        loss, scores, step = self._weigh(batch, clean_batch)
        self.optimizer.zero_grad(set_to_none=True)
        if step.weights.any():
            with torch.autocast(loss.device.type, enabled=False):
                loss.backward()
            self.optimizer.step()
            self._write_buffers(scores)
        return step

    def loss(self, batch: Batch, clean_batch: Batch) -> Tensor:
        """The weighted loss of `batch`, a scalar to call ``backward()`` on, for trainers that own backward and step.

        Followed by ``backward()`` and the optimizer's ``step()`` it gives the same parameters as `step`. For an
        all-zero batch the scalar reaches no parameter: with ``zero_grad(set_to_none=True)``, the default, gradients
        stay ``None`` and the optimizer leaves the model alone, momentum and decay included.
        """
        loss, scores, step = self._weigh(batch, clean_batch)
        if not step.weights.any():
            return torch.zeros_like(loss, requires_grad=True)
        self._write_buffers(scores)
        return loss

    def _weigh(self, batch: Batch, clean_batch: Batch) -> tuple[Tensor, Scores, Step]:
        scores = score(self.model, self.loss_fn, batch, clean_batch, self.engine)
        self.engine = scores.engine
        weights = to_weights(scores.alignment)
        loss = (weights * scores.losses).sum()
        step = Step(loss.detach(), weights, scores.alignment, scores.losses.detach(), scores.clean_loss)
        self.last = step
        if self.health is not None:
            self.health.see(step, batch[1], clean_batch[1], self.model.training)
        return loss, scores, step

    @torch.no_grad()
    def _write_buffers(self, scores: Scores) -> None:
        """The training pass that was scored is the one that is learned from: its running statistics count, once."""
        for name, buffer in self.model.named_buffers():
            buffer.copy_(scores.buffers[name])


def _check_kinds(model: Any, optimizer: Any, loss_fn: Any, engine: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}: wrap what it does in one")
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer or None, got {type(optimizer).__name__}")
    if not callable(loss_fn):
        raise TypeError(f"loss_fn must be a function of (outputs, targets), got {type(loss_fn).__name__}")
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}; choose one of {', '.join(map(repr, ENGINES))}")


def _check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(p) in held for p in model.parameters() if p.requires_grad):
        raise ValueError(
            "the optimizer holds none of the model's trainable parameters: build it from model.parameters(), "
            "after the model was moved or replaced"
        )
