"""Fine-tuning on texts of several sources: what `benchmarks.language` recorded, as figure, table and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from l2rw_core.experiments import Interval, in_words, interval
from l2rw_core.figures.benchmarks import Line, origin
from l2rw_core.figures.numbers import Noted, NumberTable
from l2rw_core.figures.style import COLOURS, MARKERS, PAPER, Drawing, figure, show
from l2rw_core.numerals import number

SAME_RATE = "l2rw, same rate"
"""L2RW at the learning rate that was decided for uniform mixing, on record where that is another one."""
TITLES = {
    "uniform": "uniform mixing",
    "selection": "selection before training",
    "l2rw": "L2RW",
    SAME_RATE: "L2RW at the rate of mixing",
    "target": "target examples alone",
    "oracle": "the good source alone",
}
"""What is trained -> its name for a reader."""
ROLES = {
    "uniform": "baseline",
    "selection": "majority",
    "l2rw": "l2rw",
    SAME_RATE: "minority",
    "target": "clean",
    "oracle": "neutral",
}
THEN = ", then target"
"""End of the name of a run that continues on the target examples."""


def trials_of(lines: Sequence[Line], setting: str) -> list[Line]:
    """The lines of one setting in the order of their trials, without the one that tuned."""
    return sorted((e for e in lines if e["setting"] == setting and e["trial"] >= 0), key=lambda line: line["trial"])


def settings_of(lines: Sequence[Line]) -> list[str]:
    """The settings on record."""
    return list(dict.fromkeys(line["setting"] for line in lines))


def recorded(lines: Sequence[Line], setting: str, then: str = "") -> list[str]:
    """The methods of `TITLES` that every trial of a setting has, or has followed by the target examples."""
    names = [{run["method"] for run in line["runs"]} for line in trials_of(lines, setting)]
    return [method for method in TITLES if names and all(method + then in of_trial for of_trial in names)]


def run_of(line: Line, method: str) -> Line:
    """The run of a method in one trial."""
    return next(run for run in line["runs"] if run["method"] == method)


def at_best(run: Line, what: str) -> float:
    """A quantity of a run after the number of steps with the least held-out loss: one of `run`'s lists."""
    return run[what][int(np.argmin(run["held_out"]))]


def values(lines: Sequence[Line], setting: str, method: str, what: str = "test") -> list[float]:
    """A quantity of each trial; ``test`` is in nats a word, above the loss of the dialect itself."""
    return [at_best(run_of(line, method), what) for line in trials_of(lines, setting)]


def text_lead(lines: Sequence[Line], setting: str, method: str, other: str) -> Interval:
    """By how many nats a word the loss of a method is below that of another, trial by trial."""
    pairs = zip(values(lines, setting, other), values(lines, setting, method), strict=True)
    return interval([theirs - ours for theirs, ours in pairs])


def weight_on_target(lines: Sequence[Line], setting: str, method: str) -> list[float]:
    """Share of the training that went to the target's own source, of each trial."""
    return [run_of(line, method)["weight"][0] for line in trials_of(lines, setting)]


def weight_before(lines: Sequence[Line], setting: str) -> list[float]:
    """Share of the positive inner products before training that the target's own source has, of each trial."""
    return [line["weight_before"][0] for line in trials_of(lines, setting)]


@dataclass(frozen=True)
class Measured(Noted):
    """A mean over trials as text that opens a note on them.

    Args:
        lines: all that is on record.
        setting, method: which trials, and which run of them.
        what: ``test`` or ``endings``.
        other: a method whose loss is taken off, trial by trial.
    """

    lines: Sequence[Line]
    setting: str
    method: str
    what: str = "test"
    other: str = ""

    @property
    def value(self) -> Interval:
        """Mean and 95% interval; endings in percent."""
        return interval(self._of_trials)

    @property
    def _of_trials(self) -> list[float]:
        own = values(self.lines, self.setting, self.method, self.what)
        if self.other:
            return [a - b for a, b in zip(own, values(self.lines, self.setting, self.other), strict=True)]
        return [100 * value for value in own] if self.what == "endings" else own

    def __str__(self) -> str:
        if self.what == "endings":
            return f"{in_words(self.value, 1)}%"
        return in_words(self.value, 3, "+" if self.other else "")

    def _note(self) -> dict[str, str]:
        trials = trials_of(self.lines, self.setting)
        runs = [run_of(line, self.method) for line in trials]
        commits = sorted({line["machine"]["commit"][:9] for line in trials})
        share = f"; share kept {runs[0]['share']:.1%}" if runs[0]["share"] else ""
        scale = trials[0]["scale"]
        return {
            "Trials": ", ".join(
                f"{number(value, '.3f')} (trial {line['trial']}, {at_best(run, 'steps')} steps)"
                for value, line, run in zip(self._of_trials, trials, runs, strict=True)
            ),
            "Training": f"learning rate {runs[0]['rate']:g}{share}; batches of {scale['batch']}",
            "Data": f"{scale['pool']} sentences, a quarter of each source; {scale['target']} target examples",
            "Made": f"{origin(trials)} Commit {', '.join(commits)}",
            "File": "data/results/benchmarks/language.jsonl",
            "Again": f"python -m benchmarks.language --settings {self.setting} --trials {len(trials)}",
        }


def language_table(lines: Sequence[Line]) -> NumberTable:
    """Test loss of each method, alone and followed by the target examples, and its paired difference to L2RW."""
    rows = [
        [
            f"{setting} sources, {TITLES[method]}{' + target examples' if then else ''}",
            Measured(lines, setting, method + then),
            "" if method == "l2rw" else Measured(lines, setting, method + then, other="l2rw" + then),
            Measured(lines, setting, method + then, "endings"),
            _on_target(lines, setting, method + then),
            f"{np.median(values(lines, setting, method + then, 'steps')):.0f}",
        ]
        for setting in settings_of(lines)
        for then in ("", THEN)
        for method in recorded(lines, setting, then)
    ]
    columns = ["trained on", "loss", "minus L2RW", "right endings", "training on the good source", "steps"]
    caption = (
        "Loss on test sentences in nats a word, above that of the dialect itself; differences trial by trial; "
        f"{_counted(lines)}, means and 95% intervals. Steps: median of those with the least held-out loss."
    )
    return NumberTable(columns, rows, caption)


def _on_target(lines: Sequence[Line], setting: str, method: str) -> str:
    if "weight" not in run_of(trials_of(lines, setting)[0], method):
        return ""
    return f"{np.mean(weight_on_target(lines, setting, method)):.0%}"


def _counted(lines: Sequence[Line]) -> str:
    counts = {len(trials_of(lines, setting)) for setting in settings_of(lines)}
    return f"{' or '.join(map(str, sorted(counts)))} trials"


def language_losses(lines: Sequence[Line]) -> Drawing:
    """Test loss of each method, a panel a setting: filled marks alone, open ones followed by the target examples."""
    settings = settings_of(lines)
    fig, panels = figure(height=6.4, nrows=len(settings), sharex=True)
    sentences = []
    for ax, setting in zip(panels, settings, strict=True):
        methods, followed = recorded(lines, setting), recorded(lines, setting, THEN)
        for row, method in enumerate(methods):
            _mark(ax, interval(values(lines, setting, method)), row - 0.12, method, COLOURS[ROLES[method]])
            if method in followed:
                _mark(ax, interval(values(lines, setting, method + THEN)), row + 0.18, method, PAPER)
        before = np.mean([run_of(line, "uniform")["test"][0] for line in trials_of(lines, setting)])
        ax.axvline(before, color="black", linewidth=1)
        ax.set_yticks(range(len(methods)), [TITLES[method] for method in methods])
        ax.set(title=f"{setting} sources", ylim=(len(methods) - 0.5, -0.5))
        means = (f"{TITLES[method]} {np.mean(values(lines, setting, method)):.3f}" for method in methods)
        sentences.append(f"With {setting} sources: {', '.join(means)}, before fine-tuning {before:.3f}.")
    panels[-1].set_xlim(left=0)
    panels[-1].set_xlabel("excess loss, nats a word")
    return show(
        fig,
        alt=f"Test loss in nats a word above the dialect's own. {' '.join(sentences)}",
        caption=(
            f"Means and 95% intervals of {_counted(lines)}. Open marks: followed by the target examples. Line: before "
            f"fine-tuning. {origin([line for line in lines if line['trial'] >= 0])}"
        ),
    )


def _mark(ax: Any, value: Interval, height: float, method: str, face: str) -> None:
    colour = COLOURS[ROLES[method]]
    ax.errorbar(
        value.mean,
        height,
        xerr=value.half_width,
        color=colour,
        markerfacecolor=face,
        marker=MARKERS[ROLES[method]],
        markersize=8,
        linestyle="",
    )


def compared(lines: Sequence[Line], setting: str, other: str, then: str = "", ours: str = "l2rw") -> str:
    """Whether L2RW ends below another method, in words: by how much, trial by trial.

    Args:
        lines: all that is on record.
        setting, other: where, and beside which method.
        then: `THEN` for both followed by the target examples.
        ours: which run of L2RW.
    """
    difference = text_lead(lines, setting, ours + then, other + then)
    size = in_words(difference._replace(mean=abs(difference.mean)), 3)
    if difference.low > 0:
        return f"{size} nats a word below {TITLES[other]}"
    if difference.high < 0:
        return f"{size} nats a word above {TITLES[other]}"
    return f"not apart from {TITLES[other]} (difference {size})"


def told(lines: Sequence[Line], setting: str) -> str:
    """How L2RW fares beside its rivals in a setting, alone and with the target examples afterwards: two paragraphs."""
    weight = np.mean(weight_on_target(lines, setting, "l2rw"))
    kept = np.mean(weight_on_target(lines, setting, "selection"))
    before = np.mean(weight_before(lines, setting))
    *first, last = (compared(lines, setting, other) for other in ("uniform", "selection", "target"))
    after = " and ".join(compared(lines, setting, other, THEN) for other in ("uniform", "selection"))
    return (
        f"With {setting} sources the test loss of L2RW is {', '.join(first)} and {last}. "
        f"Followed by the target examples it is {after}.{_at_same_rate(lines, setting)}\n\n"
        f"With {setting} sources L2RW spends {weight:.0%} of its weight on the good source, which is a quarter of the "
        f"texts; of what the selection keeps {kept:.0%} is good. Before training the positive inner products give it "
        f"{before:.0%}."
    )


def _at_same_rate(lines: Sequence[Line], setting: str) -> str:
    if SAME_RATE not in recorded(lines, setting):
        return ""
    both = " and ".join(compared(lines, setting, other, ours=SAME_RATE) for other in ("uniform", "selection"))
    rates = [f"{run_of(trials_of(lines, setting)[0], method)['rate']:g}" for method in (SAME_RATE, "l2rw")]
    return f" At the learning rate of uniform mixing, {rates[0]} in place of {rates[1]}, it is {both}."


def setup_told(lines: Sequence[Line]) -> str:
    """Sizes, and what was decided before the trials, as sentences."""
    scale, seconds = lines[0]["scale"], []
    for setting in settings_of(lines):
        for line in trials_of(lines, setting):
            plain, ours = (run_of(line, method)["seconds"] for method in ("uniform", "l2rw"))
            seconds.append((ours / plain, line["seconds_of_selection"] / plain))
    step, scoring = np.median(seconds, axis=0)
    return (
        f"{scale['pool']:,} sentences in the mixture, {scale['target']} target examples, as many held out, "
        f"{scale['test']} for the test; AdamW, batches of {scale['batch']}, at most {scale['looked_at'][-1]} steps. "
        f"A run of L2RW takes {step:.1f} times the processor time of uniform mixing, the scores of the selection "
        f"{scoring:.0%} of it, once."
    )
