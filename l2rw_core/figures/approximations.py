"""Training by approximate weights: what `benchmarks.approximate` recorded, as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l2rw_core.datasets import title_of
from l2rw_core.experiments import Interval, in_words, interval
from l2rw_core.figures.benchmarks import Line, origin
from l2rw_core.figures.numbers import Noted, NumberTable
from l2rw_core.numerals import number

EXACT = "forward"
"""The variant with which the others are compared."""


_FAR_APART = 10
"""Points of an interval beyond which the lowest and the highest trial say more."""


def title_of_variant(name: str) -> str:
    """For a reader: `benchmarks.approximate` names a variant by its engine and, where it is not 1, by `every`."""
    engine, _, every = name.partition(", every ")
    return f"clean gradient every {every} steps" if every else {EXACT: "exact", "difference": "by difference"}[engine]


def variants_of(lines: Sequence[Line]) -> list[str]:
    """What is on record, the exact one first."""
    return sorted({line["variant"] for line in lines}, key=lambda name: (_every(name), name != EXACT))


def _every(name: str) -> int:
    return int(name.partition(", every ")[2] or 1)


def data_of(lines: Sequence[Line]) -> list[str]:
    """The data sets on record."""
    return list(dict.fromkeys(line["data"] for line in lines))


def trials_of(lines: Sequence[Line], data: str, variant: str) -> dict[int, Line]:
    """Seed -> the line of that trial."""
    chosen = [line for line in lines if (line["data"], line["variant"]) == (data, variant)]
    return {line["seed"]: line for line in sorted(chosen, key=lambda line: line["seed"])}


def accuracy_lost(lines: Sequence[Line], data: str, variant: str) -> list[float]:
    """Points of test accuracy below the exact run, of each seed that both have."""
    own, exact = (trials_of(lines, data, name) for name in (variant, EXACT))
    return [100 * (exact[seed]["accuracy"] - own[seed]["accuracy"]) for seed in own if seed in exact]


def distance_of(lines: Sequence[Line], data: str, variant: str) -> float:
    """L1 distance of a step's weights from the exact ones: median over the looks of a run, then over trials."""
    return float(np.median([line["distance"] for line in trials_of(lines, data, variant).values()]))


@dataclass(frozen=True)
class TrainedAccuracy(Noted):
    """Test accuracy after training by a variant, or its difference to exact weights; opens a note on its trials.

    Args:
        lines: all that is on record.
        data, variant: which trials.
        difference: whether the accuracy of exact weights is taken off, trial by trial.
    """

    lines: Sequence[Line]
    data: str
    variant: str
    difference: bool = False

    @property
    def value(self) -> Interval:
        """Mean and 95% interval, in percent or points."""
        return interval(self._of_trials)

    @property
    def _of_trials(self) -> list[float]:
        if self.difference:
            return [-lost for lost in accuracy_lost(self.lines, self.data, self.variant)]
        return [100 * line["accuracy"] for line in trials_of(self.lines, self.data, self.variant).values()]

    def __str__(self) -> str:
        unit, trials = "" if self.difference else "%", self._of_trials
        if self.value.half_width > _FAR_APART:
            return f"{number(min(trials), '.1f')} to {number(max(trials), '.1f')}{unit}"
        return f"{in_words(self.value, 1, '+' if self.difference else '')}{unit}"

    def _note(self) -> dict[str, str]:
        trials = trials_of(self.lines, self.data, self.variant)
        commits = sorted({line["machine"]["commit"][:9] for line in trials.values()})
        values = zip(trials, self._of_trials, strict=True)
        return {
            "Trials": ", ".join(f"seed {seed}: {number(value, '.2f')}" for seed, value in values),
            "Training": f"L2RW of Table 2 at the reduced scale, {next(iter(trials.values()))['steps']:,} steps",
            "Made": f"{origin([*trials.values()])} Commit {', '.join(commits)}",
            "File": "data/results/benchmarks/approximate.jsonl",
            "Again": f"python -m benchmarks.approximate --trials {len(trials)}",
        }


def approximation_table(lines: Sequence[Line]) -> NumberTable:
    """Accuracy after training by each variant, beside exact weights, and how far its weights are from them."""
    columns, rows = ["weights"], [[title_of_variant(variant)] for variant in variants_of(lines)]
    for data in data_of(lines):
        columns += [f"{title_of(data)}: accuracy", "minus exact", "distance (L1)"]
        for row, variant in zip(rows, variants_of(lines), strict=True):
            if not trials_of(lines, data, variant):
                row += ["not run"] * 3
                continue
            row.append(TrainedAccuracy(lines, data, variant))
            row.append("" if variant == EXACT else TrainedAccuracy(lines, data, variant, difference=True))
            row.append(f"{distance_of(lines, data, variant):.2g}")
    counts = sorted({len(trials_of(lines, data, v)) for data in data_of(lines) for v in variants_of(lines)})
    counted = " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1]))))
    caption = (
        "40% background flips, the LeNet, 100 clean images: test accuracy after the last step; differences trial by "
        f"trial; {counted} trials, means and 95% intervals. Distances: of weights from the exact ones, medians."
    )
    return NumberTable(columns, rows, caption)


def at_chance(lines: Sequence[Line], data: str, variant: str, chance: float = 10) -> int:
    """Trials that end within a point of `chance`, the percentage that guessing reaches."""
    return sum(100 * line["accuracy"] < chance + 1 for line in trials_of(lines, data, variant).values())


def approximations_in_words(lines: Sequence[Line]) -> str:
    """What each variant costs in accuracy, one sentence each."""
    return " ".join(
        f"{title_of_variant(variant).capitalize()}: "
        + ", ".join(f"{_outcome(lines, data, variant)} on {title_of(data)}" for data in data_of(lines))
        + "."
        for variant in variants_of(lines)
        if variant != EXACT
    )


def _outcome(lines: Sequence[Line], data: str, variant: str) -> str:
    failed, count = at_chance(lines, data, variant), len(trials_of(lines, data, variant))
    if not failed:
        return f"{TrainedAccuracy(lines, data, variant, difference=True)} points"
    return f"{failed} of {count} trials {'ends' if failed == 1 else 'end'} at chance"
