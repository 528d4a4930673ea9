"""Growth is measured on steps that do what they are said to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.cases import Task
from benchmarks.growth import over_sizes
from benchmarks.loader_memory import OnDisk, peak_resident_bytes, write_examples
from benchmarks.stacked import one_after_another, stacked
from l2rw_core.models import Mlp

ROOT = Path(__file__).parents[2]


def tasks():
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        draw = lambda k: (torch.rand(k, 4, dtype=torch.float64), torch.randint(3, (k,)))  # noqa: E731
        found.append(Task(Mlp([4, 8, 3], nn.Tanh).double(), draw(7), draw(5), lr=0.1))
    return found


def test_a_stacked_step_is_the_step_of_each_trial():
    alone, together = one_after_another(tasks()), stacked(tasks())
    for _ in range(4):
        torch.testing.assert_close(together(), alone(), rtol=1e-10, atol=1e-12)


def test_each_size_is_compared_with_the_smallest():
    lines = list(over_sizes("m", (8, 512), rounds=3, repeats=1))
    assert [(line["system"], line["size"]) for line in lines] == [
        (system, size) for system in ("plain", "forward") for size in (8, 512)
    ]
    assert all(len(line["ratios"]) == 3 for line in lines)
    by_key = {(line["system"], line["size"]): line["memory_ratio"] for line in lines}
    assert by_key["plain", 8] == by_key["forward", 8] == 1
    assert by_key["plain", 512] == pytest.approx(1)  # a plain step has no clean batch
    assert by_key["forward", 512] > 2
    assert json.dumps(lines)


def test_a_loader_reads_from_the_file_what_was_written(tmp_path):
    write_examples(tmp_path / "examples", 1500)
    data = OnDisk(tmp_path / "examples", 1500)
    x, y = data.__getitems__([0, 1499, 3])
    data.file.close()
    raw = (tmp_path / "examples").read_bytes()
    assert len(raw) == 1500 * 785
    assert (x[1] * 255).round().tolist() == list(raw[-785:-1])
    assert y.tolist() == [raw[784], raw[-1], raw[4 * 785 - 1]]
    assert max(y.tolist()) < 10


def test_the_peak_of_memory_is_that_of_the_program_itself():
    held = torch.ones(200_000_000, dtype=torch.uint8)
    code = "from benchmarks.loader_memory import peak_resident_bytes; print(peak_resident_bytes())"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(child.stdout) + len(held) / 2 < peak_resident_bytes()
