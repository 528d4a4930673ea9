"""What the check of every step costs: steps with it and without, in turns, on LeNet and ResNet-32.

python -m benchmarks.check --rounds 40
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import nn

from benchmarks.measure import interleaved
from benchmarks.step_cost import machine
from l2rw_core import Reweighter
from l2rw_core.experiments import results_root
from l2rw_core.models import LeNet, resnet32
from l2rw_core.reweight import CHECKS

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]] = {
    "LeNet, m = 10": (lambda: LeNet(10), (1, 28, 28), 100, 10),
    "LeNet, m = 100": (lambda: LeNet(10), (1, 28, 28), 100, 100),
    "ResNet-32, m = 32": (resnet32, (3, 32, 32), 32, 32),
}
"""Name -> network, shape of an image, n, m."""


@dataclass
class Arguments:
    """Time the check, and append what is measured to a file."""

    rounds: int = 40
    results: Path = field(default_factory=lambda: results_root() / "benchmarks" / "check.jsonl")


def main(arguments: Arguments) -> None:
    """Run the comparison."""
    torch.set_num_threads(1)
    made = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine("cpu")}
    for case in CASES:
        line = {"case": case, "ratios": [round(r, 5) for r in ratios(case, arguments.rounds)]}
        with arguments.results.open("a") as file:
            file.write(json.dumps(made | line, separators=(",", ":")) + "\n")
        print(case, f"{np.median(line['ratios']):.4f}", flush=True)


def ratios(case: str, rounds: int) -> list[float]:
    """For each round the time of a step that is checked, over that of one that is not."""
    build, shape, n, m = CASES[case]
    torch.manual_seed(0)
    batch, clean = ((torch.rand(k, *shape), torch.randint(10, (k,))) for k in (n, m))
    steps = {}
    for check in CHECKS:
        torch.manual_seed(1)
        model = build()
        reweighter = Reweighter(
            model, torch.optim.SGD(model.parameters(), 1e-4), nn.CrossEntropyLoss(reduction="none"), check=check
        )
        reweighter.step(batch, clean)  # the first one is checked thoroughly by both
        steps[check] = lambda reweighter=reweighter: reweighter.step(batch, clean)
    seconds = interleaved(steps, rounds, 1, "cpu")
    return [a / b for a, b in zip(seconds["every"], seconds["first"], strict=True)]


if __name__ == "__main__":
    main(tyro.cli(Arguments))
