"""Ways to make one reweighted step: ours, and what a user would pick instead.

A system is given a `Task` and returns a function that makes one step and returns the step's weights. Each is written as
its own documentation has it: those that differentiate through a virtual step make the virtual step with the learning
rate of the real one, and run the training batch again for the update.
"""

from __future__ import annotations

import copy as copying
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks.cases import Task
from l2rw_core import Reweighter, to_weights
from l2rw_core.loops.capture import CapturedStep
from l2rw_core.scoring import ENGINES

Step = Callable[[], Tensor]


class Skipped(Exception):
    """A system cannot run here, or not on this model; the message says why."""


@dataclass(frozen=True)
class System:
    """A way to make a step."""

    name: str
    make: Callable[[Task], Step]
    package: str = "l2rw-core"
    """The distribution that it comes from."""
    exact: bool = True
    """Whether its weights are those of Algorithm 1 up to rounding."""

    @property
    def version(self) -> str:
        """Of the package; Skipped if it is not installed."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            raise Skipped(f"{self.package} is not installed") from None


def _sgd(task: Task) -> torch.optim.Optimizer:
    return torch.optim.SGD(task.model.parameters(), lr=task.lr)


def _losses(task: Task, model: Callable, batch: tuple[Tensor, Tensor]) -> Tensor:
    return task.loss_fn(model(batch[0]), batch[1])


def _update(task: Task, optimizer: torch.optim.Optimizer, weights: Tensor) -> None:
    optimizer.zero_grad()
    (weights * _losses(task, task.model, task.batch)).sum().backward()
    optimizer.step()


def plain(task: Task) -> Step:
    """Every example has the same weight."""
    optimizer = _sgd(task)
    uniform = torch.full_like(task.batch[1], 1, dtype=task_dtype(task)) / len(task.batch[1])

    def step() -> Tensor:
        _update(task, optimizer, uniform)
        return uniform

    return step


def task_dtype(task: Task) -> torch.dtype:
    """Of the parameters."""
    return next(task.model.parameters()).dtype


def ours(engine: str) -> Callable[[Task], Step]:
    """`l2rw_core.Reweighter` with this engine, and no other in its place."""

    def make(task: Task) -> Step:
        check = "first" if engine == "lookahead" else "every"  # the look-ahead makes no v to check by
        reweighter = Reweighter(task.model, _sgd(task), task.loss_fn, engine, check=check)

        def step() -> Tensor:
            weights = reweighter.step(task.batch, task.clean).weights
            if reweighter.engine != engine:
                raise Skipped(f"engine {engine!r} handed this model to {reweighter.engine!r}")
            return weights

        return step

    return make


def captured(task: Task) -> Step:
    """The forward engine's step from a recording; on a CPU, the step that would be recorded."""
    step = CapturedStep(Reweighter(task.model, _sgd(task), task.loss_fn), eager=1)
    return lambda: step(task.batch, task.clean).weights


def copy(task: Task) -> Step:
    """Algorithm 1 by a deep copy of the model, as ports of the method do; the reference for the weights."""
    optimizer = _sgd(task)

    def step() -> Tensor:
        virtual = copying.deepcopy(task.model)
        theta = dict(virtual.named_parameters())
        losses = _losses(task, virtual, task.batch)
        eps = torch.zeros_like(losses, requires_grad=True)
        grads = torch.autograd.grad((eps * losses).sum(), list(theta.values()), create_graph=True)
        ahead = {name: p - task.lr * g for (name, p), g in zip(theta.items(), grads, strict=True)}
        clean_loss = _losses(task, lambda x: functional_call(virtual, ahead, (x,)), task.clean).mean()
        (slope,) = torch.autograd.grad(clean_loss, eps)
        weights = to_weights(-slope)
        _update(task, optimizer, weights)
        return weights

    return step


def higher(task: Task) -> Step:
    """`higher.innerloop_ctx` around the virtual step."""
    from higher import innerloop_ctx

    optimizer = _sgd(task)

    def step() -> Tensor:
        with innerloop_ctx(task.model, optimizer) as (virtual, virtual_optimizer):
            losses = _losses(task, virtual, task.batch)
            eps = torch.zeros_like(losses, requires_grad=True)
            virtual_optimizer.step((eps * losses).sum())
            (slope,) = torch.autograd.grad(_losses(task, virtual, task.clean).mean(), eps)
        weights = to_weights(-slope)
        _update(task, optimizer, weights)
        return weights

    return step


def torchopt(task: Task) -> Step:
    """`torchopt.MetaSGD` makes the virtual step in place, and the model's state is recovered after it."""
    from torchopt import MetaSGD, extract_state_dict, recover_state_dict

    optimizer, virtual_optimizer = _sgd(task), MetaSGD(task.model, lr=task.lr)

    def step() -> Tensor:
        states = [extract_state_dict(part, by="reference") for part in (task.model, virtual_optimizer)]
        losses = _losses(task, task.model, task.batch)
        eps = torch.zeros_like(losses, requires_grad=True)
        virtual_optimizer.step((eps * losses).sum())
        (slope,) = torch.autograd.grad(_losses(task, task.model, task.clean).mean(), eps)
        for part, state in zip((task.model, virtual_optimizer), states, strict=True):
            recover_state_dict(part, state)
        weights = to_weights(-slope)
        _update(task, optimizer, weights)
        return weights

    return step


class _Weights(nn.Module):
    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros_like(like))


def betty(task: Task) -> Step:
    """A two-level problem with roll-back. Its derivative is a central finite difference, so the weights are near."""
    from betty.configs import Config, EngineConfig
    from betty.engine import Engine
    from betty.problems import ImplicitProblem

    weights = _Weights(torch.empty(len(task.batch[1]), dtype=task_dtype(task), device=task.batch[1].device))

    class Training(ImplicitProblem):
        def on_inner_loop_start(self) -> None:
            weights.value.data.zero_()

        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            return (weights.value * _losses(task, self.module, batch)).sum()

    class Weighing(ImplicitProblem):
        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            return _losses(task, training.module, batch).mean()

        def param_callback(self) -> None:
            weights.value.data.copy_(to_weights(weights.value))

    logging.disable(logging.INFO)  # it reports what it sets up
    training = Training("training", Config(), task.model, _sgd(task), train_data_loader=[task.batch])
    weighing = Weighing(
        "weighing", Config(), weights, torch.optim.SGD(weights.parameters(), lr=1.0), train_data_loader=[task.clean]
    )
    engine = Engine(
        [training, weighing],
        EngineConfig(roll_back=True, strategy="gpu" if task.batch[1].is_cuda else "cpu"),
        {"u2l": {weighing: [training]}, "l2u": {training: [weighing]}},
    )
    logging.disable(logging.NOTSET)
    engine.train()

    def step() -> Tensor:
        engine.train_step()
        return weights.value.detach().clone()

    return step


SYSTEMS = {
    system.name: system
    for system in (
        System("plain", plain, "torch"),
        *(System(name, ours(name), exact=not engine.off_by) for name, engine in ENGINES.items()),
        System("captured", captured),
        System("copy", copy, "torch"),
        System("higher", higher, "higher"),
        System("torchopt", torchopt, "torchopt"),
        System("betty", betty, "betty-ml", exact=False),
    )
}
