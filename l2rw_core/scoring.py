"""How well each training example's gradient agrees with the gradient of the clean loss.

The score of example i is ``u_i = < grad f_i(theta), grad f^v(theta) >``, where ``f^v`` is the mean loss of the
clean batch. It is equation (7) of Ren et al. (2018) up to a positive constant: at eps = 0 a plain gradient
look-ahead does not move theta, so the derivative of the clean loss with respect to eps_i is ``-alpha * u_i``
(Section 3.2, equation 12). The engines compute it exactly; they differ in cost and in what they ask of a model.

========== ============================================================ ==========================================
engine     what it does                                                  when to use it
========== ============================================================ ==========================================
forward    one pass on dual numbers: all u_i are a single directional    the default: fastest whose every step can be
           derivative of the training losses along the clean gradient    checked
two_pass   the same by PyTorch's own dual tensors, in a pass that        functions that hide their work from
           records no graph; then the ordinary training pass             `forward`: it is taken by itself then
reverse    differentiates a backward pass once more                      operators without a forward-mode rule
loop       an ordinary backward pass for each example                    the last resort: right for all that trains
ghost      a single backward pass gives alignments and the weighted       examples that never interact: a tenth faster,
           gradient, from what enters each layer and what comes back      with more memory
auto       `ghost` if examples do not interact at first, else `forward`   the same, where one does not know
lookahead  Algorithm 1 line by line, virtual step and all                the reference in tests and in teaching
difference the losses at two points along the clean gradient: u_i to     an approximation, where it is asked for: the
           about three digits                                             memory of plain training
========== ============================================================ ==========================================

A result is held against PyTorch's ordinary backward pass (see `l2rw_core.engines.identity`): an engine that has missed
something is left for the next one, with a warning.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.utils._pytree import tree_map_only

from l2rw_core.engines import difference, forward, ghost, lookahead, loop, reverse, two_pass
from l2rw_core.engines.dual import Recomputed
from l2rw_core.engines.identity import agree, inner_product, size, tolerance, uneven
from l2rw_core.engines.passes import (
    Batch,
    CleanGradient,
    LossFn,
    Passes,
    RandomState,
    Refused,
    Scores,
    Tensors,
    Untracked,
    hooks,
    is_unread,
    nodes,
    random_state,
    restore,
    uncompiled,
)
from l2rw_core.engines.precision import declared, lowest

Derivative = Callable[[Passes, Batch, Tensors], tuple[Tensor, Tensor, Tensors]]
Run = Callable[[Passes, Batch, Batch | CleanGradient, float], Scores]


class Engine(NamedTuple):
    """One way to compute alignments."""

    run: Run
    then: str | None
    """Which engine takes over where this one cannot follow a model or its slopes are off; None for the last resort."""
    off_by: float = 0.0
    """What the weighted slopes of an approximation may be off, relative to the sizes of their terms; 0 if exact."""


def along_the_clean_gradient(name: str, derivative: Derivative) -> Run:
    """The clean pass, then the derivative of the training losses along its gradient; the virtual step has no part."""

    def scores(passes: Passes, batch: Batch, clean_batch: Batch | CleanGradient, step_size: float = 1.0) -> Scores:
        clean = passes.clean_gradient(clean_batch)
        losses, u, buffers = derivative(passes, batch, clean.gradient)
        return Scores(losses, u, clean.loss, buffers, name)

    return scores


def _engine(name: str, module: Any, then: str | None) -> Engine:
    return Engine(along_the_clean_gradient(name, module.derivative), then, getattr(module, "TOLERANCE", 0.0))


ENGINES: dict[str, Engine] = {
    "forward": _engine("forward", forward, then="two_pass"),
    "two_pass": _engine("two_pass", two_pass, then="reverse"),
    "ghost": _engine("ghost", ghost, then="forward"),
    "reverse": _engine("reverse", reverse, then="loop"),
    "loop": _engine("loop", loop, then=None),
    "difference": _engine("difference", difference, then="forward"),
    "lookahead": Engine(lookahead.scores, then="reverse"),
}

AUTO = "auto"
"""The engine that suits the model: `ghost` if its examples do not interact, else `forward`.

It is not the default. What makes `ghost` fast, the gradient of the update from its own products, leaves nothing to hold
a step against. So examples that begin to interact later, for data of a certain kind, would be seen hundreds of steps
afterwards, and by `forward` at once.
"""

_log = logging.getLogger("l2rw_core")


def alignment(
    model: nn.Module,
    loss_fn: LossFn,
    batch: Batch,
    clean_batch: Batch,
    engine: str = "forward",
    step_size: float = 1.0,
    check: bool = True,
) -> tuple[Tensor, Tensor]:
    """Per-example training losses and their alignment with the clean gradient.

    Args:
        model: any module. Only parameters with ``requires_grad`` enter the inner product. Parameters, ``.grad``
            fields and buffers are left bit-identical, unless the model itself writes to a parameter, as an embedding
            with ``max_norm`` does.
        loss_fn: ``loss_fn(outputs, targets)`` of shape (n,), one loss per example, for example
            ``nn.CrossEntropyLoss(reduction="none")``.
        batch: ``(inputs, targets)`` of n training examples. Inputs are a tensor, or a tuple or a dict of tensors
            that is passed on as the model's positional or keyword arguments. Labels (n, ...) count the examples, or
            else the first dimension of the first tensor does.
        clean_batch: the same for m clean examples.
        engine: ``"auto"``, or one of the table above. Where an engine cannot follow the model, or its result does not
            pass the check, the next one takes over. ``"difference"`` is an approximation.
        step_size: alpha of the virtual step; only ``"lookahead"`` uses it, and the result does not depend on it.
        check: hold the result against one ordinary backward pass, see `l2rw_core.engines.identity`.

    Returns:
        ``(losses, u)``, both of shape (n,). ``losses`` keeps its graph: ``(to_weights(u) * losses).sum()`` can be
        differentiated without another forward pass, and more than once with any engine but `ghost`. ``u`` is detached,
        in units of squared loss per squared parameter.

    Raises:
        TypeError, ValueError: for an unknown engine, an empty batch, a label out of range, a loss that is not a finite
            vector of shape (n,) that depends on the parameters, a batch that the model or the loss cannot take (what
            they raised themselves is the cause of the error), or a model for which no engine passes the check.

    Source: equations (5) to (7) and (12); Algorithm 1, lines 4 to 10.
    """
    scores = score(model, loss_fn, batch, clean_batch, engine, step_size, check)
    return scores.losses, scores.alignment


def score(
    model: nn.Module,
    loss_fn: LossFn,
    batch: Batch,
    clean_batch: Batch | CleanGradient,
    engine: str = "forward",
    step_size: float = 1.0,
    check: bool = True,
) -> Scores:
    """As `alignment`, with everything else that a training step needs: see `Scores`.

    Where the clean gradient is known, it can be given in place of the clean batch, but not to ``"lookahead"``.
    """
    scoring = Scoring(model, loss_fn, batch, clean_batch, engine, step_size)
    scores = scoring.scores(check)
    scoring.warn(stacklevel=3)
    return scores


def clean_gradient(model: nn.Module, loss_fn: LossFn, clean_batch: Batch) -> CleanGradient:
    """Gradient of the mean clean loss; arguments and errors as in `alignment`, and nothing of the model changes."""
    passes = Passes(model, loss_fn, _seed())
    with torch.enable_grad():
        return passes.clean_gradient(clean_batch)


def directional_derivative(
    model: nn.Module, loss_fn: LossFn, batch: Batch, direction: Tensors
) -> tuple[Tensor, Tensor, Tensors]:
    """Derivative of every training loss along one direction in parameter space, in one forward pass on dual numbers.

    Where an operator has no forward-mode rule, a backward pass is differentiated instead: the same numbers, more time.

    Args:
        model, loss_fn, batch: as in `alignment`.
        direction: for each trainable parameter's name a tensor of its shape.

    Returns:
        ``(losses, u, buffers)``: the losses (n,) with their graph, ``u_i = < grad f_i, direction >`` (n,), detached,
        and what the model's buffers become if this pass counts.

    Raises:
        ValueError: if `direction` has not exactly the trainable parameters; otherwise as `alignment`.
    """
    scoring = Scoring(model, loss_fn, batch, CleanGradient(torch.zeros(()), direction, 0), "forward")
    if set(direction) != set(scoring.passes.parameters):
        raise ValueError("direction must have one tensor for each trainable parameter of the model, by name")
    scores = scoring.scores(check=False)
    return scores.losses, scores.alignment, scores.buffers


class Scoring:
    """One batch, scored by one engine after another, each from the same state, until a result can be relied on.

    Args:
        model, loss_fn, batch, clean_batch, engine, step_size: as in `score`.

    Raises:
        ValueError: for an unknown engine, or a model that cannot be scored.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn,
        batch: Batch,
        clean_batch: Batch | CleanGradient,
        engine: str = "forward",
        step_size: float = 1.0,
    ) -> None:
        check_engine(engine)
        if not step_size > 0:
            raise ValueError(f"step_size must be positive, got {step_size}")
        if engine == "lookahead" and isinstance(clean_batch, CleanGradient):
            raise ValueError('engine "lookahead" differentiates the clean loss itself: give it the clean batch')
        self.passes = Passes(model, loss_fn, _seed())
        self.batch, self.clean_batch = batch, clean_batch
        self.asked = engine
        self.engine = self._first() if engine == AUTO else engine
        self.step_size = step_size
        self._clean: CleanGradient | None = None
        self._state: RandomState | None = None
        self._ordinary: tuple[Tensor, Tensor, Tensors] | None = None
        self._copy: Batch | None = None
        self.looked = False
        """Whether the scores at hand were held against an ordinary backward pass of all losses."""
        self._reasons: list[tuple[str, str]] = []
        """Engine -> why it was left."""
        self._causes: list[str] = []

    def _first(self) -> str:
        """Half precision is too short for the signals of `ghost`, which no scaler makes larger."""
        return "forward" if self.passes.half else "ghost"

    def scores(self, check: bool) -> Scores:
        """By the engine at hand, or by the first one after it that can follow the model, and passes if asked to."""
        first = None
        with torch.enable_grad():
            while True:
                self.rewind()
                checked = check and self.engine != "ghost"  # that engine has a check of its own
                if checked and self._ordinary is None:
                    self._ordinary = self._ordinary_pass()
                    self.rewind()
                try:
                    scores = self._run()
                    off = self._off(scores) if checked else 0.0
                except torch.OutOfMemoryError as error:
                    if not (self.asked == AUTO and self.engine == "ghost"):
                        raise
                    self.leave(error)  # `forward` needs less
                    continue
                except Exception as error:
                    self.leave(error)
                    continue
                self.looked = checked
                if not off:
                    return scores
                first = first or scores
                if self.engine == "loop":
                    for overflown in (s for s in (first, scores) if not s.alignment.isfinite().all()):
                        self._reasons.clear()
                        return overflown  # that is for the rule to name
                self.reject(off, scores)

    def misfit(self, scores: Scores, r: Tensor, g: Tensors) -> float:
        """How far the slopes are from ``< g, v >``, g the gradient of ``sum_i r_i f_i``; 0 if no more than rounding.

        Relative to the sizes of the terms that are summed; infinite if one of them is not finite.
        """
        v, u, r = self.clean, scores.alignment.detach().double(), r.detach().to(scores.alignment.device, torch.float64)
        left, right, terms = r @ u, inner_product(g, v.gradient).double() / v.scale, r @ u.abs()
        if agree(left, right, terms, declared(self.passes)):
            return 0.0
        if not (left.isfinite() and right.isfinite()):
            return math.inf
        terms = torch.maximum(terms, size(g, v.gradient).double() / v.scale)
        off = (left - right).abs()
        if off <= ENGINES[self.engine].off_by * terms:
            return 0.0
        if off <= tolerance(self._lowest()) * terms:
            return 0.0
        if off <= 16 * self._noise(scores, r):
            return 0.0
        return float(off / terms)

    def misfit_of_all(self, scores: Scores) -> float:
        """`misfit` for a random combination of all losses: of a batch without weight no update's gradient says it."""
        r = uneven(len(scores.losses), self.passes.clean_seed).to(scores.losses)
        return self.misfit(scores, r, self._gradient(r, scores.losses))

    def reject(self, off: float, scores: Scores) -> None:
        """Leave an engine whose slopes are off, for the next one.

        Raises:
            ValueError: if there is none. Nothing has changed.
        """
        self._causes += likely_causes(self.passes.model, scores.losses)
        self._reasons.append((self.engine, _size_of(off)))
        successor = ENGINES[self.engine].then
        if successor is None:
            self.rewind()
            tried = "; ".join(f'"{engine}": {reason}' for engine, reason in self._reasons)
            raise ValueError(
                f"no engine finds weights that fit the gradient of the update ({tried}). {self._cause()} "
                "A hook that is not linear, such as one that clips a gradient, leaves no exact weights: take it out, "
                "and clip the gradients of the update"
            )
        self.engine = successor
        self.rewind()

    def warn(self, stacklevel: int) -> None:
        """Say, once, that another engine than the one that was asked for was used, and why."""
        reasons, self._reasons = self._reasons, []
        if not reasons:
            return
        _, reason = reasons[-1]
        _log.info("engine %r takes over from %r: %s", self.engine, self.asked, reason)
        if self.engine == "forward" and self.asked in (AUTO, "ghost"):
            return  # a model that `ghost` does not suit is no surprise
        off = any(reason.startswith(_OFF) for _, reason in reasons)
        same = "Its slopes are exact." if ENGINES[self.asked].off_by else "The same numbers, more time."
        fits = f" {self._cause()} Those of the new engine fit." if off else f" {same}"
        warnings.warn(
            f'{reason}; engine "{self.engine}" is used instead of "{self.asked}".{fits} '
            f'Ask for engine="{self.engine}" to say so yourself.',
            RuntimeWarning,
            stacklevel=stacklevel,
        )

    @property
    def clean(self) -> CleanGradient:
        """The clean gradient, from the random numbers of the clean pass, whichever engine runs."""
        if self._clean is None:
            with torch.enable_grad():
                clean = self.passes.clean_gradient(self.clean_batch)
            as_gradient = isinstance(self.clean_batch, CleanGradient)
            self._clean = clean.lengthened() if as_gradient and self.passes.half else clean
        return self._clean

    def _run(self) -> Scores:
        run = ENGINES[self.engine].run
        if self.engine == "lookahead":
            if self._copy is None:  # a model may change its inputs in place
                self._copy = tree_map_only(Tensor, torch.clone, self.clean_batch)
            _ = self.clean  # what the check needs comes from a pass of its own
            copy = tree_map_only(Tensor, torch.clone, self._copy)
            return run(self.passes, self.batch, copy, self.step_size)
        scores = run(self.passes, self.batch, self.clean, self.step_size)
        if isinstance(self.clean.scale, float) and self.clean.scale == 1:
            return scores
        u = scores.alignment
        return scores._replace(alignment=u.to(torch.promote_types(u.dtype, torch.float32)) / self.clean.scale)

    def rewind(self) -> None:
        """To the state before the training pass: random numbers and buffers; inputs see to themselves in `Passes`."""
        if self.engine != "lookahead":
            _ = self.clean
        if self._state is None:
            self._state = random_state(self.passes.device)
            return
        restore(self._state)
        self.passes.put_buffers_back()

    def leave(self, error: Exception) -> None:
        """Go on to the next engine after an error, or raise it where there is none: then it is the model's fault."""
        successor = ENGINES[self.engine].then
        if successor is None:
            raise error
        if self.engine == "forward" and isinstance(error, Untracked | Recomputed | NotImplementedError):
            successor = "reverse"  # PyTorch's own dual numbers have no slope there either
        self._reasons.append((self.engine, _reason(error)))
        self.engine = successor

    def _off(self, scores: Scores) -> float:
        """How far the scores are off for a random combination of all losses; 0 if no more than rounding."""
        assert self._ordinary is not None, "it comes before the engine's pass"
        r, losses, g = self._ordinary
        if self._equal(scores.losses, losses):
            return self.misfit(scores, r, g)
        after = random_state(self.passes.device)
        self.rewind()
        again, _ = self.passes.training(self.passes.parameters, self.batch)
        restore(after)
        if self._equal(again.detach(), losses):
            return math.inf  # a pass can be repeated, and that of the engine was another one
        return self.misfit(scores, r, self._gradient(r, scores.losses, retain_graph=True))

    def _equal(self, losses: Tensor, others: Tensor) -> bool:
        off = (losses.detach().double() - others.double()).abs().max() / others.double().abs().max().clamp(min=1e-300)
        return bool(off <= tolerance(declared(self.passes)) or off <= tolerance(self._lowest()))

    def _ordinary_pass(self) -> tuple[Tensor, Tensor, Tensors]:
        """Random weights, losses, and the gradient of the weighted losses, by the model as it is.

        It comes before the engine's pass, so that only one graph is in memory.
        """
        with uncompiled():
            losses, _ = self.passes.training(self.passes.parameters, self.batch)
        r = uneven(len(losses), self.passes.clean_seed).to(losses)
        return r, losses.detach(), self._gradient(r, losses)

    def _gradient(self, r: Tensor, losses: Tensor, **options: Any) -> Tensors:
        with torch.autocast(losses.device.type, enabled=False):
            return self.passes.gradient((r * losses).sum(), **options)

    def _lowest(self) -> torch.dtype:
        return lowest(self.passes, self.batch, self._state or [])

    def _noise(self, scores: Scores, r: Tensor) -> Tensor:
        """Rounding of ``sum_i r_i u_i``: by how much it differs when everything is computed for 4/3 of v.

        0 where the same v does not give the same slopes: then it is not rounding by which they differ.
        """
        u = scores.alignment.detach().double()
        same, longer = (r * (self._again(factor) - u) for factor in (1, 4 / 3))
        noise, strayed = (d.sum().abs() + d.norm() for d in (longer, same))
        return noise * (strayed <= noise / 4)

    def _again(self, factor: float) -> Tensor:
        """The slopes once more, computed along v times `factor`, and divided by it."""
        after, clean, step_size = random_state(self.passes.device), self.clean, self.step_size
        try:
            longer = {name: g * factor for name, g in clean.gradient.items()}
            self._clean, self.step_size = clean._replace(gradient=longer), step_size * factor
            restore(self._state or [])
            u = self._run().alignment.detach().double()
        finally:
            self._clean, self.step_size = clean, step_size
            restore(after)
        return u if self.engine == "lookahead" else u / factor

    def _cause(self) -> str:
        causes = ", ".join(dict.fromkeys(self._causes))
        return f"Likely cause: {causes or 'a function whose derivatives differ, forward and backward'}."


def check_engine(engine: Any) -> None:
    """ValueError for a name that no engine has."""
    if engine not in (AUTO, *ENGINES):
        raise ValueError(f"unknown engine {engine!r}; choose one of {', '.join(map(repr, (AUTO, *ENGINES)))}")


def _seed() -> int:
    return 0 if is_unread() else int(torch.randint(2**62, ()))


_OFF = "the slopes are off by "


def _size_of(off: float) -> str:
    return f"{_OFF}{off:.2g} of their size" if math.isfinite(off) else f"{_OFF}a number that is not finite"


def _reason(error: Exception) -> str:
    """Why an engine cannot follow, in words that fit into a sentence."""
    if isinstance(error, Refused) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the batch is not to blame where another engine takes it
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, Recomputed | Untracked):
        return text
    words = text.split()
    if "Trying" in words and "with" in words:  # PyTorch's error where an operator has no forward-mode rule
        return f"{words[words.index('with') + 1]} has no forward-mode derivative"
    if isinstance(error, NotImplementedError) and "forward" in text:
        return "a custom autograd.Function has no forward-mode derivative"
    return text.rstrip(".")


def likely_causes(model: nn.Module, losses: Tensor) -> list[str]:
    """What in a model, or in the graph of its losses, an engine may not see."""
    causes = hooks(model)
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        causes.append("a part that torch.jit has scripted")
    own = {id(p) for p in model.parameters()}
    for node in nodes(losses):
        name = type(node).__name__
        if isinstance(node, BackwardCFunction):
            causes.append(f"the custom autograd.Function {name.removesuffix('Backward')}")
        elif name.startswith("GeneratedBackwardFor_"):
            causes.append(f"the custom operator {name.removeprefix('GeneratedBackwardFor_')}")
        elif name == "DifferentiableGraphBackward":
            causes.append("a function that torch.jit has scripted")
        elif hasattr(node, "variable") and id(node.variable) not in own:
            causes.append("a parameter that is not the model's own")
    return causes
