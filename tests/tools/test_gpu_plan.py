"""The plan for a few minutes of a GPU, in small and on a CPU: it keeps to its time, and what was begun goes on."""

import subprocess
import sys
import time
from pathlib import Path

import gpu
import pytest

from l2rw_core.experiments import load_records
from l2rw_core.experiments.campaign import queue

ROOT = Path(__file__).parents[2]


@pytest.mark.apart
def test_training_is_ended_in_time_with_a_checkpoint_and_goes_on(tmp_path):
    arguments = gpu.Arguments(device="cpu", tiny=True, results=tmp_path)
    *_, training = gpu.plan(arguments)
    begun = time.monotonic()
    process = subprocess.Popen(training.command, cwd=ROOT)
    while not list((tmp_path / ".unfinished").glob("*.lock")) and time.monotonic() - begun < 120:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(timeout=60) == 130
    assert gpu.run(training.command, 600) == 0
    assert {record.experiment for record in load_records(folder=tmp_path)} == set(queue("rehearsal"))
    assert gpu.run(training.command, 600) == 0  # nothing is left to do


def test_a_part_that_takes_too_long_is_ended():
    begun = time.monotonic()
    assert gpu.run((sys.executable, "-c", "import time; time.sleep(600)"), 1) is None
    assert gpu.run((sys.executable, "-c", "raise SystemExit(3)"), 60) == 3
    assert gpu.run((sys.executable, "-c", ""), 0) is None
    assert time.monotonic() - begun < 300


def test_the_plan_measures_and_trains_at_the_papers_scale():
    tests, cost, training = gpu.plan(gpu.Arguments())
    assert [part.until for part in (tests, cost, training)] == [0.25, 0.5, 1.0]
    assert {"lenet", "resnet32", "captured", "cuda"} <= set(cost.command)
    first, *rest = queue(training.command[-2])
    assert (first.method, first.steps, first.scale, first.model, first.data) == (
        "l2rw",
        80_000,
        "paper",
        "resnet32",
        "cifar10",
    )
    assert {e.seed for e in rest} == {0, 1, 2}
