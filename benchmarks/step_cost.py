"""What a reweighted step costs in time and memory, beside plain training and beside other software.

    python -m benchmarks.step_cost --rounds 7

First every exact system makes one step in float64 on small batches, and one whose weights or parameters are not those
of Algorithm 1 is not timed. Then the systems take turns on the same model and data in float32, on one thread. Each
round gives each system's time as a multiple of the plain step's; they go on record, one line of JSON for each case and
system.
"""

from __future__ import annotations

import gc
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.cases import CASES, Case, make_task
from benchmarks.measure import interleaved, operator_seconds, peak_bytes
from benchmarks.systems import SYSTEMS, Skipped, Step, System
from l2rw_core.experiments import results_root
from l2rw_core.experiments.records import environment
from l2rw_core.models import count_parameters

TOLERANCE = 1e-9
REFERENCE = "copy"
ON_REQUEST = ("two_pass", "loop", "difference", "captured")
"""Systems that are timed where they are named: fallbacks, an approximation, and what gains nothing on a CPU."""
CHECKED_SIZES = (8, 5)
"""n and m of the check in float64."""


class Disagreement(Skipped):
    """A system that is said to be exact is not."""


@dataclass
class Arguments:
    """Compare the cost of steps, and append what is measured to a file."""

    rounds: int = 7
    cases: list[str] = field(default_factory=lambda: list(CASES))
    systems: list[str] = field(default_factory=lambda: [name for name in SYSTEMS if name not in ON_REQUEST])
    device: str = "cpu"
    results: Path = field(default_factory=lambda: results_root() / "benchmarks" / "step_cost.jsonl")


def main(arguments: Arguments) -> int:
    """Run the comparison; 1 if a system disagreed with Algorithm 1, else 0."""
    torch.set_num_threads(1)
    made = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(arguments.device)}
    systems = {name: SYSTEMS[name] for name in dict.fromkeys(["plain", *arguments.systems])}
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    refused = False
    for name in arguments.cases:
        lines = compare(CASES[name], systems, arguments.rounds, arguments.device)
        with arguments.results.open("a") as file:
            file.writelines(json.dumps(made | line, separators=(",", ":")) + "\n" for line in lines)
        print(_report(CASES[name], lines), flush=True)
        refused |= any(line.get("refused", False) for line in lines)
    return int(refused)


def compare(case: Case, systems: Mapping[str, System], rounds: int, device: str = "cpu") -> list[dict[str, Any]]:
    """One entry for each system, ``plain`` among them: what was measured, or why it was not."""
    about = {"case": case.name, "title": case.title, "n": case.n, "m": case.m, "coupled": case.coupled}
    about |= {"bound": case.bound, "uncoupled_bound": case.uncoupled_bound}
    if not case.available:
        return [about | {"system": name, "skipped": f"{case.needs} is not installed"} for name in systems]
    # Fused attention cannot be differentiated twice, so every system takes the form that can.
    with sdpa_kernel(SDPBackend.MATH):
        errors, lines = check(case, systems, device)
        with torch.autocast(device, torch.bfloat16, enabled=case.bfloat16):
            measured = _measure(case, [systems[name] for name in errors], rounds, device, lines)
    for name, values in measured.items():
        system = systems[name]
        lines[name] = {"package": system.package, "version": system.version, "exact": system.exact} | values
        lines[name]["weight_error"] = errors[name]
    return [about | {"system": name} | lines[name] for name in systems]


def check(
    case: Case, systems: Mapping[str, System], device: str = "cpu"
) -> tuple[dict[str, float | None], dict[str, dict[str, Any]]]:
    """Make one small step in float64 by each system, and compare it with the same step by Algorithm 1.

    Returns:
        For each system that may be timed the L1 distance of its weights from those of Algorithm 1 (None for the plain
        step); and for each of the others a record that says why not.
    """
    expected, landed = _first_step(case, SYSTEMS[REFERENCE], device)
    errors: dict[str, float | None] = {}
    skipped: dict[str, dict[str, Any]] = {}
    for name, system in systems.items():
        try:
            weights, parameters = _first_step(case, system, device)
            distance = float((weights - expected).abs().sum())
            if name != "plain" and system.exact:
                _require_equal(distance, (parameters - landed).abs().max())
            errors[name] = None if name == "plain" else distance
        except Exception as error:  # other people's software may fail in any way, and the rest is still compared
            skipped[name] = _why_not(error)
    return errors, skipped


def _why_not(error: Exception) -> dict[str, Any]:
    reason = str(error) if isinstance(error, Skipped) else f"it failed with {type(error).__name__}: {error}"
    return {"skipped": reason, "refused": isinstance(error, Disagreement)}


def _first_step(case: Case, system: System, device: str) -> tuple[Tensor, Tensor]:
    """Weights of the first step, and the parameters after it."""
    system.version  # noqa: B018 - raises Skipped where the package is missing
    task = make_task(case, *CHECKED_SIZES, dtype=torch.float64, device=device)
    weights = system.make(task)()
    return weights, torch.cat([p.detach().flatten() for p in task.model.parameters()])


def _require_equal(distance: float, off: Tensor) -> None:
    if not distance < TOLERANCE:
        raise Disagreement(f"its weights are {distance:.1e} from those of Algorithm 1, in L1, so it was not timed")
    if not off < TOLERANCE:
        raise Disagreement(f"its step ends {float(off):.1e} from that of Algorithm 1, so it was not timed")


def _measure(
    case: Case, systems: Sequence[System], rounds: int, device: str, skipped: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What is measured of each system; one that fails at its first step in float32 is entered in `skipped`."""
    tasks = {system.name: make_task(case, case.n, case.m, device=device) for system in systems}
    steps = {system.name: system.make(tasks[system.name]) for system in systems}
    for name, step in list(steps.items()):
        try:
            step()  # warm up
        except Exception as error:
            skipped[name] = _why_not(error)
            del steps[name]
    seconds = interleaved(steps, rounds, case.repeats, device)
    plain = np.array(seconds["plain"])
    memory = {name: peak_bytes(step, tasks[name].model, device) for name, step in steps.items()}
    operators = _operators(steps, float(np.median(plain)), case.repeats) if device == "cpu" else {}
    gc.collect()
    return {
        name: {
            "parameters": count_parameters(tasks[name].model),
            "rounds": rounds,
            "steps_a_round": case.repeats,
            "seconds": float(np.median(taken)),
            "ratios": [round(ratio, 4) for ratio in (np.array(taken) / plain).tolist()],
            "peak_bytes": memory[name],
            "memory_ratio": memory[name] / memory["plain"],
            "operators": operators.get(name),
        }
        for name, taken in seconds.items()
    }


def _operators(steps: Mapping[str, Step], plain: float, repeats: int) -> dict[str, dict[str, float]]:
    """Time inside each group of operators, in plain steps; the median of some steps."""
    samples = {name: [operator_seconds(step) for _ in range(repeats)] for name, step in steps.items()}
    return {
        name: {group: round(float(np.median([one[group] for one in several])) / plain, 4) for group in several[0]}
        for name, several in samples.items()
    }


def machine(device: str) -> dict[str, Any]:
    """Versions, commit, threads, and the processor by name."""
    found = environment(device)
    if device == "cpu":
        found["device"] = f"CPU, {_processor()}"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _report(case: Case, lines: Sequence[Mapping[str, Any]]) -> str:
    rows = [f"{case.title}, n={case.n}, m={case.m}; bound {case.bound:.2f}"]
    for line in lines:
        if "skipped" in line:
            rows.append(f"  {line['system']:10s} skipped: {line['skipped']}")
            continue
        low, middle, high = np.quantile(line["ratios"], (0.25, 0.5, 0.75))
        rows.append(
            f"  {line['system']:10s} {middle:5.2f} ({low:.2f}-{high:.2f}) time, {line['memory_ratio']:5.2f} memory, "
            f"{line['seconds']:.4f} s"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Arguments)))
