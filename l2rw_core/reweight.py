"""One reweighted training step for any model, loss and optimizer."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import torch
from torch import Tensor, nn

from l2rw_core.engines.passes import Batch, CleanGradient, LossFn, check_bare, makeup, repeating, write_buffers
from l2rw_core.health import Health
from l2rw_core.scoring import AUTO, Scores, Scoring, check_engine
from l2rw_core.weights import Step, as_ids, positive_part, scaled

CHECKS = ("every", "first")

_log = logging.getLogger("l2rw_core")


class Reweighter:
    """Trains a model on weighted batches: each step weighs its examples anew by the clean batch (Algorithm 1).

    Args:
        model: any module, trained in place, in the mode that it is in: in eval mode normalisation goes by its running
            statistics, which stay as they are, and dropout is off.
        optimizer: any optimizer over the model's parameters; momentum, decay and schedules live here and have no part
            in the weights. ``None`` if only `loss` is used.
        loss_fn: ``loss_fn(outputs, targets)`` of shape (n,).
        engine: see ``l2rw_core.scoring``. If it cannot follow the model, or its slopes do not fit the gradient, the
            next one takes over on the same batch and stays, with one warning that names the reason. ``"auto"`` takes
            ``"ghost"`` if it is right for the first batch, else ``"forward"``, and chooses again whenever model, mode,
            loss or trained parameters have changed.
        warmup: calls of `step` or `loss` at the beginning in which every example has the weight 1/n: plain training.
            The alignments are computed all the same, so that a `Step` holds what it always holds and a ledger misses
            nothing; such a call therefore costs as much as any other.
        every: the clean gradient serves this many steps: cheaper by a clean pass in all but one of them, and no longer
            exact, since the parameters move on. The first clean batch of each group of steps is looked at. With 2 a
            LeNet lost about a point of accuracy, with 5 most trials ended at chance (`benchmarks.approximate`).
        check: the weights are held against PyTorch's own gradient of the update, see `l2rw_core.engines.identity`:
            ``"every"`` step, at the price of one inner product, and more thoroughly at the first one and whenever
            model, mode, loss or trained parameters have changed or a batch gets no weight, which saves a backward pass;
            or at the first step and at changes alone (``"first"``).

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
        check: str = "every",
        every: int = 1,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.engine = engine
        self.warmup = warmup
        self.check = check
        self.every = every
        self._clean: CleanGradient | None = None
        self.steps = 0
        """Calls of `step` and `loss` so far, failed ones not counted; the warm-up goes by it."""
        self.last: Step | None = None
        """The most recent step, also after `loss`."""
        self.health: Health | None = Health()
        """Warns of what looks wrong, through the logger ``l2rw_core``; None to be left alone."""
        self._checked: Any = None
        _check_kinds(model, optimizer, loss_fn)
        if check not in CHECKS:
            raise ValueError(f"check must be one of {', '.join(map(repr, CHECKS))}, got {check!r}")
        if not (warmup >= 0 and warmup % 1 == 0):  # a share of training, such as 0.1, would be a single step
            raise ValueError(f"warmup must be a whole number of steps, at least 0, got {warmup}")
        if not (every >= 1 and every % 1 == 0):
            raise ValueError(f"every must be a whole number of steps, at least 1, got {every}")
        if every > 1 and engine == "lookahead":
            raise ValueError('engine "lookahead" looks at a clean batch in each step: leave every at 1')
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
        scoring = self._scoring(batch, clean_batch)
        if self.health is not None and not self.steps:
            _tell_what_stays(self.model, self.optimizer)
        before = [(p, p.grad) for p in self._reached()]
        try:
            while True:
                loss, scores, step = self._weigh(scoring, ids)
                for p, _ in before:
                    p.grad = None
                if step.effective_examples:
                    self._write_buffers(scores)
                if self._fits(scoring, scores, step, loss):
                    break
        except BaseException:
            scoring.passes.put_buffers_back()
            for p, gradient in before:
                p.grad = gradient
            raise
        of_optimizer = {id(p) for p in _held(self.optimizer)}
        for p, gradient in before:
            if id(p) not in of_optimizer:
                p.grad = gradient
        if step.effective_examples:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._done(step, scoring, scores, batch, clean_batch)
        return step

    def loss(self, batch: Batch, clean_batch: Batch, ids: Any = None) -> Tensor:
        """The weighted loss of `batch`, a scalar to call ``backward()`` on, for trainers that own backward and step.

        Followed by ``backward()`` and the optimizer's ``step()`` it gives the same parameters as `step`. For an
        all-zero batch the scalar reaches no parameter: with ``zero_grad(set_to_none=True)``, the default, gradients
        stay ``None`` and the optimizer leaves the model alone, momentum and decay included. A gradient scaler wants at
        least one gradient: leave its step and its update out where every ``.grad`` is ``None``. Where activation
        checkpointing repeats attention, ``backward()`` belongs under ``sdpa_kernel(SDPBackend.MATH)`` of
        `torch.nn.attention`; `step` does that itself.
        """
        scoring = self._scoring(batch, clean_batch)
        loss, scores, step = self._weigh(scoring, ids)
        if step.effective_examples:
            self._write_buffers(scores)
        self._done(step, scoring, scores, batch, clean_batch)
        return loss if step.effective_examples else torch.zeros_like(loss, requires_grad=True)

    def state_dict(self) -> dict[str, Any]:
        """What training goes on from, beside the states of model and optimizer: steps so far, and the engine in use.

        A clean gradient that serves several steps (`every`) is not in it: the first step afterwards makes a new one.
        """
        return {"steps": self.steps, "engine": AUTO if self._chooses else self.engine}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken.

        Raises:
            ValueError: if this is no such state; nothing has changed then.
        """
        steps, engine = state.get("steps"), str(state.get("engine"))
        if state.keys() != {"steps", "engine"} or not isinstance(steps, int) or steps < 0:
            raise ValueError(f"this is no state of a Reweighter, it holds {', '.join(map(str, state)) or 'nothing'}")
        check_engine(engine)
        self.steps, self.engine = steps, engine

    @property
    def engine(self) -> str:
        """The engine in use: the one that was asked for, or what has taken its place (after the first step)."""
        return self._engine

    @engine.setter
    def engine(self, engine: str) -> None:
        check_engine(engine)
        self._engine, self._chooses = engine, engine == AUTO

    def _scoring(self, batch: Batch, clean_batch: Batch) -> Scoring:
        if self._chooses and self._checked != self._setting():
            self._engine = AUTO
        return Scoring(self.model, self.loss_fn, batch, self._still(clean_batch), self._engine)

    def _still(self, clean_batch: Batch) -> Batch | CleanGradient:
        """The clean gradient of an earlier step, while it serves."""
        if self._clean is None or self.steps % self.every == 0 or self._checked != self._setting():
            return clean_batch
        return self._clean

    def _weigh(self, scoring: Scoring, ids: Any) -> tuple[Tensor, Scores, Step]:
        scores = self._scores(scoring)
        weights = scaled(self._unscaled(scores.alignment))
        ids = None if ids is None else as_ids(ids, len(weights))
        with torch.enable_grad():
            loss = (weights * scores.losses).sum()
        losses = scores.losses.detach()
        step = Step(loss.detach(), weights, scores.alignment, losses, scores.clean_loss, ids, scores.engine)
        return loss, scores, step

    def _scores(self, scoring: Scoring) -> Scores:
        """Checked thoroughly where that was not done since something changed on which an engine may depend."""
        return scoring.scores(check=self._checked != self._setting())

    def _setting(self) -> Any:
        trained = tuple(id(p) for p in self.model.parameters() if p.requires_grad)
        autocast = [torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) for kind in ("cpu", "cuda")]
        return self._engine, makeup(self.model), id(self.loss_fn), trained, autocast

    def _unscaled(self, u: Tensor) -> Tensor:
        """(n,) weights before they are scaled to sum to 1: equal ones during the warm-up."""
        positive = positive_part(u)
        return torch.ones_like(positive) if self.steps < self.warmup else positive

    def _done(self, step: Step, scoring: Scoring, scores: Scores, batch: Batch, clean_batch: Batch) -> None:
        scoring.warn(stacklevel=4)
        if scores.engine != self._engine:
            _log.info("engine %r computes the weights", scores.engine)
            self._engine = scores.engine
        self._checked = self._setting()
        self._clean = scoring.clean if self.every > 1 else None
        self.steps += 1
        self.last = step
        if self.health is not None:
            self.health.on_step(step, batch[1], clean_batch[1], self.model.training)

    def _reached(self) -> list[Tensor]:
        """What an update's backward pass gives a gradient: what the optimizer holds, and what else the model trains."""
        of_optimizer = [] if self.optimizer is None else _held(self.optimizer)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return list({id(p): p for p in (*of_optimizer, *trained)}.values())

    def _fits(self, scoring: Scoring, scores: Scores, step: Step, loss: Tensor) -> bool:
        """Make the gradients of the update; False if the weights do not fit them, so that the next engine has its turn.

        Raises:
            ValueError: if they do not, and there is no further engine.
        """
        try:
            with repeating(scores.engine):
                off = self._misfit(scoring, scores, step, loss)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # the engine has used up what can be differentiated only once
            scoring.leave(error)
            scoring.rewind()
            return False
        if off:
            scoring.reject(off, scores)
        return not off

    def _misfit(self, scoring: Scoring, scores: Scores, step: Step, loss: Tensor) -> float:
        """Of the gradients of the update, which are made here; a batch without weight has none, and is looked at too.

        What an engine has missed may be all that would have been positive.
        """
        checked = self.check == "every" and scores.engine != "ghost"
        if not step.effective_examples:
            return scoring.misfit_of_all(scores) if checked and not scoring.looked else 0.0
        self._backward(loss)
        trained = scoring.passes.parameters
        if not checked or any(p._post_accumulate_grad_hooks for p in trained.values()):
            return 0.0
        g = {name: p.grad for name, p in trained.items() if p.grad is not None}
        return scoring.misfit(scores, step.weights, g)

    def _backward(self, loss: Tensor) -> None:
        """Gradients of what the optimizer holds or the model trains; those of other tensors would add up."""
        inputs = [p for p in self._reached() if p.requires_grad]
        with torch.autocast(loss.device.type, enabled=False):
            loss.backward(inputs=inputs)

    def _write_buffers(self, scores: Scores) -> None:
        """The training pass that was scored is the one that is learned from: its running statistics count, once."""
        write_buffers(self.model, scores.buffers, self.loss_fn)


def _check_kinds(model: Any, optimizer: Any, loss_fn: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}: wrap what it does in one")
    check_bare(model)
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer or None, got {type(optimizer).__name__}")
    if not callable(loss_fn):
        raise TypeError(f"loss_fn must be a function of (outputs, targets), got {type(loss_fn).__name__}")


def _held(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _check_held(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    of_optimizer = {id(p) for p in _held(optimizer)}
    if not any(id(p) in of_optimizer for p in model.parameters() if p.requires_grad):
        raise ValueError(
            "the optimizer holds none of the model's trainable parameters: build it from model.parameters(), "
            "after the model was moved or replaced, or unfreeze what it holds"
        )


def _tell_what_stays(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Say which trainable parameters a step does not move: the weights would be those of another training."""
    held = {id(p) for p in _held(optimizer)}
    others = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if others:
        _log.warning(
            "the optimizer does not hold all that requires a gradient (%d parameters, %s for one): these count in the "
            "weights and are never updated. Freeze them with requires_grad_(False), or give them to the optimizer",
            len(others),
            others[0],
        )


def _check_closure(optimizer: torch.optim.Optimizer) -> None:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"{type(optimizer).__name__} evaluates the loss several times a step, and the weights hold for one point: "
            "take an optimizer whose step() needs no closure"
        )
