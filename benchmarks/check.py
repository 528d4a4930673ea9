"""What the check of every step costs: its share of the step, on LeNet and ResNet-32.

python -m benchmarks.check --rounds 40
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from benchmarks.step_cost import machine
from l2rw_core import Reweighter
from l2rw_core.experiments import results_root
from l2rw_core.models import LeNet, resnet32

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]] = {
    "LeNet, m = 10": (lambda: LeNet(10), (1, 28, 28), 100, 10),
    "LeNet, m = 100": (lambda: LeNet(10), (1, 28, 28), 100, 100),
    "ResNet-32, m = 32": (resnet32, (3, 32, 32), 32, 32),
    "ResNet-32, m = 100": (resnet32, (3, 32, 32), 100, 100),
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
    origin = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine("cpu")}
    for case in CASES:
        measured = shares(case, arguments.rounds)
        with arguments.results.open("a") as file:
            line = {"case": case, "shares": [round(share, 5) for share in measured]}
            file.write(json.dumps(origin | line, separators=(",", ":")) + "\n")
        print(case, f"{np.median(measured):.4f}", flush=True)


def shares(case: str, rounds: int) -> list[float]:
    """For each of some steps in a row the processor time of its check, over that of the rest of the step.

    Two kinds of steps timed in turns differ by more than the check costs, with and without it; so the check is timed
    inside the step.
    """
    build, shape, n, m = CASES[case]
    torch.manual_seed(0)
    batch, clean = ((torch.rand(k, *shape), torch.randint(10, (k,))) for k in (n, m))
    model = build()
    reweighter = Timed(model, torch.optim.SGD(model.parameters(), 1e-4), nn.CrossEntropyLoss(reduction="none"))
    reweighter.step(batch, clean)  # the first one is checked by a pass of its own
    measured = []
    for _ in range(rounds):
        start = time.process_time()
        reweighter.step(batch, clean)
        whole = time.process_time() - start
        measured.append(reweighter.seconds / (whole - reweighter.seconds))
    return measured


class Timed(Reweighter):
    """A `Reweighter` that says how long the check of its last step took, without the gradients of the update."""

    seconds = 0.0

    def _misfit(self, *arguments: object) -> float:
        self._of_gradients = 0.0  # a batch without weight has none
        start = time.process_time()
        misfit = super()._misfit(*arguments)  # type: ignore[arg-type]
        self.seconds = time.process_time() - start - self._of_gradients
        return misfit

    def _backward(self, loss: Tensor) -> None:
        start = time.process_time()
        super()._backward(loss)
        self._of_gradients = time.process_time() - start


if __name__ == "__main__":
    main(tyro.cli(Arguments))
