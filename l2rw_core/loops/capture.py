"""A reweighted step that a GPU records once and then replays, as a CUDA graph.

A small network keeps a GPU waiting: starting an operation takes longer than running it. A graph starts them all at
once. What is recorded may not depend on a value that the processor has to look at first, so `steady_step` decides on
the device what `Reweighter.step` decides on the processor: whether a batch has any weight, and whether its numbers are
finite. Where the answer is no, it puts everything back.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map_only

from l2rw_core.engines.identity import inner_product
from l2rw_core.engines.identity import size as size_of
from l2rw_core.engines.passes import Batch, Scores, buffer_places, check_batch, makeup, random_state, restore, unread
from l2rw_core.health import LOOK_EVERY
from l2rw_core.reweight import Reweighter
from l2rw_core.scoring import Scoring
from l2rw_core.weights import Step, as_ids, positive_part, scaled


class CapturedStep:
    """Makes the steps of a `Reweighter` from a recording, for small networks on a GPU.

    The first steps run as ever, with every check. Then one is recorded, and the steps after it replay the recording:
    the same weights and parameters, up to the order in which a GPU adds. A batch of another size, such as the last one
    of an epoch, runs as ever. When the learning rate or another setting of the optimizer changes, or the model's mode,
    the step is recorded anew, so a rate that changes at every step leaves nothing to gain.

    A replay cannot raise an error. A batch whose losses or alignments are not finite changes nothing, and is reported
    by `look`, which runs by itself every hundred steps.

    On a CPU there is nothing to record: the step that would be recorded runs. Off by default, and not yet measured on
    a GPU: compare the time of your own steps.

    Args:
        reweighter: whose steps are made. Its loss function and its model must not draw random numbers (no dropout), or
            look at values in Python: a recording would repeat what they did.
        eager: steps that run as ever before one is recorded, at least 1. Only steps that moved the model count.

    Raises:
        TypeError: for a `DistributedReweighter`, whose processes have to talk to each other.
        ValueError: if the reweighter has no optimizer, `eager` is below 1, the engine is ``"lookahead"``, or the
            optimizer counts its steps on the processor: give it ``capturable=True``.

    Example::

        step = CapturedStep(Reweighter(model, optimizer, loss_fn))
        for batch in loader:
            step(batch, clean_batch)
    """

    def __init__(self, reweighter: Reweighter, eager: int = 3) -> None:
        if type(reweighter) is not Reweighter:
            raise TypeError(f"reweighter must be a Reweighter, and no other kind, got {type(reweighter).__name__}")
        if reweighter.optimizer is None:
            raise ValueError("a captured step needs an optimizer: give one to Reweighter")
        if reweighter.engine == "lookahead":
            raise ValueError('engine "lookahead" looks at values; choose "forward"')
        if eager < 1:
            raise ValueError(f"eager must be at least 1, got {eager}")
        self.reweighter = reweighter
        self.eager = eager
        self._moved = 0
        self._settings: Any = None
        self._sizes: Any = None
        self._replay: Callable[[Batch, Batch], tuple[Step, Tensor]] | None = None
        self._unsound: Tensor | None = None
        self._unseen = 0
        _check_capturable(reweighter)

    def __call__(self, batch: Batch, clean_batch: Batch, ids: Any = None) -> Step:
        """One step, as `Reweighter.step`.

        Raises:
            ValueError: as `Reweighter.step` in a step that is not replayed; or as `check`, every hundred steps; or if
                the model draws random numbers.
        """
        r = self.reweighter
        ids = None if ids is None else as_ids(ids, check_batch(batch, "training").n)
        sizes = _sizes(batch, clean_batch)
        if self._moved < self.eager or r.steps < r.warmup or (self._sizes is not None and sizes != self._sizes):
            return self._eager_step(batch, clean_batch, ids)
        settings = _settings(r)
        if self._replay is None or settings != self._settings:
            self._replay, self._settings, self._sizes = _recorded(r, batch, clean_batch), settings, sizes
        step, sound = self._replay(batch, clean_batch)
        step = replace(step, ids=ids)
        r.steps += 1
        r.last = step
        if r.health is not None:
            r.health.on_step(step, batch[1], clean_batch[1], r.model.training)
        self._note(sound)
        return step

    def check(self) -> None:
        """Check that all replayed steps since the last check were sound.

        Raises:
            ValueError: if losses or alignments were NaN or infinite, or did not fit the gradients. These steps changed
                nothing.
        """
        unsound, unseen = 0 if self._unsound is None else int(self._unsound), self._unseen
        self._unsound, self._unseen = None, 0
        if unsound:
            raise ValueError(
                f"losses or alignments were NaN or infinite, or did not fit the gradient, in {unsound} of the last "
                f"{unseen} steps, which changed nothing: look for bad inputs there, or lower the learning rate; "
                "Reweighter.step names the example"
            )

    def _eager_step(self, batch: Batch, clean_batch: Batch, ids: Any) -> Step:
        if self._moved == 0:
            _check_draws_nothing(self.reweighter, batch, clean_batch)
        step = self.reweighter.step(batch, clean_batch, ids)
        self._moved += bool(step.effective_examples)
        return step

    def _note(self, sound: Tensor) -> None:
        self._unsound = ~sound + (0 if self._unsound is None else self._unsound)
        self._unseen += 1
        if self._unseen == LOOK_EVERY:
            self.check()


def steady_step(reweighter: Reweighter, batch: Batch, clean_batch: Batch) -> tuple[Step, Tensor]:
    """One step of a reweighter in which the processor looks at no value.

    Model and optimizer end where `Reweighter.step` leaves them. To be able to put them back, it copies them first: as
    much memory again as parameters and the optimizer's state take. The optimizer must have made a step before, so that
    its state is there.

    Returns:
        The step; and () bool, whether losses and alignments are finite. If not, nothing has changed.
    """
    r = reweighter
    with unread():
        scoring = Scoring(r.model, r.loss_fn, batch, clean_batch, r.engine)
        scores = scoring.scores(check=False)
    losses = scores.losses.detach()
    positive = positive_part(scores.alignment, checked=False)
    weights = scaled(positive)
    sound = scores.alignment.isfinite().all() & losses.isfinite().all() & scores.clean_loss.isfinite()
    loss = (weights * scores.losses).sum()
    tensors = _held(r)
    before = [t.detach().clone() for t in tensors]
    r.optimizer.zero_grad(set_to_none=True)
    r._backward(loss)
    sound = sound & _fit(weights, scores, scoring)
    moves = sound & (positive.sum() > 0)
    r.optimizer.step()
    r._write_buffers(scores)
    r.optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        for t, old in zip(tensors, before, strict=True):
            t.copy_(torch.where(moves.to(t.device), t, old))
    return Step(loss.detach(), weights, scores.alignment, losses, scores.clean_loss, None, scores.engine), sound


COARSE = 0.1
"""What slopes may be off in a recorded step, relative to the terms that are summed: it cannot look closer."""


def _fit(weights: Tensor, scores: Scores, scoring: Scoring) -> Tensor:
    """() bool: whether the weights fit the gradients of the update, see `l2rw_core.engines.identity`."""
    parameters, v = scoring.passes.parameters, scoring.clean
    g = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    if scores.engine == "ghost" or not g:
        return torch.ones((), dtype=torch.bool, device=weights.device)
    left, terms = weights @ scores.alignment, weights @ scores.alignment.abs()
    right, size = inner_product(g, v.gradient) / v.scale, size_of(g, v.gradient) / v.scale
    return (left - right).abs() <= COARSE * torch.maximum(terms, size)


def _check_draws_nothing(r: Reweighter, batch: Batch, clean_batch: Batch) -> None:
    """ValueError where a pass draws random numbers, before anything has changed."""
    start = random_state(_device(r))
    batch, clean_batch = tree_map_only(Tensor, torch.clone, (batch, clean_batch))
    scoring = Scoring(r.model, r.loss_fn, batch, clean_batch, r.engine)
    before = random_state(_device(r))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the step will say it
        scoring.scores(check=False)
    after = random_state(_device(r))
    restore(start)
    if any(not torch.equal(a, b) for (_, a), (_, b) in zip(before, after, strict=True)):
        raise ValueError(
            "the model draws random numbers, as dropout does, and a recording would draw the same ones at every "
            "step: switch them off, or use Reweighter.step"
        )


def _recorded(r: Reweighter, batch: Batch, clean_batch: Batch) -> Callable[[Batch, Batch], tuple[Step, Tensor]]:
    device = _device(r)
    if device.type != "cuda":
        return lambda batch, clean_batch: steady_step(r, batch, clean_batch)
    ours = tree_map_only(Tensor, torch.clone, (batch, clean_batch))
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step, sound = steady_step(r, *ours)

    def replay(batch: Batch, clean_batch: Batch) -> tuple[Step, Tensor]:
        for ours_one, theirs_one in zip(_tensors(ours), _tensors((batch, clean_batch)), strict=True):
            ours_one.copy_(theirs_one, non_blocking=True)
        graph.replay()
        # The recording writes into the same memory each time.
        outputs = (step.loss, step.weights, step.alignment, step.losses, step.clean_loss)
        return Step(*(t.clone() for t in outputs), engine=step.engine), sound.clone()

    return replay


def _held(r: Reweighter) -> list[Tensor]:
    """All that a step may change, each tensor once."""
    state = (v for values in r.optimizer.state.values() for v in values.values() if isinstance(v, Tensor))
    trained = (p for group in r.optimizer.param_groups for p in group["params"])
    buffers = (module._buffers[key] for module, key in buffer_places(r.model, r.loss_fn).values())
    return list({id(t): t for t in (*r.model.parameters(), *trained, *buffers, *state)}.values())


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def _sizes(*batches: Batch) -> Any:
    leaves, structure = tree_flatten(batches)
    return structure, [(x.shape, x.dtype) if isinstance(x, Tensor) else x for x in leaves]


def _settings(r: Reweighter) -> Any:
    """What a recording holds fast beside the batches; it reads anew what is a tensor."""
    groups = [
        {name: v for name, v in group.items() if name != "params" and not isinstance(v, Tensor)}
        for group in r.optimizer.param_groups
    ]
    trained = [p.requires_grad for p in r.model.parameters()]
    return groups, makeup(r.model), trained, torch.is_autocast_enabled(_device(r).type), r.engine


def _device(r: Reweighter) -> torch.device:
    return next(r.model.parameters()).device


def _check_capturable(r: Reweighter) -> None:
    if _device(r).type == "cuda" and any(group.get("capturable") is False for group in r.optimizer.param_groups):
        raise ValueError(
            f"{type(r.optimizer).__name__} counts its steps on the processor, where a recording does not reach: build "
            "it with capturable=True"
        )
