"""What exactness can be traded for: cheaper weights, how far they are from the exact ones, and what they save.

    python -m benchmarks.knobs --rounds 5

A LeNet trains on MNIST with wrong labels by exact weights, with all of a clean set as its clean batch. In windows along
the way every knob gives its own weights for the same parameters and batches, and they are compared with the exact ones.
Its cost is measured as in `benchmarks.step_cost`, in turns with plain steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call

from benchmarks.cases import Task
from benchmarks.measure import interleaved, peak_bytes
from benchmarks.step_cost import machine
from benchmarks.systems import Step, ours, plain
from l2rw_core import alignment, to_weights
from l2rw_core.datasets import BatchStream, CleanSet, Subset, UniformFlip, load, make_split, to_tensors
from l2rw_core.experiments import results_root
from l2rw_core.models import LeNet
from l2rw_core.scoring import directional_derivative

Batch = tuple[Tensor, Tensor]
Score = Callable[[Batch, Batch], tuple[Tensor, Tensor]]
"""Losses with their graph, and alignments, of a training batch and a clean batch."""

WINDOW = 10
"""Steps in a row that are looked at: every age of a clean gradient comes equally often in them."""


@dataclass(frozen=True)
class Knob:
    """A cheaper way to score."""

    name: str
    title: str
    make: Callable[[Task], Score]


def smaller_clean_batch(m: int) -> Callable[[Task], Score]:
    """m clean examples of those that there are, drawn anew at each step."""

    def make(task: Task) -> Score:
        random = torch.Generator().manual_seed(m)

        def score(batch: Batch, clean: Batch) -> tuple[Tensor, Tensor]:
            chosen = torch.randperm(len(clean[1]), generator=random)[:m]
            return alignment(task.model, task.loss_fn, batch, (clean[0][chosen], clean[1][chosen]), check=False)

        return score

    return make


def stale_clean_gradient(k: int) -> Callable[[Task], Score]:
    """The clean gradient of every k-th step serves the steps up to the next one."""

    def make(task: Task) -> Score:
        last: dict[str, Tensor] = {}
        calls = iter(range(2**62))

        def score(batch: Batch, clean: Batch) -> tuple[Tensor, Tensor]:
            if next(calls) % k == 0:
                last.update(_clean_gradient(task, clean, dict(task.model.named_parameters())))
            losses, u, _ = directional_derivative(task.model, task.loss_fn, batch, last)
            return losses, u

        return score

    return make


def some_layers(*prefixes: str) -> Callable[[Task], Score]:
    """Only parameters whose names begin like this enter the inner product; the others learn as before."""

    def make(task: Task) -> Score:
        def score(batch: Batch, clean: Batch) -> tuple[Tensor, Tensor]:
            theta = dict(task.model.named_parameters())
            v = _clean_gradient(task, clean, {name: p for name, p in theta.items() if name.startswith(prefixes)})
            with forward_ad.dual_level():
                duals = {name: forward_ad.make_dual(p, v[name]) if name in v else p for name, p in theta.items()}
                losses = task.loss_fn(functional_call(task.model, duals, (batch[0],)), batch[1])
                return forward_ad.unpack_dual(losses)

        return score

    return make


def one_sided_difference(length: float) -> Callable[[Task], Score]:
    """Losses once more at a point `length` away in the direction of the clean gradient."""

    def make(task: Task) -> Score:
        def score(batch: Batch, clean: Batch) -> tuple[Tensor, Tensor]:
            theta = dict(task.model.named_parameters())
            v = _clean_gradient(task, clean, theta)
            h = length / torch.sqrt(sum(g.square().sum() for g in v.values()))
            losses = task.loss_fn(task.model(batch[0]), batch[1])
            with torch.no_grad():
                ahead = {name: p + h * v[name] for name, p in theta.items()}
                moved = task.loss_fn(functional_call(task.model, ahead, (batch[0],)), batch[1])
                return losses, (moved - losses) / h

        return score

    return make


def _clean_gradient(task: Task, clean: Batch, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    loss = task.loss_fn(task.model(clean[0]), clean[1]).mean()
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


KNOBS = (
    *(Knob(f"m-{m}", f"{m} clean examples a step", smaller_clean_batch(m)) for m in (50, 25, 10)),
    *(Knob(f"every-{k}", f"clean gradient every {k} steps", stale_clean_gradient(k)) for k in (2, 5, 10)),
    Knob("linear-layers", "score on the two linear layers", some_layers("hidden.", "output.")),
    Knob("output-layer", "score on the output layer", some_layers("output.")),
    Knob("difference", "one-sided finite difference", one_sided_difference(0.01)),
)


@dataclass
class Arguments:
    """Measure knobs that trade exactness for cost, and append what is found to a file."""

    rounds: int = 5
    data: str = "mnist"
    steps: int = 210
    every: int = 50
    """A window begins at every so many steps."""
    seed: int = 0
    results: Path = field(default_factory=lambda: results_root() / "benchmarks" / "knobs.jsonl")


def main(arguments: Arguments) -> None:
    """Run the study."""
    torch.set_num_threads(1)
    about = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine("cpu")}
    study = Study(arguments.data, arguments.seed)
    errors = study.errors(arguments.steps, arguments.every)
    costs = study.costs(arguments.rounds)
    about |= {"data": arguments.data, "seed": arguments.seed, "steps": arguments.steps}
    about |= {"n": len(study.task.batch[1]), "m": len(study.task.clean[1])}
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    with arguments.results.open("a") as file:
        for name, cost in costs.items():
            line = about | {"knob": name} | cost | errors.get(name, {})
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
            print(_report(line))


class Study:
    """A LeNet on 5,000 images of which 40% have a wrong label, with 100 clean ones."""

    def __init__(self, data: str, seed: int, n: int = 100, clean_size: int = 100, train_size: int = 5000) -> None:
        source = load(data)
        channels, size, _ = source.image_shape
        biases = (Subset(min(train_size, len(source.y_train) - clean_size)), UniformFlip(0.4, always_changes=True))
        split = make_split(source, biases, CleanSet(clean_size), seed)
        self.x, self.y = to_tensors(split.train)
        self.stream = BatchStream(len(self.y), n, seed)
        self._new_model = lambda: LeNet(source.num_classes, channels, size)
        self._seed = seed
        self._clean = to_tensors(split.clean)
        self.task = self._fresh_task()

    def _fresh_task(self) -> Task:
        torch.manual_seed(self._seed)
        return Task(self._new_model(), self._batch(0), self._clean, lr=0.01)

    def _batch(self, step: int) -> Batch:
        chosen = self.stream.indices(step)
        return self.x[chosen], self.y[chosen]

    def errors(self, steps: int, every: int, knobs: tuple[Knob, ...] = KNOBS) -> dict[str, dict[str, Any]]:
        """For each knob, over the steps looked at: distances of weights in L1, and shares of equal signs."""
        task = self.task
        optimizer = torch.optim.SGD(task.model.parameters(), lr=task.lr, momentum=0.9)
        scores = {knob.name: knob.make(task) for knob in knobs}
        results = {knob.name: {"title": knob.title, "distances": [], "same_signs": []} for knob in knobs}
        for step in range(steps):
            batch = self._batch(step)
            losses, u = alignment(task.model, task.loss_fn, batch, task.clean)
            if step % every < WINDOW:
                for name, score in scores.items():
                    other = score(batch, task.clean)[1].detach()
                    distance = (to_weights(other) - to_weights(u)).abs().sum()
                    results[name]["distances"].append(round(float(distance), 5))
                    results[name]["same_signs"].append(float(((other > 0) == (u > 0)).double().mean()))
            optimizer.zero_grad()
            (to_weights(u) * losses).sum().backward()
            optimizer.step()
        return results

    def costs(self, rounds: int, knobs: tuple[Knob, ...] = KNOBS) -> dict[str, dict[str, Any]]:
        """Time and memory of each knob's step and of the exact one, in plain steps."""
        tasks = {name: self._fresh_task() for name in ("plain", "exact", *(knob.name for knob in knobs))}
        steps = {"plain": plain(tasks["plain"]), "exact": ours("forward")(tasks["exact"])}
        steps |= {knob.name: _stepper(tasks[knob.name], knob) for knob in knobs}
        for step in steps.values():
            step()
        seconds = interleaved(steps, rounds, WINDOW, "cpu")
        memory = {name: peak_bytes(step, tasks[name].model, "cpu", WINDOW) for name, step in steps.items()}
        return {
            name: {
                "ratios": [round(ratio, 4) for ratio in (np.array(taken) / np.array(seconds["plain"])).tolist()],
                "memory_ratio": memory[name] / memory["plain"],
            }
            for name, taken in seconds.items()
        }


def _stepper(task: Task, knob: Knob) -> Step:
    optimizer = torch.optim.SGD(task.model.parameters(), lr=task.lr)
    score = knob.make(task)

    def step() -> Tensor:
        losses, u = score(task.batch, task.clean)
        weights = to_weights(u)
        optimizer.zero_grad()
        (weights * losses).sum().backward()
        optimizer.step()
        return weights

    return step


def _report(line: Mapping[str, Any]) -> str:
    text = f"{line['knob']:14s} {np.median(line['ratios']):5.2f} time, {line['memory_ratio']:5.2f} memory"
    if "distances" not in line:
        return text
    return f"{text}, weights {np.mean(line['distances']):.3f} off in L1, {np.mean(line['same_signs']):.1%} equal signs"


if __name__ == "__main__":
    main(tyro.cli(Arguments))
