"""What the paper says in words about its tables and figures, each as a check of the records.

A claim asks for something of a quantity, such as L2RW's accuracy less another row's: to be above a limit. Trials of two
rows with the same seed share data and clean set, so their difference is taken seed by seed. The claim agrees if the
quantity's 95% interval lies wholly above the limit, disagrees if it lies wholly below, and is undecided if it holds
the limit. A claim that two rows differ is *level* instead of undecided where the interval lies within a point of 0 on
both sides: there is no difference that would matter. A claim about many rows disagrees only where a row passes Holm's
correction for that many looks. Where the paper names a number, we allow a margin: the claim agrees within what we
allow, and disagrees where the interval leaves the paper's own number out. Claims are also looked at on small images,
which can support or contradict an ordering; what they say of a number on CIFAR is a comparison of sizes and no more. A
quarter of the paper's schedule on CIFAR-10 has its network and its data, and fits wrong labels for a quarter of the
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from l2rw_core.datasets import BackgroundFlip
from l2rw_core.experiments import (
    LEAST_TRIALS,
    BySeed,
    CellResult,
    Interval,
    NotRun,
    Record,
    Recorded,
    Results,
    grid,
    holm,
    in_words,
    interval,
)
from l2rw_core.experiments.paper import TABLE_1_ROWS, TABLE_2_ROWS
from l2rw_core.figures.methods import title_of_row

CIFAR_10, CIFAR_100 = ("paper", "cifar10"), ("paper", "cifar100")
QUARTER = ("quarter", "cifar10")
SMALL = (("reduced", "fashion_mnist"), ("reduced", "mnist"))

AGREES, DISAGREES, LEVEL, UNDECIDED, NOT_RUN = VERDICTS = ("agrees", "disagrees", "level", "undecided", "not run")
LEVEL_WITHIN = 1.0
"""Points: two rows are level where the whole interval of their difference is nearer to 0 than this."""


@dataclass(frozen=True)
class Asked:
    """A quantity that a claim asks to be above a limit."""

    value: Interval
    above: float = 0.0
    """It agrees if the whole interval is above this."""
    fails_below: float | None = None
    """It disagrees if the whole interval is below this; None for the same limit."""
    of_two: bool = False
    """Whether it is by how much one row is above another, so that the two can be level."""

    @property
    def verdict(self) -> str:
        """What the quantity says if nothing else is asked for."""
        (verdict,) = verdicts_of([self])
        return verdict

    @property
    def p_value(self) -> float:
        """How surprising so low a value would be if the claim held by nothing to spare."""
        return self.value.p_below(self.above if self.fails_below is None else self.fails_below)

    @property
    def level(self) -> bool:
        """Whether it is about two rows between which there is no difference that would matter."""
        return self.of_two and self.value.low > -LEVEL_WITHIN and self.value.high < LEVEL_WITHIN


def verdicts_of(quantities: Sequence[Asked]) -> list[str]:
    """The verdict on each of several quantities; those that disagree do so after Holm's correction for all of them."""
    fallen = holm([one.p_value for one in quantities])
    return [
        AGREES if one.value.low > one.above else DISAGREES if falls else LEVEL if one.level else UNDECIDED
        for one, falls in zip(quantities, fallen, strict=True)
    ]


def verdict_of(quantities: Sequence[Asked]) -> str:
    """`DISAGREES` if anything asked for does, else `UNDECIDED` if anything is, else `LEVEL` likewise, else `AGREES`."""
    verdicts = verdicts_of(quantities)
    return next(verdict for verdict in (DISAGREES, UNDECIDED, LEVEL, AGREES) if verdict in verdicts)


@dataclass(frozen=True)
class Finding:
    """What the records say about a claim."""

    verdict: str
    text: str
    trials: int
    """The fewest trials of any cell it rests on."""


@dataclass
class Evidence:
    """What the records have at one scale and on one data set; remembers the records that were used."""

    scale: str
    data: str
    recorded: Recorded
    used: list[str] = field(default_factory=list)
    trials: list[int] = field(default_factory=list)

    def results(self, name: str) -> Results:
        """A grid at this scale."""
        return Results(grid(name, self.scale), self.recorded)

    def cell(self, name: str, row: str, **place: Any) -> CellResult:
        """The result of a row of a grid at a place; `NotRun` if it has fewer than `LEAST_TRIALS`."""
        result = self.results(name).cell(row, data=self.data, **place)
        if result is None or len(result.records) < LEAST_TRIALS:
            raise NotRun(f"{name} has fewer than {LEAST_TRIALS} trials of {row} at {place} on record")
        self.used += [record.id for record in result.records]
        self.trials.append(len(result.records))
        return result

    def smallest(self, name: str, along: str) -> Any:
        """The smallest value of a column of a grid that the paper's own setting of 15 images comes close to."""
        return min(value for value in self.results(name).values(along) if value >= 15)


Check = Callable[[Evidence], tuple[list[Asked], str]]


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper in our words, and how to check it."""

    where: str
    says: str
    settings: tuple[tuple[str, str], ...]
    """(scale, data set) pairs at which it is looked at."""
    check: Check

    def finding(self, evidence: Evidence) -> Finding | None:
        """What the records say; None if a cell that is needed was not run."""
        try:
            quantities, text = self.check(evidence)
        except NotRun:
            return None
        return Finding(verdict_of(quantities), text, min(evidence.trials))


def _difference(one: CellResult, other: CellResult) -> Interval:
    return (one.by_seed() - other.by_seed()).interval


def _below(value: Interval, limit: float, stated: float | None = None) -> Asked:
    """Asks `value` to be below what we allow; it fails if the whole interval is above the number that is stated."""
    mirrored = Interval(-value.mean, value.half_width, value.trials)
    return Asked(mirrored, -limit, None if stated is None else -stated)


def _ahead(one: CellResult, other: CellResult, by: float = 0.0) -> Asked:
    """Asks one row to be above another, by so many points."""
    return Asked(_difference(one, other), by, of_two=not by)


def _comparable(value: Interval, within: float = 4.0) -> list[Asked]:
    """Asks a difference to be smaller than what we allow, whichever row is ahead."""
    return [Asked(value, -within), _below(value, within)]


def _percent(value: Interval) -> str:
    return f"{in_words(value, 1)}%"


def _points(value: Interval, sign: str = "+") -> str:
    return in_words(value, 1, sign)


def _best_of(evidence: Evidence, name: str, rows: Iterable[str], **place: Any) -> tuple[str, CellResult]:
    results = {row: evidence.cell(name, row, **place) for row in rows}
    best = max(results, key=lambda row: results[row].last.mean)
    return best, results[best]


def _above_all(name: str, row: str, rows: Iterable[str], called: str, by: float = 0.0) -> Check:
    """Asks a row to be above each of the other rows, by so many points."""
    others = tuple(other for other in rows if other != row)

    def check(evidence: Evidence) -> tuple[list[Asked], str]:
        ours = evidence.cell(name, row)
        best, its = _best_of(evidence, name, others)
        quantities = [_ahead(ours, evidence.cell(name, other), by) for other in others]
        text = f"{title_of_row(row)} {_percent(ours.last)}, best of {called} {title_of_row(best)} "
        text += f"{_percent(its.last)}, a difference of {_points(_difference(ours, its))} points; "
        return quantities, text + _standing(verdicts_of(quantities), by)

    return check


def _standing(verdicts: Sequence[str], by: float) -> str:
    """How many rows each verdict was reached on; those that it was not are left out."""
    words = {AGREES: f"ahead of {{}} by {by:g} points" if by else "ahead of {}", LEVEL: "level with {}"}
    words |= {DISAGREES: "not ahead of {}" if by else "behind {}", UNDECIDED: "undecided against {}"}
    parts = [phrase.format(verdicts.count(verdict)) for verdict, phrase in words.items() if verdict in verdicts]
    return f"of {len(verdicts)} rows {', '.join(parts)}"


def _small_rise_at_200(evidence: Evidence) -> tuple[list[Asked], str]:
    mildest = min(evidence.results("fig2").values("ratio"))
    ours, mild = (evidence.cell("fig2", "l2rw", ratio=ratio) for ratio in (200, mildest))
    rise = (ours.by_seed("error") - mild.by_seed("error")).interval
    text = (
        f"from {mildest}:1 the test error rises by {_points(rise)} points to {_percent(ours.error)}; we allow 4 points"
    )
    return [_below(rise, 4, stated=2)], text


def _others_fail_at_200(evidence: Evidence) -> tuple[list[Asked], str]:
    rows = ("baseline", "proportion", "resample", "hard-mining", "random")
    ours = evidence.cell("fig2", "l2rw", ratio=200)
    best, its = _best_of(evidence, "fig2", rows, ratio=200)
    errors = [evidence.cell("fig2", row, ratio=200).by_seed("error") for row in rows]
    quantities = [Asked((error - 2 * ours.by_seed("error")).interval) for error in errors]
    text = f"test error {_percent(ours.error)}, of the next best, {title_of_row(best)}, {_percent(its.error)}; "
    text += "we ask each row to have more than twice L2RW's, "
    return (
        quantities,
        f"{text}and {title_of_row(best)} has {_points(quantities[rows.index(best)].value)} points more than that",
    )


def _random_is_comparable(name: str, what: str, **place: Any) -> Check:
    """Asks random weights and plain training to be within 4 points of each other."""

    def check(evidence: Evidence) -> tuple[list[Asked], str]:
        random, base = (evidence.cell(name, row, **place) for row in ("random", "baseline"))
        apart = (random.by_seed(what) - base.by_seed(what)).interval
        text = "test error" if what == "error" else "test accuracy"
        text += f" of random weights {_percent(random.interval(what))}, "
        text += f"of plain training {_percent(base.interval(what))}, a difference of {_points(apart)} points; "
        return _comparable(apart), f"{text}we allow 4 either way"

    return check


def _early_stopping_helps_s_model(evidence: Evidence) -> tuple[list[Asked], str]:
    stopped, full = (evidence.cell("table2", row) for row in ("s-model+conf+es", "s-model+conf"))
    gain = _difference(stopped, full)
    text = f"S-model with early stop {_percent(stopped.last)}, without {_percent(full.last)}, "
    return [Asked(gain, 10)], f"{text}a difference of {_points(gain)} points; we ask for 10"


def _no_early_stop_needed(evidence: Evidence) -> tuple[list[Asked], str]:
    """The best evaluation is picked on the test set, so what stopping could gain is overstated here."""
    lost = {}
    for row in ("l2rw", "baseline"):
        result = evidence.cell("table2", row)
        lost[row] = (result.by_seed("best") - result.by_seed()).interval
    ours, base = lost.values()
    text = f"the best evaluation of a run is above its last one by {_points(ours, '-')} points with L2RW, "
    return [_below(ours, 1)], f"{text}by {_points(base, '-')} with plain training; we allow 1"


def _background_cleared(evidence: Evidence) -> tuple[list[Asked], str]:
    """Of test images of the other classes, the share that is taken for the background."""
    shares = {}
    for row in ("baseline", "l2rw"):
        result = evidence.cell("fig6", row)
        records = [r for r in result.records if r.has_confusion_at(result.cell.experiment.steps)]
        shares[row] = BySeed.of(records, lambda r, at=result.cell.experiment.steps: _taken_for_background(r, at))
    base, ours = shares.values()
    text = f"of test images of the other classes plain training takes {_percent(base.interval)} for the background, "
    text += f"L2RW {_percent(ours.interval)}; we ask for less than half"
    return [Asked((0.5 * base - ours).interval)], text


def _taken_for_background(record: Record, step: int) -> float:
    """In percent."""
    (background,) = {b.background for b in record.experiment.biases if isinstance(b, BackgroundFlip)}
    others = np.delete(np.array(record.confusion_at(step)), background, axis=0)
    return float(100 * others[:, background].sum() / others.sum())


def _accuracy_without_noise(evidence: Evidence) -> tuple[list[Asked], str]:
    clear = evidence.cell("fig5", "baseline", noise=0.0).last
    return [
        Asked(clear, 91.5, fails_below=92.5),
        _below(clear, 93.5, stated=92.5),
    ], f"{_percent(clear)}; we allow 1 point either way"


def _clean_labels_help_more_than_random(evidence: Evidence) -> tuple[list[Asked], str]:
    ours, random, base = (evidence.cell("table2", row) for row in ("l2rw", "random", "baseline"))
    over_random, over_base = (_difference(ours, other) for other in (random, base))
    text = f"L2RW {_percent(ours.last)}, random weights {_percent(random.last)}, plain training {_percent(base.last)}, "
    text += f"{_points(over_random)} points over random weights and {_points(over_base)} over plain training"
    return [Asked(over_random, of_two=True), Asked(over_base, of_two=True)], text


def _no_weight(counts: Callable[[Record], dict[str, list[int]] | None], which: str) -> Check:
    """Asks that most wrong labels get weight 0 and most right ones do not, by counts of a record in bins of weight."""

    def check(evidence: Evidence) -> tuple[list[Asked], str]:
        trials = [part for record in evidence.cell("fig3", "l2rw").records if (part := counts(record))]
        if len(trials) < LEAST_TRIALS:
            raise NotRun(f"fewer than {LEAST_TRIALS} trials weighed {which}")
        zero = {k: interval([100 * part[k][0] / sum(part[k]) for part in trials]) for k in ("wrong", "right")}
        text = f"weight 0 for {_percent(zero['wrong'])} of wrong and {_percent(zero['right'])} of right labels, {which}"
        return [Asked(zero["wrong"], 50), _below(zero["right"], 50)], text

    return check


def _held_out(part: str) -> Callable[[Record], dict[str, list[int]] | None]:
    return lambda record: record.held_out_weights and record.held_out_weights[part]


def _few_clean_images_cost_little(evidence: Evidence) -> tuple[list[Asked], str]:
    few = evidence.smallest("fig4", "clean")
    little, usual = (evidence.cell("fig4", "l2rw", clean=size) for size in (few, 100))
    loss = _difference(usual, little)
    text = f"L2RW {_percent(little.last)} with {few} clean images, {_percent(usual.last)} with 100, "
    return [_below(loss, 3, stated=2)], f"{text}a loss of {_points(loss, '-')} points; we allow 3"


def _no_gain_beyond_100(evidence: Evidence) -> tuple[list[Asked], str]:
    usual, many = (evidence.cell("fig4", "l2rw", clean=size) for size in (100, 1000))
    gain = _difference(many, usual)
    text = f"L2RW {_percent(usual.last)} with 100 clean images, {_percent(many.last)} with 1,000, "
    return [_below(gain, 1, stated=0)], f"{text}a gain of {_points(gain, '-')} points; we allow 1"


def _fine_tuning_needs_more(evidence: Evidence) -> tuple[list[Asked], str]:
    few = evidence.smallest("fig4", "clean")
    losses = {}
    for row in ("baseline+ft", "l2rw"):
        little, usual = (evidence.cell("fig4", row, clean=size).by_seed() for size in (few, 100))
        losses[row] = usual - little
    tuned, ours = (_points(loss.interval, "-") for loss in losses.values())
    text = f"from 100 to {few} clean images fine-tuned plain training loses {tuned} points, L2RW {ours}, "
    more = (losses["baseline+ft"] - losses["l2rw"]).interval
    return [Asked(more, of_two=True)], f"{text}a difference of {_points(more)}"


def _fine_tuning_catches_up(evidence: Evidence) -> tuple[list[Asked], str]:
    tuned, ours = (evidence.cell("fig4", row, clean=1000) for row in ("baseline+ft", "l2rw"))
    behind = _difference(ours, tuned)
    text = f"with 1,000 clean images fine-tuned plain training has {_percent(tuned.last)}, L2RW {_percent(ours.last)}, "
    return [_below(behind, 1)], f"{text}a difference of {_points(behind)} points; we allow 1"


def _noise_costs_little(evidence: Evidence) -> tuple[list[Asked], str]:
    losses = {}
    for row in ("l2rw", "baseline"):
        losses[row] = _difference(*(evidence.cell("fig5", row, noise=rate) for rate in (0.0, 0.5)))
    ours, base = losses.values()
    text = f"from no noise to half of the labels L2RW loses {_points(ours, '-')} points, plain training "
    return [_below(ours, 10), Asked(base, 40)], f"{text}{_points(base, '-')}; we allow 10, ask for 40"


def _slightly_worse_without_noise(evidence: Evidence) -> tuple[list[Asked], str]:
    ours, base = (evidence.cell("fig5", row, noise=0.0) for row in ("l2rw", "baseline"))
    behind = _difference(base, ours)
    text = f"without noise L2RW has {_percent(ours.last)}, plain training {_percent(base.last)}, "
    return [Asked(behind, of_two=True), _below(behind, 5)], f"{text}{_points(behind)} points; we allow 5"


def _after_the_first_drop(evidence: Evidence) -> tuple[list[Asked], str]:
    """Mean accuracy over the tenth of the steps before the first drop, the tenth after it, and the last tenth."""
    changes, parts = {}, []
    for row in ("baseline", "s-model", "l2rw"):
        result = evidence.cell("fig7", row)
        steps, drop = result.cell.experiment.steps, result.cell.experiment.lr_drops[0]
        tenth = steps // 10
        windows = ((drop - tenth, drop), (drop, drop + tenth), (steps - tenth, steps))
        before, after, end = (BySeed.of(result.records, lambda r, w=w: 100 * r.mean_between(*w)) for w in windows)
        changes[row] = (end - after).interval
        means = (in_words(each.interval, 1) for each in (before, after, end))
        parts.append(f"{title_of_row(row)} {', '.join(means)}, a change of {_points(changes[row])}")
    base, s_model, ours = changes.values()
    quantities = [_below(base, -0.5), _below(s_model, -0.5), _below(ours, 1), Asked(ours, -1)]
    text = "accuracy in the tenth of the steps before the drop, the tenth after it, the last tenth: "
    return quantities, f"{text}{'; '.join(parts)} points; worse is by more than 0.5, flat is less than 1"


EARLIER = ("baseline", "reed-hard", "s-model", "mentornet")

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "Figure 2", "At 200:1 L2RW's test error has risen by about 2 points", (("paper", "mnist"),), _small_rise_at_200
    ),
    Claim("Figure 2", "At 200:1 the other methods fail badly", (("paper", "mnist"),), _others_fail_at_200),
    Claim(
        "Table 1",
        "With uniform flips L2RW is best",
        (CIFAR_10, CIFAR_100, *SMALL),
        _above_all("table1", "l2rw", TABLE_1_ROWS, "the others"),
    ),
    Claim(
        "Table 2",
        "With background flips L2RW is best",
        (CIFAR_10, CIFAR_100, QUARTER, *SMALL),
        _above_all("table2", "l2rw", TABLE_2_ROWS, "the others"),
    ),
    Claim(
        "Table 2",
        "On CIFAR-100 L2RW is ahead by more than 3 points",
        (CIFAR_100,),
        _above_all("table2", "l2rw", TABLE_2_ROWS, "the others", by=3.0),
    ),
    Claim(
        "Table 1",
        "With uniform flips random weights beat all earlier methods",
        (CIFAR_10, CIFAR_100, *SMALL),
        _above_all("table1", "random", EARLIER, "the earlier methods"),
    ),
    Claim(
        "Table 2",
        "With background flips random weights are comparable with plain training",
        (CIFAR_10, CIFAR_100, QUARTER, *SMALL),
        _random_is_comparable("table2", "last"),
    ),
    Claim(
        "Figure 2",
        "Under class imbalance random weights are comparable with plain training",
        (("paper", "mnist"),),
        _random_is_comparable("fig2", "error", ratio=200),
    ),
    Claim(
        "Table 2",
        "L2RW is above plain training and random weights",
        (CIFAR_10, CIFAR_100, QUARTER, *SMALL),
        _clean_labels_help_more_than_random,
    ),
    Claim(
        "Table 2",
        "Early stopping helps the S-model by more than 10 points",
        (CIFAR_10, QUARTER, *SMALL),
        _early_stopping_helps_s_model,
    ),
    Claim(
        "Table 2",
        "L2RW needs no early stopping",
        (CIFAR_10, CIFAR_100, QUARTER, *SMALL),
        _no_early_stop_needed,
    ),
    Claim(
        "Section 4.2",
        "The ResNet-32 has 92.5% on CIFAR-10 without noise",
        (CIFAR_10,),
        _accuracy_without_noise,
    ),
    Claim(
        "Figure 3",
        "Of images that the model has never seen, most with wrong labels get weight 0",
        (CIFAR_10, QUARTER),
        _no_weight(_held_out("random"), "held-out images at half of the steps"),
    ),
    Claim(
        "Figure 3",
        "In batches of one class, most images flipped to the background get weight 0",
        (CIFAR_10, QUARTER),
        _no_weight(_held_out("one_class"), "held-out images of one class a batch at half of the steps"),
    ),
    Claim(
        "Figure 3, on training images",
        "Most wrong labels get weight 0 while they are trained on",
        (CIFAR_10, QUARTER, *SMALL),
        _no_weight(
            lambda record: record.weight_histograms and record.weight_histograms["midway"],
            "visits of training images at the end of the first half of training",
        ),
    ),
    Claim(
        "Figure 4",
        "A handful of clean images cost about 2 points",
        (CIFAR_10, QUARTER, *SMALL),
        _few_clean_images_cost_little,
    ),
    Claim("Figure 4", "Nothing is gained beyond 100 clean images", (CIFAR_10, QUARTER, *SMALL), _no_gain_beyond_100),
    Claim(
        "Figure 4",
        "With a handful of clean images fine-tuning loses more than L2RW",
        (CIFAR_10, QUARTER, *SMALL),
        _fine_tuning_needs_more,
    ),
    Claim(
        "Figure 4",
        "Near 1,000 clean images fine-tuning catches up",
        (CIFAR_10, QUARTER, *SMALL),
        _fine_tuning_catches_up,
    ),
    Claim(
        "Figure 5",
        "From 0 to 50% noise L2RW loses 6 points and plain training more than 40",
        (CIFAR_10, QUARTER, *SMALL),
        _noise_costs_little,
    ),
    Claim(
        "Figure 5",
        "Without noise L2RW is slightly below plain training",
        (CIFAR_10, QUARTER, *SMALL),
        _slightly_worse_without_noise,
    ),
    Claim(
        "Figure 6",
        "L2RW clears most of what plain training takes for the background",
        (CIFAR_10, QUARTER, *SMALL),
        _background_cleared,
    ),
    Claim(
        "Figure 7",
        "After the first drop of the learning rate plain training and the S-model get worse and L2RW stays flat",
        (CIFAR_10, QUARTER, *SMALL),
        _after_the_first_drop,
    ),
)
