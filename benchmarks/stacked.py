"""Many trials of one network: one after another, or in one step over stacked parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp, stack_module_state, vjp, vmap

from benchmarks.cases import Task
from benchmarks.systems import Step, ours

Parameters = dict[str, Tensor]


def one_after_another(tasks: Sequence[Task]) -> Step:
    """A step of each task in turn; the weights of all, (tasks, n)."""
    steps = [ours("forward")(task) for task in tasks]
    return lambda: torch.stack([step() for step in steps])


def stacked(tasks: Sequence[Task]) -> Step:
    """One step of all tasks by `vmap` over their parameters, which are copies stacked to (tasks, ...).

    A trial whose weights are all 0 would have to be left out of the optimizer's step; here it takes part.
    """
    model, loss_fn = tasks[0].model, tasks[0].loss_fn
    parameters, _ = stack_module_state([task.model for task in tasks])
    optimizer = torch.optim.SGD(parameters.values(), lr=tasks[0].lr)
    batches = [torch.stack(parts) for parts in zip(*((*task.batch, *task.clean) for task in tasks), strict=True)]

    def losses(theta: Parameters, x: Tensor, y: Tensor) -> Tensor:
        return loss_fn(functional_call(model, theta, (x,)), y)

    def weigh(theta: Parameters, x: Tensor, y: Tensor, x_clean: Tensor, y_clean: Tensor) -> tuple[Parameters, Tensor]:
        v = grad(lambda t: losses(t, x_clean, y_clean).mean())(theta)
        _, pull_back, u = vjp(lambda t: jvp(lambda s: losses(s, x, y), (t,), (v,)), theta, has_aux=True)
        w = u.clamp(min=0)
        w = w / (w.sum() + (w.sum() == 0))
        return pull_back(w)[0], w

    step_of_all = vmap(weigh)

    def step() -> Tensor:
        gradients, weights = step_of_all({name: p.detach() for name, p in parameters.items()}, *batches)
        for name, p in parameters.items():
            p.grad = gradients[name]
        optimizer.step()
        return weights

    return step
