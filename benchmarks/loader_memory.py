"""Train for a pass over examples that a loader reads from a file, and print the process's memory as JSON.

    python -m benchmarks.loader_memory FILE EXAMPLES

A process of its own, since the peak of a process's resident memory cannot be set back.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from l2rw_core import Reweighter
from l2rw_core.models import Mlp

PIXELS = 784
ROW = PIXELS + 1
"""Bytes of an example: its pixels, and its label."""
BATCH, CLEAN, LEAST_STEPS = 500, 50, 200


def write_examples(path: Path, examples: int) -> None:
    """Random images, 1,000 at a time."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, examples, 1000):
            rows = random.integers(256, size=(min(1000, examples - start), ROW), dtype=np.uint8)
            rows[:, -1] %= 10
            file.write(rows.tobytes())


class OnDisk(Dataset):
    """Examples that stay in their file until a batch asks for them."""

    def __init__(self, path: Path, examples: int) -> None:
        self.file = path.open("rb", buffering=0)
        self.examples = examples

    def __len__(self) -> int:
        return self.examples

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        rows = bytearray(len(indices) * ROW)
        for k, index in enumerate(indices):
            self.file.seek(index * ROW)
            self.file.readinto(memoryview(rows)[k * ROW : (k + 1) * ROW])
        batch = torch.frombuffer(rows, dtype=torch.uint8).view(-1, ROW)
        return batch[:, :-1].float() / 255, batch[:, -1].long()


def main(path: Path, examples: int) -> None:
    torch.set_num_threads(1)
    data = OnDisk(path, examples)
    loader = DataLoader(data, BATCH, shuffle=True, collate_fn=lambda batch: batch)
    clean = data.__getitems__(range(CLEAN))
    model = Mlp([PIXELS, 32, 10])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    reweighter = Reweighter(model, optimizer, nn.CrossEntropyLoss(reduction="none"), engine="forward")
    reweighter.step(next(iter(loader)), clean)  # what is loaded at the first step is not counted as time
    before = peak_resident_bytes()
    steps, start = 0, time.process_time()
    while steps < LEAST_STEPS:
        for batch in loader:
            reweighter.step(batch, clean)
            steps += 1
    seconds = (time.process_time() - start) / steps
    line = {"steps": steps, "seconds": seconds, "start_bytes": before, "peak_bytes": peak_resident_bytes()}
    print(json.dumps(line))


def peak_resident_bytes() -> int:
    """Of this program, on Linux. What `getrusage` says counts also the process that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
