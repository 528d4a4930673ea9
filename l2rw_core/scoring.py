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
two_pass   the same by PyTorch's own dual tensors, in a pass that        functions that hide their work from
           records no graph; then the ordinary training pass             `forward`: it is taken by itself then
reverse    differentiates a backward pass once more                      operators without a forward-mode rule
ghost      a single backward pass gives alignments and the weighted       examples that do not interact: less time,
           gradient, from what enters each layer and what comes back      twice the memory
lookahead  Algorithm 1 line by line, virtual step and all                the reference in tests and in teaching
========== ============================================================ ==========================================
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from l2rw_core.engines import forward, ghost, lookahead, reverse, two_pass
from l2rw_core.engines.dual import Recomputed, random_state, restore
from l2rw_core.engines.passes import Batch, CleanGradient, LossFn, Passes, Scores, Tensors, is_unread

Engine = Callable[[Passes, Batch, Batch | CleanGradient, float], Scores]

ENGINES: dict[str, Engine] = {
    "forward": forward.scores,
    "two_pass": two_pass.scores,
    "ghost": ghost.scores,
    "reverse": reverse.scores,
    "lookahead": lookahead.scores,
}

_SUCCESSORS: dict[str, tuple[tuple[type[Exception], str], ...]] = {
    "ghost": ((ghost.Unsuited, "forward"), (NotImplementedError, "reverse")),
    "forward": ((Recomputed, "reverse"), (Exception, "two_pass")),  # what is wrong with the model, two_pass will say
    "two_pass": ((NotImplementedError, "reverse"),),
}
"""Engine -> the kinds of error with which it says that it cannot, and which engine takes over then."""

_log = logging.getLogger("l2rw_core")


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
        engine: ``"forward"``, ``"two_pass"``, ``"ghost"``, ``"reverse"`` or ``"lookahead"``. Where ``"ghost"`` does not
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
    passes = Passes(model, loss_fn, 0 if is_unread() else int(torch.randint(2**62, ())))
    scores, reason = _scores(engine, passes, batch, clean_batch, step_size)
    if reason:
        warnings.warn(_takeover_message(reason), RuntimeWarning, stacklevel=3)
    return scores


def clean_gradient(model: nn.Module, loss_fn: LossFn, clean_batch: Batch) -> CleanGradient:
    """Gradient of the mean clean loss; arguments and errors as in `alignment`, and nothing of the model changes."""
    passes = Passes(model, loss_fn, int(torch.randint(2**62, ())))
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
    passes = Passes(model, loss_fn, 0)
    if set(direction) != set(passes.parameters):
        raise ValueError("direction must have one tensor for each trainable parameter of the model, by name")
    scores, _ = _scores("forward", passes, batch, CleanGradient(torch.zeros(()), direction, 0))
    return scores.losses, scores.alignment, scores.buffers


def _scores(
    engine: str, passes: Passes, batch: Batch, clean_batch: Batch | CleanGradient, step_size: float = 1.0
) -> tuple[Scores, str]:
    """By `engine`, or by what takes over from it; and what had no forward-mode derivative, if that is why."""
    asked, reason = engine, ""
    with torch.enable_grad():
        if engine != "lookahead":
            clean_batch = passes.clean_gradient(clean_batch)
        state = random_state(passes.device)
        while True:
            try:
                with _explained(engine, asked):
                    return ENGINES[engine](passes, batch, clean_batch, step_size), reason
            except Exception as error:
                successor = _successor(engine, error)
                if successor is None:
                    raise
                _log.info("engine %r takes over from %r: %s", successor, engine, error)
                engine, reason = successor, _without_forward_mode(error) if successor == "reverse" else ""
            restore(state)  # the same dropout masks


def _successor(engine: str, error: Exception) -> str | None:
    """Which engine takes over after this error; none where it is the model's fault, or its last chance."""
    for kind, successor in _SUCCESSORS.get(engine, ()):
        if isinstance(error, kind) and (successor != "reverse" or "forward" in str(error)):
            return successor
    return None


def _explained(engine: str, asked: str) -> AbstractContextManager[None]:
    if engine not in ("reverse", "lookahead"):
        return nullcontext()
    return _second_derivatives(engine, ', or try engine="forward"' if engine == asked else "")


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


def _without_forward_mode(error: Exception) -> str:
    """What has no forward-mode derivative, by the error that PyTorch or `Recomputed` made of it."""
    words = str(error).split()
    operator = words[words.index("with") + 1] if "Trying" in words else "a custom autograd.Function"
    return "activation checkpointing" if isinstance(error, Recomputed) else operator


def _takeover_message(operator: str) -> str:
    return (
        f'{operator} has no forward-mode derivative; engine "reverse" is used instead: the same numbers, more time. '
        'Ask for engine="reverse" to say so yourself.'
    )
