"""What the paper says in words about its tables and figures, each as a check of the records.

A claim is checked for the means over trials; its finding prints the intervals beside them. Where the paper names a
number, the check states the margin that we allow. Claims about the paper's own scale are also looked at on small
images, which can support or contradict an ordering and never a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from l2rw_core.experiments.paper import TABLE_1_ROWS, TABLE_2_ROWS, Cell, grid, uses_clean
from l2rw_core.experiments.records import Interval, interval

if TYPE_CHECKING:
    from l2rw_core.experiments.report import CellResult

CIFAR_10, CIFAR_100 = ("paper", "cifar10"), ("paper", "cifar100")
SMALL = (("reduced", "fashion_mnist"), ("reduced", "mnist"))


LEAST_TRIALS = 2
"""A claim rests on cells with at least so many trials: one alone has no interval."""


class NotRun(Exception):
    """A cell that a claim needs has too few records."""


@dataclass(frozen=True)
class Finding:
    """What the records say about a claim."""

    agrees: bool
    text: str
    trials: int
    """The fewest trials of any cell it rests on."""


@dataclass
class Look:
    """Access to the cells of one scale and data set; remembers the records that were used."""

    scale: str
    data: str
    result_of: Callable[[Cell], CellResult | None]
    used: list[str] = field(default_factory=list)
    trials: list[int] = field(default_factory=list)

    def cell(self, name: str, row: str, **column: Any) -> CellResult:
        """The result of a row of a grid, at the given columns; `NotRun` if it has fewer than `LEAST_TRIALS`."""
        wanted = {"data": self.data, **column}
        for cell in grid(name, self.scale).cells:
            place = dict(cell.column)
            if cell.row == row and all(place.get(key) == value for key, value in wanted.items()):
                result = self.result_of(cell)
                if result is None or len(result.records) < LEAST_TRIALS:
                    break
                self.used += [record.id for record in result.records]
                self.trials.append(len(result.records))
                return result
        raise NotRun

    def accuracy(self, name: str, row: str, **column: Any) -> Interval:
        """Test accuracy in percent after the last step."""
        return self.cell(name, row, **column).last

    def smallest(self, name: str, key: str) -> Any:
        """The smallest value of a column of a grid that the paper's own setting of 15 images comes close to."""
        return min(dict(cell.column)[key] for cell in grid(name, self.scale).cells if dict(cell.column)[key] >= 15)


Check = Callable[[Look], tuple[bool, str]]


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper in our words, and how to check it."""

    where: str
    says: str
    settings: tuple[tuple[str, str], ...]
    """(scale, data set) pairs at which it is looked at."""
    check: Check

    def look_up(self, look: Look) -> Finding | None:
        """What the records say; None if a cell that is needed was not run."""
        try:
            agrees, text = self.check(look)
        except NotRun:
            return None
        return Finding(agrees, text, min(look.trials))


def _percent(value: Interval) -> str:
    return f"{value.mean:.1f} ± {value.half_width:.1f}%"


def _best_of(look: Look, name: str, rows: tuple[str, ...], **column: Any) -> tuple[str, Interval]:
    found = {row: look.accuracy(name, row, **column) for row in rows}
    best = max(found, key=lambda row: found[row].mean)
    return best, found[best]


def _small_error_at_200(look: Look) -> tuple[bool, str]:
    accuracy = look.accuracy("fig2", "l2rw", ratio=200)
    error = Interval(100 - accuracy.mean, accuracy.half_width, accuracy.trials)
    return error.mean < 2.5, f"test error {_percent(error)}; we allow 2.5%"


def _others_fail_at_200(look: Look) -> tuple[bool, str]:
    rows = tuple(r for r in ("baseline", "proportion", "resample", "hard-mining", "random") if not uses_clean(r))
    best, its = _best_of(look, "fig2", rows, ratio=200)
    ours = look.accuracy("fig2", "l2rw", ratio=200)
    text = f"test error {100 - ours.mean:.1f} ± {ours.half_width:.1f}% against {100 - its.mean:.1f} ± "
    text += f"{its.half_width:.1f}% of the next best, {best}; we ask for intervals that do not overlap"
    return ours.low > its.high, text


def _ours_is_best(name: str, rows: tuple[str, ...]) -> Check:
    def check(look: Look) -> tuple[bool, str]:
        others = tuple(row for row in rows if row != "l2rw")
        best, its = _best_of(look, name, others)
        ours = look.accuracy(name, "l2rw")
        return ours.mean > its.mean, f"L2RW {_percent(ours)}, best of the others {best} {_percent(its)}"

    return check


def _ahead_by_three(look: Look) -> tuple[bool, str]:
    best, its = _best_of(look, "table2", tuple(row for row in TABLE_2_ROWS if row != "l2rw"))
    ours = look.accuracy("table2", "l2rw")
    return ours.mean - its.mean > 3, f"L2RW {_percent(ours)}, best of the others {best} {_percent(its)}"


EARLIER = ("baseline", "reed-hard", "s-model", "mentornet")


def _random_beats_earlier_methods(look: Look) -> tuple[bool, str]:
    best, its = _best_of(look, "table1", EARLIER)
    random = look.accuracy("table1", "random")
    return random.mean > its.mean, f"random {_percent(random)}, best of the earlier methods {best} {_percent(its)}"


def _random_loses_with_a_background(look: Look) -> tuple[bool, str]:
    rows = tuple(r for r in TABLE_2_ROWS if not uses_clean(r) and r not in ("random", "weighted"))
    best, its = _best_of(look, "table2", rows)
    random = look.accuracy("table2", "random")
    return random.mean < its.mean, f"random {_percent(random)}, best of the earlier methods {best} {_percent(its)}"


def _clean_labels_help_more_than_random(look: Look) -> tuple[bool, str]:
    ours, base, random = (look.accuracy("table2", row) for row in ("l2rw", "baseline", "random"))
    agrees = ours.low > max(base.high, random.high)
    text = f"L2RW {_percent(ours)}, random {_percent(random)}, baseline {_percent(base)}"
    return agrees, f"{text}; we ask for intervals that do not overlap"


def _wrong_labels_get_no_weight(look: Look) -> tuple[bool, str]:
    zero = {}
    for kind in ("wrong", "right"):
        counts = [r.weight_histograms["midway"][kind] for r in look.cell("fig3", "l2rw").records]
        zero[kind] = interval([100 * c[0] / sum(c) for c in counts])
    text = f"weight 0 for {_percent(zero['wrong'])} of wrong and {_percent(zero['right'])} of right labels"
    return zero["wrong"].mean > 50 > zero["right"].mean, f"{text} at the end of the first half of training"


def _few_clean_images_cost_little(look: Look) -> tuple[bool, str]:
    few = look.smallest("fig4", "clean")
    little, usual = (look.accuracy("fig4", "l2rw", clean=size) for size in (few, 100))
    loss = usual.mean - little.mean
    return loss < 3, f"L2RW {_percent(little)} with {few} clean images, {_percent(usual)} with 100; we allow 3 points"


def _no_gain_beyond_100(look: Look) -> tuple[bool, str]:
    usual, many = (look.accuracy("fig4", "l2rw", clean=size) for size in (100, 1000))
    text = f"L2RW {_percent(usual)} with 100 clean images, {_percent(many)} with 1,000; we allow 1 point"
    return many.mean - usual.mean < 1, text


def _fine_tuning_needs_more(look: Look) -> tuple[bool, str]:
    few = look.smallest("fig4", "clean")
    tuned, ours = ([look.accuracy("fig4", row, clean=size) for size in (few, 100)] for row in ("baseline+ft", "l2rw"))
    drops = [b.mean - a.mean for a, b in (tuned, ours)]
    text = f"from 100 to {few} clean images the fine-tuned baseline loses {drops[0]:.1f} points, L2RW {drops[1]:.1f}"
    return drops[0] > drops[1], text


def _fine_tuning_catches_up(look: Look) -> tuple[bool, str]:
    tuned, ours = (look.accuracy("fig4", row, clean=1000) for row in ("baseline+ft", "l2rw"))
    text = f"with 1,000 clean images the fine-tuned baseline has {_percent(tuned)}, L2RW {_percent(ours)}"
    return tuned.mean > ours.mean - 1, f"{text}; we allow 1 point"


def _noise_costs_little(look: Look) -> tuple[bool, str]:
    losses = {}
    for row in ("l2rw", "baseline"):
        none, half = (look.accuracy("fig5", row, noise=rate) for rate in (0.0, 0.5))
        losses[row] = none.mean - half.mean
    text = f"from no noise to half of the labels L2RW loses {losses['l2rw']:.1f} points, the baseline"
    return losses["l2rw"] < 10 and losses["baseline"] > 40, f"{text} {losses['baseline']:.1f}; we allow 10, ask for 40"


def _slightly_worse_without_noise(look: Look) -> tuple[bool, str]:
    ours, base = (look.accuracy("fig5", row, noise=0.0) for row in ("l2rw", "baseline"))
    text = f"without noise L2RW has {_percent(ours)}, the baseline {_percent(base)}; we allow 5 points"
    return 0 < base.mean - ours.mean < 5, text


def _after_the_first_drop(look: Look) -> tuple[bool, str]:
    """Accuracy from the evaluation after the first drop of the learning rate to the end of training."""
    changes = {}
    for row in ("baseline", "s-model", "l2rw"):
        result = look.cell("fig7", row)
        e = result.cell.experiment
        after = e.lr_drops[0] + e.evaluate_every
        changes[row] = interval([100 * (r.at(e.steps) - r.at(after)) for r in result.records])
    text = ", ".join(f"{row} {change.mean:+.1f}" for row, change in changes.items())
    falls = changes["baseline"].mean < -0.5 and changes["s-model"].mean < -0.5
    return falls and abs(changes["l2rw"].mean) < 1, f"change in points to the end: {text}; flat is less than 1"


CLAIMS: tuple[Claim, ...] = (
    Claim("Figure 2", "At 200:1 L2RW has a test error of about 2%", (("paper", "mnist"),), _small_error_at_200),
    Claim("Figure 2", "At 200:1 the other methods fail badly", (("paper", "mnist"),), _others_fail_at_200),
    Claim(
        "Table 1",
        "With uniform flips L2RW is best",
        (CIFAR_10, CIFAR_100, *SMALL),
        _ours_is_best("table1", TABLE_1_ROWS),
    ),
    Claim(
        "Table 2",
        "With background flips L2RW is best",
        (CIFAR_10, CIFAR_100, *SMALL),
        _ours_is_best("table2", TABLE_2_ROWS),
    ),
    Claim("Table 2", "On CIFAR-100 L2RW is ahead by more than 3 points", (CIFAR_100,), _ahead_by_three),
    Claim(
        "Table 1",
        "With uniform flips random weights beat all earlier methods",
        (CIFAR_10, CIFAR_100, *SMALL),
        _random_beats_earlier_methods,
    ),
    Claim(
        "Table 2",
        "With background flips random weights do not",
        (CIFAR_10, CIFAR_100, *SMALL),
        _random_loses_with_a_background,
    ),
    Claim(
        "Table 2",
        "L2RW is above the baseline and random weights",
        (CIFAR_10, CIFAR_100, *SMALL),
        _clean_labels_help_more_than_random,
    ),
    Claim("Figure 3", "Most wrong labels get weight 0", (CIFAR_10, *SMALL), _wrong_labels_get_no_weight),
    Claim(
        "Figure 4", "A handful of clean images cost about 2 points", (CIFAR_10, *SMALL), _few_clean_images_cost_little
    ),
    Claim("Figure 4", "Nothing is gained beyond 100 clean images", (CIFAR_10, *SMALL), _no_gain_beyond_100),
    Claim(
        "Figure 4",
        "With a handful of clean images fine-tuning loses more than L2RW",
        (CIFAR_10, *SMALL),
        _fine_tuning_needs_more,
    ),
    Claim("Figure 4", "Near 1,000 clean images fine-tuning catches up", (CIFAR_10, *SMALL), _fine_tuning_catches_up),
    Claim(
        "Figure 5",
        "From 0 to 50% noise L2RW loses 6 points and the baseline more than 40",
        (CIFAR_10, *SMALL),
        _noise_costs_little,
    ),
    Claim(
        "Figure 5",
        "Without noise L2RW is slightly below the baseline",
        (CIFAR_10, *SMALL),
        _slightly_worse_without_noise,
    ),
    Claim(
        "Figure 7",
        "After the first drop of the learning rate baseline and S-model get worse and L2RW stays flat",
        (CIFAR_10, *SMALL),
        _after_the_first_drop,
    ),
)
