"""What to do with a few minutes of a GPU: test, measure, and train at the paper's scale for the rest of the time.

    python tools/gpu.py                        nine minutes on cuda
    python tools/gpu.py --device cpu --tiny    the same plan in small, to try it

Every part has its share of the time and is ended when it is over. Runs keep checkpoints and go on at the next call, the
one with the longest gain over a CPU first.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import tyro

ROOT = Path(__file__).resolve().parents[1]
ENDING = 20.0
"""Seconds that a part may take to write its checkpoint and end."""


@dataclass
class Arguments:
    """Test, measure and train on a GPU within some minutes."""

    device: str = "cuda"
    minutes: float = 9.0
    """For everything."""
    tiny: bool = False
    """A small model and runs of a minute, to try the plan."""
    results: Path = field(default_factory=lambda: ROOT / "data" / "results")
    """Folder of the record files; checkpoints lie in it too."""


@dataclass(frozen=True)
class Part:
    """A command, and the share of the time after which it is ended."""

    name: str
    command: tuple[str, ...]
    until: float


def plan(arguments: Arguments) -> tuple[Part, ...]:
    """The parts in their order."""
    python = sys.executable
    cases = ("mlp",) if arguments.tiny else ("lenet", "resnet32")
    rounds = ("--rounds", "1" if arguments.tiny else "5")
    measured = arguments.results / "benchmarks" / "step_cost.jsonl"
    systems = ("--systems", "plain", "forward", "captured")
    on = ("--device", arguments.device)
    queue = "rehearsal" if arguments.tiny else "gpu"
    return (
        Part("tests", (python, "-m", "pytest", "-q", "tests", "-k", "on_a_gpu", "-p", "no:cacheprovider"), 0.25),
        Part(
            "step cost",
            (
                python,
                "-m",
                "benchmarks.step_cost",
                "--cases",
                *cases,
                *systems,
                *rounds,
                *on,
                "--results",
                str(measured),
            ),
            0.5,
        ),
        Part(
            "training",
            (python, "-m", "l2rw_core.experiments.campaign", str(arguments.results), queue, arguments.device),
            1.0,
        ),
    )


def main(arguments: Arguments) -> int:
    """Run the plan; 1 if a part failed, which ends none of the others."""
    started, failed = time.monotonic(), False
    for part in plan(arguments):
        left = 60 * arguments.minutes * part.until - ENDING - (time.monotonic() - started)
        print(f"{part.name}: {max(left, 0):.0f} s at most", flush=True)
        code = run(part.command, left)
        print(
            f"{part.name}: {'out of time' if code is None else 'done' if code == 0 else f'failed with {code}'}",
            flush=True,
        )
        failed |= code not in (0, None)
    return int(failed)


def run(command: tuple[str, ...], seconds: float) -> int | None:
    """Its exit code; None if it was ended because the time was over."""
    if seconds <= 0:
        return None
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()  # training writes a checkpoint first
    try:
        process.wait(timeout=ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return None


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Arguments, description=__doc__)))
