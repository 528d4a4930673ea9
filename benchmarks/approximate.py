"""What approximations cost in accuracy: alignments by a difference of losses, and a clean gradient that serves k steps.

    python -m benchmarks.approximate --trials 5

The cells are L2RW's in Table 2 at the reduced scale. Each variant trains on the same data with the same seeds as the
exact engine, so that test accuracies can be compared pair by pair. For each run the distance of a step's weights from
the exact ones, in L1, is measured too, every so many steps by the same parameters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import tyro
from torch import Tensor

from benchmarks.step_cost import machine
from l2rw_core import alignment, to_weights
from l2rw_core.experiments import Experiment, fit, grid, results_root
from l2rw_core.methods import L2rw, Minibatch, Update
from l2rw_core.reweight import Reweighter

LOOK_EVERY = 100
"""Steps between two comparisons of weights."""


class Variant(L2rw):
    """L2RW by some engine, and with a clean gradient that serves some steps."""

    engine: ClassVar[str] = "forward"
    every: ClassVar[int] = 1
    distances: ClassVar[list[float]] = []
    """Of the run at hand."""

    def __post_init__(self) -> None:
        self.reweighter = Reweighter(self.model, self.optimizer, self.loss_fn, self.engine, every=self.every)
        self.reweighter.health = None

    def step(self, batch: Minibatch, clean_batch: tuple[Tensor, Tensor], step: int) -> Update:
        exact = None
        if step % LOOK_EVERY == LOOK_EVERY - 1:
            _, exact = alignment(self.model, self.loss_fn, (batch.x, batch.y), clean_batch, "forward", check=False)
        update = super().step(batch, clean_batch, step)
        if exact is not None:
            self.distances.append(float((update.weights - to_weights(exact)).abs().sum()))
        return update


def variant(engine: str, every: int) -> type[Variant]:
    """A method of its own for these settings."""
    name = engine if every == 1 else f"{engine}, every {every}"
    return type(name, (Variant,), {"engine": engine, "every": every, "distances": []})


VARIANTS = tuple(
    variant(*setting)
    for setting in (("forward", 1), ("difference", 1), ("forward", 2), ("forward", 5), ("forward", 20))
)


@dataclass
class Arguments:
    """Train by each variant, and append what comes out to a file. What the file has already is not run again."""

    trials: int = 5
    results: Path = field(default_factory=lambda: results_root() / "benchmarks" / "approximate.jsonl")


def main(arguments: Arguments) -> None:
    """Run what is missing, a trial of all variants after the other."""
    torch.set_num_threads(1)
    origin = {"machine": machine("cpu")}
    recorded = {key(line) for line in lines(arguments.results)}
    for seed in range(arguments.trials):
        for experiment in cells():
            for method in VARIANTS:
                if (experiment.data, seed, method.__name__) in recorded:
                    continue
                started = datetime.now(UTC).isoformat(timespec="seconds")
                line = {"started": started} | origin | trained(experiment.with_(method=method, seed=seed))
                with arguments.results.open("a") as file:
                    file.write(json.dumps(line, separators=(",", ":")) + "\n")
                print(*key(line), line["accuracy"], flush=True)


def cells() -> list[Experiment]:
    """L2RW's cells in the reduced Table 2."""
    return [cell.experiment for cell in grid("table2", "reduced").cells if cell.experiment.method == "l2rw"]


def key(line: dict[str, Any]) -> tuple[str, int, str]:
    """What tells a run from others."""
    return line["data"], line["seed"], line["variant"]


def lines(results: Path) -> Iterator[dict[str, Any]]:
    """What is on record."""
    return map(json.loads, results.read_text().splitlines() if results.exists() else ())


def trained(experiment: Experiment) -> dict[str, Any]:
    """Test accuracy after the last step, and how far weights were from the exact ones."""
    method: Any = experiment.method
    method.distances.clear()
    run = fit(experiment)
    return {
        "case": f"{experiment.data} {method.__name__} {experiment.seed}",
        "variant": method.__name__,
        "data": experiment.data,
        "steps": experiment.steps,
        "seed": experiment.seed,
        "accuracy": run.last,
        "distance": round(float(np.median(method.distances)), 5),
    }


if __name__ == "__main__":
    main(tyro.cli(Arguments))
