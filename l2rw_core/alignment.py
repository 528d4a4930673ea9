"""How well each training example's gradient agrees with the gradient of the clean loss.

The score of example i is ``u_i = < grad f_i(theta), grad f^v(theta) >``, where ``f^v`` is the mean loss of the
clean batch. It is equation (7) of Ren et al. (2018) up to a positive constant: at eps = 0 a plain gradient
look-ahead does not move theta, so the derivative of the clean loss with respect to eps_i is ``-alpha * u_i``
(Section 3.2, equation 12). The engines compute it exactly; they differ in cost and in what they ask of a model.

========== ============================================================ ==========================================
engine     what it does                                                  when to use it
========== ============================================================ ==========================================
forward    one pass on dual numbers: all u_i are a single directional    the default: fastest
           derivative of the training losses along the clean gradient
dual       the same by PyTorch's own dual tensors, which record a        functions that hide their work from
           graph for the slopes: three times the memory and more         `forward`: it is taken by itself then
reverse    differentiates a backward pass once more                      operators without a forward-mode rule
ghost      a single backward pass gives alignments and the weighted       examples that do not interact: less time,
           gradient, from what enters each layer and what comes back      twice the memory
lookahead  Algorithm 1 line by line, virtual step and all                the reference in tests and in teaching
========== ============================================================ ==========================================
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from l2rw_core.dual import (
    Dual,
    Recomputed,
    check_not_recomputed,
    nothing_recomputed,
    random_state,
    restore,
    unpack,
)
from l2rw_core.ghost import Tape, Unsuited
from l2rw_core.passes import Batch, CleanGradient, LossFn, Passes, Tensors, check_batch, is_unread

with warnings.catch_warnings():
    # The first dual number makes PyTorch load rules that it compiles with its own deprecated torch.jit.script.
    warnings.simplefilter("ignore")
    with forward_ad.dual_level():
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))


_log = logging.getLogger("l2rw_core")


class Scores(NamedTuple):
    """What one scoring of a batch yields; n is the number of training examples."""

    losses: Tensor
    """(n,) training losses f_i, attached to the graph, so that a weighted sum of them can be differentiated."""
    alignment: Tensor
    """(n,) scores u_i, detached."""
    clean_loss: Tensor
    """() mean loss of the clean batch, detached."""
    buffers: Tensors
    """What the model's buffers (running statistics) become if this training pass counts; not yet written."""
    engine: str
    """The engine that was used."""


def alignment(
    model: nn.Module,
    loss_fn: LossFn,
    batch: Batch,
    clean_batch: Batch,
    engine: str = "forward",
    step_size: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Per-example training losses and their alignment with the clean gradient.

    Args:
        model: any module. Only parameters with ``requires_grad`` enter the inner product. Parameters, ``.grad``
            fields and buffers are left bit-identical, unless the model itself writes to a parameter, as an embedding
            with ``max_norm`` does.
        loss_fn: ``loss_fn(outputs, targets)`` of shape (n,), one loss per example, for example
            ``nn.CrossEntropyLoss(reduction="none")``.
        batch: ``(inputs, targets)`` of n training examples. Inputs are a tensor, or a tuple or a dict of tensors
            that is passed on as the model's positional or keyword arguments; the first dimension counts examples.
        clean_batch: the same for m clean examples.
        engine: ``"forward"``, ``"dual"``, ``"ghost"``, ``"reverse"`` or ``"lookahead"``. Where ``"ghost"`` does not
            suit the model, ``"forward"`` is used.
        step_size: alpha of the virtual step; only ``"lookahead"`` uses it, and the result does not depend on it.

    Returns:
        ``(losses, u)``, both of shape (n,). ``losses`` keeps its graph: ``(to_weights(u) * losses).sum()`` can be
        differentiated without another forward pass. ``u`` is detached, in units of squared loss per squared parameter.

    Raises:
        TypeError, ValueError: for an unknown engine, an empty batch, a label out of range, a loss that is not a finite
            vector of shape (n,) that depends on the parameters, or a batch that the model or the loss cannot take; what
            they raised themselves is the cause of the error.

    Source: equations (5) to (7) and (12); Algorithm 1, lines 4 to 10.
    """
    scores = score(model, loss_fn, batch, clean_batch, engine, step_size)
    return scores.losses, scores.alignment


def score(
    model: nn.Module,
    loss_fn: LossFn,
    batch: Batch,
    clean_batch: Batch | CleanGradient,
    engine: str = "forward",
    step_size: float = 1.0,
) -> Scores:
    """As `alignment`, with everything else that a training step needs: see `Scores`.

    Where the clean gradient is known, it can be given in place of the clean batch, but not to ``"lookahead"``.
    """
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}; choose one of {', '.join(map(repr, ENGINES))}")
    if engine == "lookahead" and isinstance(clean_batch, CleanGradient):
        raise ValueError('engine "lookahead" differentiates the clean loss itself: give it the clean batch')
    passes = Passes(model, loss_fn, 0 if is_unread() else int(torch.randint(2**62, ())))
    with torch.enable_grad():
        if engine in ("reverse", "lookahead"):
            with _second_derivatives(engine, ', or try engine="forward"'):
                return ENGINES[engine](passes, batch, clean_batch, step_size)
        try:
            with nothing_recomputed():
                return ENGINES[engine](passes, batch, clean_batch, step_size)
        except NotImplementedError as error:
            if "forward" not in str(error):
                raise
            reason = error
        with _second_derivatives("reverse"):
            scores = _reverse(passes, batch, clean_batch, step_size)
        warnings.warn(_fallback_message(reason), RuntimeWarning, stacklevel=3)
        return scores


def clean_gradient(model: nn.Module, loss_fn: LossFn, clean_batch: Batch) -> CleanGradient:
    """Gradient of the mean clean loss; arguments and errors as in `alignment`, and nothing of the model changes."""
    passes = Passes(model, loss_fn, int(torch.randint(2**62, ())))
    with torch.enable_grad():
        loss, gradient = passes.clean_gradient(clean_batch)
    return CleanGradient(loss, gradient, check_batch(clean_batch, "clean")[2])


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
    passes = Passes(model, loss_fn, 0)
    if set(direction) != set(passes.parameters):
        raise ValueError("direction must have one tensor for each trainable parameter of the model, by name")
    try:
        with nothing_recomputed():
            return _derivative(passes, batch, direction)[:3]
    except NotImplementedError as error:
        if "forward" not in str(error):
            raise
    with _second_derivatives("reverse"):
        return _reverse_pass(passes, batch, direction)


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Run a model that `torch.compile` has compiled as it was written: compiled code takes no dual numbers."""
    if "torch._dynamo" in sys.modules and not torch.compiler.is_compiling():
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield


@contextmanager
def _plain_operators() -> Iterator[None]:
    """Without what has no slope and cannot be differentiated twice: fused attention, and compiled code."""
    with sdpa_kernel(SDPBackend.MATH), _uncompiled():
        yield


def _dual_pass(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    with _plain_operators():
        duals = {name: Dual(p, v[name]) for name, p in passes.parameters.items()}
        losses, buffers = passes.training(duals, batch)  # f(theta + h v) = f(theta) + h u + O(h^2)
        losses, u = unpack(losses)
    return losses, u, buffers


def _torch_dual_pass(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    """The same by PyTorch's dual tensors: they see into every function, and record a graph that nobody needs."""
    with forward_ad.dual_level(), _plain_operators(), _TorchDuals():
        duals = {name: forward_ad.make_dual(p, v[name]) for name, p in passes.parameters.items()}
        losses, buffers = passes.training(duals, batch)
        losses, u = forward_ad.unpack_dual(losses)
        u = torch.zeros_like(losses) if u is None else u
    return losses, u.detach(), buffers


class _TorchDuals(TorchFunctionMode):
    """What PyTorch's dual tensors need beside them."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        check_not_recomputed()
        out = func(*args, **(kwargs or {}))
        return self._embedding(out, *args, **(kwargs or {})) if func is F.embedding else out

    def _embedding(
        self, out: Tensor, input: Tensor, weight: Tensor, padding_idx: int | None = None, *rest: Any, **options: Any
    ) -> Tensor:
        """The row of the padding is not trained. PyTorch's forward mode gives it the slope of its weight."""
        primal, tangent = forward_ad.unpack_dual(out)
        if padding_idx is None or tangent is None:
            return out
        padding = (input == padding_idx % len(weight)).unsqueeze(-1)
        return forward_ad.make_dual(primal, tangent.masked_fill(padding, 0))


def _derivative(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors, str]:
    state = random_state(passes.device)
    try:
        return *_dual_pass(passes, batch, v), "forward"
    except Recomputed:
        raise
    except Exception as error:  # what is wrong with the model itself is raised again below
        restore(state)
        _log.info('engine "dual" takes over from "forward": %s', error)
    return *_torch_dual_pass(passes, batch, v), "dual"


def _forward(passes: Passes, batch: Batch, clean_batch: Batch, _: float) -> Scores:
    clean_loss, v = passes.clean_gradient(clean_batch)
    losses, u, buffers, engine = _derivative(passes, batch, v)
    return Scores(losses, u, clean_loss, buffers, engine)


def _dual(passes: Passes, batch: Batch, clean_batch: Batch, _: float) -> Scores:
    clean_loss, v = passes.clean_gradient(clean_batch)
    losses, u, buffers = _torch_dual_pass(passes, batch, v)
    return Scores(losses, u, clean_loss, buffers, "dual")


def _ghost(passes: Passes, batch: Batch, clean_batch: Batch, _: float) -> Scores:
    clean_loss, v = passes.clean_gradient(clean_batch)
    state = random_state(passes.device)
    try:
        _check_independent(passes, batch, v)
        losses, u, buffers = _ghost_pass(passes, batch, v)
    except Unsuited:
        restore(state)
        losses, u, buffers, engine = _derivative(passes, batch, v)
        return Scores(losses, u, clean_loss, buffers, engine)
    return Scores(losses, u, clean_loss, buffers, "ghost")


def _ghost_pass(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    tape = Tape(check_batch(batch, "training")[2], passes.device)
    with _uncompiled():
        losses, buffers = passes.training(tape.parameters(passes.parameters), batch)
    tape.propagate(losses)
    with torch.no_grad():
        u = tape.alignment(v)
    return tape.attached(losses, passes.parameters), u, buffers


_INDEPENDENT: WeakKeyDictionary[nn.Module, dict[Any, bool]] = WeakKeyDictionary()
"""Model -> whether its examples do not interact, for each way in which its parts train, as far as that was tried."""


def _check_independent(passes: Passes, batch: Batch, v: Tensors) -> None:
    """Try it on the first batch that a model scores, in full precision: with examples that interact, engines differ."""
    known = _INDEPENDENT.setdefault(passes.model, {})
    modes = tuple(module.training for module in passes.model.modules()), tuple(passes.parameters)
    if modes not in known:
        state = random_state(passes.device)
        with torch.autocast(passes.device.type, enabled=False):
            _, ghost, _ = _ghost_pass(passes, batch, v)
            restore(state)
            _, exact, *_ = _derivative(passes, batch, v)
        restore(state)
        tolerance = torch.finfo(exact.dtype).eps ** 0.5 * exact.abs().max()
        independent = bool((ghost - exact).abs().max() <= tolerance)
        if len(exact) == 1:  # a single example has nothing to interact with
            if not independent:
                raise Unsuited("the example acts on itself")
            return
        known[modes] = independent
    if not known[modes]:
        raise Unsuited("the examples of a batch interact")


def _reverse(passes: Passes, batch: Batch, clean_batch: Batch, _: float) -> Scores:
    clean_loss, v = passes.clean_gradient(clean_batch)
    losses, u, buffers = _reverse_pass(passes, batch, v)
    return Scores(losses, u, clean_loss, buffers, "reverse")


def _reverse_pass(passes: Passes, batch: Batch, v: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    with _plain_operators():
        losses, buffers = passes.training(passes.parameters, batch)
        s = torch.zeros_like(losses, requires_grad=True)
        g = passes.gradient(losses, grad_outputs=s, create_graph=True)  # g(s) = sum_i s_i grad f_i, linear in s
        inner = sum((g[name] * v[name]).sum() for name in g)
        (u,) = torch.autograd.grad(inner, s)  # d <g(s), v> / d s_i = <grad f_i, v>
    return losses, u.detach(), buffers


def _lookahead(passes: Passes, batch: Batch, clean_batch: Batch, step_size: float) -> Scores:
    if not step_size > 0:
        raise ValueError(f"step_size must be positive, got {step_size}")
    theta = passes.parameters
    with _plain_operators():
        losses, buffers = passes.training(theta, batch)  # line 4
        eps = torch.zeros_like(losses, requires_grad=True)
        weighted = (eps * losses).sum()  # line 5
        step = passes.gradient(weighted, create_graph=True)  # line 6: zero in value, but not its graph
        theta_hat = {name: p - step_size * step[name] if name in step else p for name, p in theta.items()}  # line 7
        clean_loss = passes.clean_loss(theta_hat, clean_batch)  # lines 8 and 9
        (d_eps,) = torch.autograd.grad(clean_loss, eps, materialize_grads=True)  # line 10
    return Scores(losses, -d_eps.detach() / step_size, clean_loss.detach(), buffers, "lookahead")


ENGINES: dict[str, Callable[[Passes, Batch, Batch, float], Scores]] = {
    "forward": _forward,
    "dual": _dual,
    "ghost": _ghost,
    "reverse": _reverse,
    "lookahead": _lookahead,
}


@contextmanager
def _second_derivatives(engine: str, or_else: str = "") -> Iterator[None]:
    """One error where PyTorch finds that a backward pass has no derivative; `or_else` ends the remedy."""
    try:
        yield
    except RuntimeError as error:
        said = str(error)
        if not isinstance(error, NotImplementedError) and not ("derivative for" in said and "not implemented" in said):
            raise
        raise ValueError(
            f'engine "{engine}" has to differentiate a backward pass, and a part of the model does not allow it: '
            f"{said}. Write that part with other operators, "
            f"as nn.Embedding and a sum in place of nn.EmbeddingBag{or_else}"
        ) from error


def _fallback_message(error: NotImplementedError) -> str:
    words = str(error).split()
    operator = words[words.index("with") + 1] if "Trying" in words else "a custom autograd.Function"
    operator = "activation checkpointing" if isinstance(error, Recomputed) else operator
    return (
        f'{operator} has no forward-mode derivative; engine "reverse" is used instead: the same numbers, more time. '
        'Ask for engine="reverse" to say so yourself.'
    )
