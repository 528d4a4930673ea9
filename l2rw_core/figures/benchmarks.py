"""What a step costs: the lines that `benchmarks.step_cost` and `benchmarks.knobs` recorded, as figure and tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l2rw_core.datasets import title_of
from l2rw_core.experiments import Interval, results_root
from l2rw_core.figures.numbers import Noted, NumberTable
from l2rw_core.figures.style import COLOURS, DASHES, MARKERS, Drawing, figure, show

Line = Mapping[str, Any]

OURS = "l2rw-core"
ROLES = {
    "forward": "l2rw",
    "ghost": "clean",
    "reverse": "majority",
    "copy": "baseline",
    "higher": "noisy",
    "torchopt": "minority",
    "betty": "neutral",
}
"""Systems of the figure -> role in the house style."""
PLAIN_NAMES = {"plain": "plain SGD", "copy": "copied model", "betty": "betty (approximate)"}
SHORT_NAMES = {"copy": "copied model"}
"""Heads of columns, where they are not the system's own name."""
GROUP_NAMES = {
    "products": "products and convolutions",
    "normalisation": "normalisation",
    "pooling": "pooling",
    "other": "other operators",
}
BETWEEN = "between operators"
COUNTS = {"ghost": "uncoupled_bound"}
"""Engine -> the count of products that is its own, where it is not ``bound``."""


def load_benchmark(name: str, device: str = "CPU", folder: Path | None = None) -> list[dict[str, Any]]:
    """Lines of ``results/benchmarks/<name>.jsonl`` made on one kind of device, for each case those of its newest run.

    A case that was measured again keeps its place.

    Args:
        name: ``step_cost`` or ``knobs``.
        device: how the device's name begins.
        folder: where the file lies, by default among the recorded results.

    Raises:
        ValueError: names the file and line that cannot be read.
        FileNotFoundError: if there is no such file.
    """
    path = (folder or results_root() / "benchmarks") / f"{name}.jsonl"
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), start=1):
        try:
            line = json.loads(text)
            if line["machine"]["device"].startswith(device):
                lines.append(line)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}, is not a measurement: {error!r}") from error
    newest: dict[str, str] = {}
    for line in lines:
        newest[_case(line)] = max(line["started"], newest.get(_case(line), ""))
    places = {case: place for place, case in enumerate(newest)}
    latest = [line for line in lines if line["started"] == newest[_case(line)]]
    return sorted(latest, key=lambda line: places[_case(line)])


def _case(line: Line) -> str:
    return line.get("case", "")


@dataclass(frozen=True)
class Multiple(Noted):
    """Time or memory of a step as a multiple of the plain step's, as text that opens a note on how it was measured.

    Args:
        line: one measured line.
        what: ``time`` or ``memory``.
    """

    line: Line
    what: str = "time"

    @property
    def value(self) -> Interval:
        """The median over the rounds, without an interval: the note has the quartiles."""
        if self.what == "memory":
            return Interval(self.line["memory_ratio"], math.nan, 1)
        return Interval(median_ratio(self.line), math.nan, len(self.line["ratios"]))

    def __str__(self) -> str:
        return f"{self.value.mean:.2f}"

    def _note(self) -> dict[str, str]:
        line, machine = self.line, self.line["machine"]
        low, middle, high = np.quantile(line["ratios"], (0.25, 0.5, 0.75))
        note = {
            "Time": f"{middle:.2f} plain steps, quartiles {low:.2f} and {high:.2f} of {len(line['ratios'])} rounds",
            "Peak memory": f"{line['memory_ratio']:.2f} times that of a plain step",
        }
        if "case" in line:
            note["Step"] = f"{line['title']}, n = {line['n']}, m = {line['m']}: {1000 * line['seconds']:.4g} ms"
            note["Software"] = f"{line['package']} {line['version']}, torch {machine['torch']}"
        if line.get("weight_error") is not None:
            note["Weights"] = f"{line['weight_error']:.1e} from Algorithm 1, in L1, in float64 on a small batch"
        threads = "one thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
        note["Made"] = f"{line['started'][:10]}; {machine['device']}, {threads}; commit {machine['commit'][:9]}"
        if "case" in line:
            note["File"] = "data/results/benchmarks/step_cost.jsonl"
            note["Again"] = f"python -m benchmarks.step_cost --cases {line['case']} --systems {line['system']}"
        else:
            note["File"] = "data/results/benchmarks/knobs.jsonl"
            note["Again"] = "python -m benchmarks.knobs"
        return note


def median_ratio(line: Line) -> float:
    """Time of a step in plain steps: the median over the rounds."""
    return float(np.median(line["ratios"]))


def by_case(lines: Sequence[Line]) -> dict[str, dict[str, Line]]:
    """Case -> system -> its line, in the order of the file; with what was skipped."""
    cases: dict[str, dict[str, Line]] = {}
    for line in lines:
        cases.setdefault(line["case"], {})[line["system"]] = line
    return cases


def fastest(systems: Mapping[str, Line], ours: bool) -> Line | None:
    """The exact system with the lowest time, among our engines or among the others; None if none was timed."""
    fits = [
        line
        for name, line in systems.items()
        if "skipped" not in line and line["exact"] and name != "plain" and (line["package"] == OURS) == ours
    ]
    return min(fits, key=median_ratio, default=None)


def case_title(line: Line) -> str:
    """Model and sizes of the batches."""
    sizes = f"n = m = {line['n']}" if line["n"] == line["m"] else f"n = {line['n']}, m = {line['m']}"
    return f"{line['title']}, {sizes}"


def cost_table(lines: Sequence[Line], what: str = "time") -> NumberTable:
    """Time or peak memory in plain steps: a row a case, a column a system; for the time also the counted bounds.

    Args:
        lines: of ``step_cost``.
        what: ``time`` or ``memory``.
    """
    cases = by_case(lines)
    names = list(dict.fromkeys(name for systems in cases.values() for name in systems if name != "plain"))
    columns, rows = ["case", *(SHORT_NAMES.get(name, name) for name in names)], []
    for systems in cases.values():
        first = next(iter(systems.values()))
        rows.append([case_title(first), *(_cell(systems.get(name), what) for name in names)])
        if what == "time":
            uncoupled = first["uncoupled_bound"]
            rows[-1] += [f"{first['bound']:.2f}", "" if uncoupled is None else f"{uncoupled:.2f}"]
    if what == "time":
        columns += ["count", "count, one pass"]
    meaning = {
        "time": "Time of a step in plain steps, median; counts of products as above",
        "memory": "Peak memory of a step, as a multiple of a plain step's",
    }[what]
    return NumberTable(columns, rows, f"{meaning}. {_whose(names, cases)}{_skipped(cases)}{origin(lines)}")


def _whose(names: Sequence[str], cases: Mapping[str, Mapping[str, Line]]) -> str:
    """Which columns are ours, and which only come near."""
    lines = {
        name: [systems[name] for systems in cases.values() if "package" in systems.get(name, {})] for name in names
    }
    ours = [name for name in names if any(line["package"] == OURS for line in lines[name])]
    near = [SHORT_NAMES.get(name, name) for name in names if any(not line["exact"] for line in lines[name])]
    return f"Ours: {', '.join(ours)}. " * bool(ours) + f"Approximate: {', '.join(near)}. " * bool(near)


def _system_title(name: str, cases: Mapping[str, Mapping[str, Line]]) -> str:
    ours = any(systems[name].get("package") == OURS for systems in cases.values() if name in systems)
    return f"{name} (ours)" if ours else PLAIN_NAMES.get(name, name)


def _cell(line: Line | None, what: str) -> Multiple | str:
    return Multiple(line, what) if line is not None and "skipped" not in line else "not run"


def _skipped(cases: Mapping[str, Mapping[str, Line]]) -> str:
    reasons: dict[tuple[str, str], list[str]] = {}
    for systems in cases.values():
        for name, line in systems.items():
            if "skipped" in line:
                reasons.setdefault((name, line["skipped"]), []).append(case_title(line))
    return "".join(f"Not run: {name} on {'; '.join(on)}, because {why}. " for (name, why), on in reasons.items())


def origin(lines: Sequence[Line]) -> str:
    """When and on what the lines were measured, as a sentence without a verb."""
    days = sorted({line["started"][:10] for line in lines})
    devices = sorted({line["machine"]["device"] for line in lines})
    threads = sorted({line["machine"]["threads"] for line in lines})
    counted = "one thread" if threads == [1] else f"{threads} threads"
    return f"{', '.join(devices)}, {counted}; {', '.join(days)}."


def step_costs(lines: Sequence[Line]) -> Drawing:
    """Time of a step in plain steps: a row a case, a marker a system with its quartiles, the counted bounds as ticks.

    Args:
        lines: of ``step_cost``.
    """
    cases = by_case(lines)
    systems_here = [name for name in ROLES if any("ratios" in systems.get(name, {}) for systems in cases.values())]
    fig, ax = figure(height=0.75 * len(cases) + 1.6)
    for row, systems in enumerate(cases.values()):
        first = next(iter(systems.values()))
        for bound, dashes in ((first["bound"], "-"), (first["uncoupled_bound"], DASHES["clean"])):
            if bound is not None:
                ax.vlines(bound, row - 0.42, row + 0.42, color="black", linestyle=dashes)
        for place, name in enumerate(systems_here):
            if "ratios" in systems.get(name, {}):
                height = row + 0.6 * (place / max(1, len(systems_here) - 1) - 0.5)
                _mark(ax, systems[name], height, ROLES[name])
    for name in systems_here:
        role, label = ROLES[name], _system_title(name, cases)
        ax.plot([], [], color=COLOURS[role], marker=MARKERS[role], linestyle="", label=label)
    ax.plot([], [], color="black", marker="|", markersize=14, linestyle="", label="count of products")
    titles = [case_title(next(iter(systems.values()))).replace(", n", "\nn", 1) for systems in cases.values()]
    ax.set_yticks(range(len(cases)), titles)
    ax.set(xlabel="time of a step, in plain steps", ylim=(len(cases) - 0.5, -0.5))
    ax.set_xlim(left=0)
    ax.axvline(1, color="black", linewidth=0.8)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    sentence = " ".join(_comparison(systems) for systems in cases.values())
    return show(fig, alt=f"Time of a reweighted step, in plain steps. {sentence}", caption=_caption(lines))


def _mark(ax: Any, line: Line, height: float, role: str) -> None:
    low, middle, high = np.quantile(line["ratios"], (0.25, 0.5, 0.75))
    ax.errorbar(
        middle,
        height,
        xerr=[[middle - low], [high - middle]],
        color=COLOURS[role],
        marker=MARKERS[role],
        markersize=7,
        linestyle="",
    )


def _comparison(systems: Mapping[str, Line]) -> str:
    mine, peer = fastest(systems, ours=True), fastest(systems, ours=False)
    first = next(iter(systems.values()))
    if mine is None or peer is None:
        return f"{case_title(first)}: not compared."
    return (
        f"{case_title(first)}: {mine['system']} {median_ratio(mine):.2f}, {peer['system']} {median_ratio(peer):.2f}, "
        f"count {first['bound']:.2f}."
    )


def _caption(lines: Sequence[Line]) -> str:
    rounds = sorted({len(line["ratios"]) for line in lines if "ratios" in line})
    counted = " to ".join(map(str, dict.fromkeys((rounds[0], rounds[-1]))))
    return (
        f"Medians and quartiles of {counted} rounds in which the systems take turns. {origin(lines)} Ticks: count of "
        "products, (3m + 5n) / 3n; dotted, where one backward pass can give alignments and update, (3m + 4n) / 3n."
    )


def own_count(line: Line) -> float:
    """The counted cost of a step by this line's system, in plain steps."""
    return line[COUNTS.get(line["system"], "bound")]


def surplus(systems: Mapping[str, Line], name: str) -> dict[str, float]:
    """How much of a step's time beyond the engine's count is spent where, in plain steps.

    If every part of a step grew as its products should, a part that takes a share s of the plain step would take
    s times the count. What it takes beyond that is its surplus; negative if it takes less. Parts are groups of
    operators, and the time between operators; they add up to the ratio minus the count.

    Args:
        systems: the lines of one case, by system.
        name: of the system.
    """
    line, plain = systems[name], systems["plain"]
    parts = {
        GROUP_NAMES[group]: spent - own_count(line) * plain["operators"][group]
        for group, spent in line["operators"].items()
    }
    outside = median_ratio(line) - sum(line["operators"].values())
    outside_plain = 1 - sum(plain["operators"].values())
    return parts | {BETWEEN: outside - own_count(line) * outside_plain}


def surplus_table(lines: Sequence[Line], name: str = "forward") -> NumberTable:
    """Where the time of one of our engines goes beyond the count of products: a row a case, a column a part."""
    columns = [*GROUP_NAMES.values(), BETWEEN]
    rows = []
    for systems in by_case(lines).values():
        if "operators" in systems.get(name, {}):
            parts = surplus(systems, name)
            counted = (f"{own_count(systems[name]):.2f}", *(f"{parts[column]:+.2f}" for column in columns))
            rows.append([case_title(systems[name]), Multiple(systems[name]), *counted])
    caption = f"Engine {name}: time in plain steps, the count of products, and what each part takes beyond the count."
    return NumberTable(["case", "time", "count", *columns], rows, caption)


def knob_table(lines: Sequence[Line]) -> NumberTable:
    """Knobs that trade exactness for cost: time and memory in plain steps, and how far their weights are off.

    Args:
        lines: of ``knobs``.
    """
    first = lines[0]
    rows = []
    for line in lines:
        if line["knob"] == "plain":
            continue
        off = ["0", "0%"]
        if "distances" in line:
            off = [f"{np.mean(line['distances']):.2f}", f"{1 - np.mean(line['same_signs']):.0%}"]
        rows.append([line.get("title", "exact"), Multiple(line), Multiple(line, "memory"), *off])
    steps = max(len(line.get("distances", ())) for line in lines)
    caption = (
        f"LeNet on {title_of(first['data'])} with 40% wrong labels, n = {first['n']}, m = {first['m']}; errors are "
        f"means over {steps} of {first['steps']} training steps by exact weights, against the exact weights of the "
        "same step. "
        f"{origin(lines)}"
    )
    return NumberTable(["step", "time", "memory", "distance of weights (L1)", "other sign"], rows, caption)
