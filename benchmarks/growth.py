"""How time and memory of a step grow: with the batches, the network, the data set, and the number of trials.

    python -m benchmarks.growth

Every size of an axis takes its turn in each round, and is compared with the smallest one of its own run. The lines go
to ``data/results/benchmarks/growth.jsonl``, one for each axis, system and size.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import numpy as np
import torch
import tyro
from torch import nn

from benchmarks.cases import Task
from benchmarks.loader_memory import write_examples
from benchmarks.measure import interleaved, peak_bytes
from benchmarks.stacked import one_after_another, stacked
from benchmarks.step_cost import machine
from benchmarks.systems import Step, ours, plain
from l2rw_core.experiments import results_root
from l2rw_core.models import LeNet, Mlp

SYSTEMS = {"plain": plain, "forward": ours("forward")}
BASE = {"n": 64, "m": 64, "width": 128, "depth": 4}
AXES = {
    "n": (64, 256, 1024, 4096, 16384),
    "m": (64, 256, 1024, 4096, 16384),
    "width": (64, 128, 256, 512, 1024),
    "depth": (2, 4, 8, 16, 32),
}
EXAMPLES = (1_000, 10_000, 100_000, 1_000_000)
TRIALS = 10
INPUTS, CLASSES = 64, 10


@dataclass
class Arguments:
    """Measure growth, and append what is measured to a file."""

    rounds: int = 7
    axes: list[str] = field(default_factory=lambda: [*AXES, "examples", "trials"])
    results: Path = field(default_factory=lambda: results_root() / "benchmarks" / "growth.jsonl")


def main(arguments: Arguments) -> None:
    """Run the measurements that are asked for."""
    torch.set_num_threads(1)
    origin = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine("cpu")}
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    for axis in arguments.axes:
        measure = {"examples": over_examples, "trials": over_trials}.get(axis)
        lines = list(measure(arguments.rounds) if measure else over_sizes(axis, AXES[axis], arguments.rounds))
        with arguments.results.open("a") as file:
            file.writelines(json.dumps(origin | {"case": axis} | line, separators=(",", ":")) + "\n" for line in lines)
        for line in lines:
            print(axis, line, flush=True)


def network_task(n: int, m: int, width: int, depth: int) -> Task:
    """A multilayer perceptron with `depth` layers of weights, `width` units each between them."""
    torch.manual_seed(0)

    def draw(k: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.rand(k, INPUTS), torch.randint(CLASSES, (k,))

    return Task(Mlp([INPUTS, *[width] * (depth - 1), CLASSES]), draw(n), draw(m))


def over_sizes(axis: str, sizes: Sequence[int], rounds: int, repeats: int = 3) -> Iterator[dict[str, Any]]:
    """Time and peak memory of plain and of reweighted steps along one axis, the others at their base."""
    tasks = {(name, size): network_task(**BASE | {axis: size}) for name in SYSTEMS for size in sizes}
    steps = {f"{name} {size}": SYSTEMS[name](task) for (name, size), task in tasks.items()}
    for step in steps.values():
        step()  # warm up
    seconds = interleaved(steps, rounds, repeats, "cpu")
    memory = {key: peak_bytes(steps[f"{key[0]} {key[1]}"], task.model, "cpu") for key, task in tasks.items()}
    for name, size in tasks:
        times = _times(seconds[f"{name} {size}"], np.array(seconds[f"{name} {sizes[0]}"]))
        peak = {"peak_bytes": memory[name, size], "memory_ratio": memory[name, size] / memory[name, sizes[0]]}
        yield {"system": name, "size": size, "base": BASE} | times | peak


def over_examples(rounds: int) -> Iterator[dict[str, Any]]:
    """Peak resident memory of a fresh process that trains on examples that a loader reads from a file."""
    lines: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "examples"
        write_examples(file, max(EXAMPLES))
        for examples in EXAMPLES:
            command = [sys.executable, "-m", "benchmarks.loader_memory", str(file), str(examples)]
            lines.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    for examples, line in zip(EXAMPLES, lines, strict=True):
        ratio = line["peak_bytes"] / lines[0]["peak_bytes"]
        times = _times([line["seconds"]], np.array([lines[0]["seconds"]]))
        yield {"system": "forward", "size": examples} | line | times | {"memory_ratio": ratio}


def lenet_task(seed: int) -> Task:
    """A step of the imbalance experiment (Section 4.1): LeNet with one output, n = 100, m = 10."""
    torch.manual_seed(seed)
    model = LeNet()

    def draw(k: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.rand(k, 1, 28, 28), torch.randint(2, (k,)).float()

    return Task(model, draw(100), draw(10), nn.BCEWithLogitsLoss(reduction="none"))


def over_trials(rounds: int) -> Iterator[dict[str, Any]]:
    """Processor time per trial of ten trials: one after another, in two processes, and in one stacked step."""
    tasks = [lenet_task(seed) for seed in range(TRIALS)]
    steps = {"one after another": one_after_another(tasks), "one stacked step": stacked(tasks)}
    for step in steps.values():
        step()
    seconds = interleaved(steps, rounds, 1, "cpu")
    seconds["two processes"] = [float(np.mean(both)) for both in zip(*_in_two_processes(rounds), strict=True)]
    first = np.array(seconds["one after another"])
    for name, taken in seconds.items():
        yield {"system": name, "size": TRIALS} | _times(taken, first, TRIALS)


def _in_two_processes(rounds: int) -> list[list[float]]:
    """Time of each round in each of two processes that work side by side, for all ten trials."""
    return joblib.Parallel(n_jobs=2)(joblib.delayed(_some_trials)(rounds) for _ in range(2))


def _some_trials(rounds: int) -> list[float]:
    torch.set_num_threads(1)
    step: Step = one_after_another([lenet_task(seed) for seed in range(TRIALS)])
    step()
    return interleaved({"": step}, rounds, 1, "cpu")[""]


def _times(seconds: Sequence[float], first: np.ndarray, trials: int = 1) -> dict[str, Any]:
    ratios = np.array(seconds) / first
    return {"seconds": float(np.median(seconds)) / trials, "ratios": [round(ratio, 4) for ratio in ratios.tolist()]}


if __name__ == "__main__":
    main(tyro.cli(Arguments))
