"""What bfloat16 does to the weights, and what it saves: the paper's ResNet-32 on CIFAR-10 with background flips.

    python -m benchmarks.precision --rounds 5

The network trains by reweighting in bfloat16. At some steps the batch that comes next is weighed in both precisions by
the same parameters, and in float32 by another hundred clean images, so that there is a distance to compare with. Then
plain and reweighted steps of both precisions are timed in turns, beside the cost that products alone would have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from benchmarks.measure import interleaved
from benchmarks.step_cost import machine
from benchmarks.systems import Step
from l2rw_core import alignment, to_weights
from l2rw_core.datasets import Source, to_tensors
from l2rw_core.experiments import Experiment, grid, prepare, results_root
from l2rw_core.experiments.config import PRECISIONS
from l2rw_core.experiments.train import Halt, halts

METHODS = ("baseline", "l2rw")


@dataclass
class Arguments:
    """Compare the precisions, and append what is measured to a file."""

    at: tuple[int, ...] = (0, 25, 100, 500, 1000, 1500, 2000)
    """Steps after which the next batch is weighed."""
    rounds: int = 5
    results: Path = field(default_factory=lambda: results_root() / "benchmarks" / "precision.jsonl")


def main(arguments: Arguments) -> None:
    """Run the comparison."""
    torch.set_num_threads(1)
    origin = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine("cpu")}
    experiment = next(cell for cell in grid("precision", "quarter").cells if cell.row == "l2rw").experiment
    for line in (*weights(experiment, arguments.at), *times(experiment, arguments.rounds)):
        with arguments.results.open("a") as file:
            file.write(json.dumps(origin | line, separators=(",", ":")) + "\n")
        print(line, flush=True)


def weights(experiment: Experiment, at: tuple[int, ...], source: Source | None = None) -> Iterator[dict[str, Any]]:
    """For each of the steps how far the weights in bfloat16 and those by other clean images are from float32's."""
    split = prepare(experiment, source)
    held_out = split.held_out.relabelled(split.held_out.y_true).take(np.arange(experiment.clean_size))
    other_clean = to_tensors(held_out, pixel_range=(-1.0, 1.0))
    for halt in halts(experiment.with_(precision="bfloat16"), at, source):
        exact = _alignment(halt, halt.clean_batch, "float32")
        for kind, u in (
            ("bfloat16", _alignment(halt, halt.clean_batch, "bfloat16")),
            ("other clean images", _alignment(halt, other_clean, "float32")),
        ):
            yield {
                "case": f"weights, {kind}",
                "step": halt.step,
                "distance": float((to_weights(u) - to_weights(exact)).abs().sum()),
                "signs_changed": float(((u > 0) != (exact > 0)).double().mean()),
            }


def _alignment(halt: Halt, clean_batch: tuple[Tensor, Tensor], precision: str) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        _, u = alignment(halt.model, halt.loss_fn, halt.batch, clean_batch)
    return u.detach().double()


def times(experiment: Experiment, rounds: int, source: Source | None = None) -> list[dict[str, Any]]:
    """Seconds of a step of each method in each precision, in turns, and its multiple of the plain step's."""
    runs: dict[str, Step] = {}
    for precision in PRECISIONS:
        for method in METHODS:
            e = experiment.with_(method=method, precision=precision, statistics_batches=0, hold_out=0)
            steps = halts(e.with_(evaluate_every=e.steps), tuple(range(1, 2 + rounds)), source)
            next(steps)  # warm up
            runs[f"{method} {precision}"] = lambda steps=steps: next(steps)
    seconds = interleaved(runs, rounds, 1, "cpu")
    m = min(experiment.clean_batch_size, experiment.clean_size)
    bound = (3 * m + 5 * experiment.batch_size) / (3 * experiment.batch_size)
    return [
        {
            "case": "time",
            "method": method,
            "precision": precision,
            "n": experiment.batch_size,
            "m": m,
            "seconds": float(np.median(seconds[f"{method} {precision}"])),
            "ratios": (np.array(seconds[f"{method} {precision}"]) / seconds[f"baseline {precision}"]).round(4).tolist(),
            "bound": bound if method == "l2rw" else 1.0,
        }
        for precision in PRECISIONS
        for method in METHODS
    ]


if __name__ == "__main__":
    main(tyro.cli(Arguments))
