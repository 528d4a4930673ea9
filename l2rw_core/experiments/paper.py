"""The paper's experiments, and ours beside them, as values: which runs make up a figure or a table.

A grid is a list of cells, a cell is an experiment and the place where its number stands. Rows have the names of the
paper's tables: a method, then its stages, for example ``s-model+conf+es+ft``. ``+es`` is the shorter schedule, ``+ft``
fine-tuning on the clean set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Any

from l2rw_core.datasets import (
    BackgroundFlip,
    InstanceFlip,
    LongTail,
    PairImbalance,
    Subset,
    UniformFlip,
    official_background_class,
)
from l2rw_core.experiments.config import PRECISIONS, SCALES, Experiment, share_of_majority
from l2rw_core.experiments.rows import Row


def _pair_of(data: str, ratio: float, pair: tuple[int, int] = (4, 9)) -> PairImbalance:
    rare, frequent = pair
    return PairImbalance(rare, frequent, share_of_majority(ratio), 120 if data == "digits" else 5000)


@dataclass(frozen=True)
class Cell:
    """One number of a figure or a table: trials of one experiment that differ in their seed alone."""

    row: str
    """Method and stages, as in the paper's tables."""
    column: tuple[tuple[str, str | float], ...]
    """Where in the figure or table: names and values, for example ``(("data", "mnist"), ("noise", 0.4))``."""
    experiment: Experiment
    """With seed 0."""
    grid: str = ""
    """Name of the grid that the cell was taken from."""

    def trial(self, seed: int) -> Experiment:
        """The experiment of one trial. A background class is that of the paper's split with the same number."""
        classes = 100 if self.experiment.data == "cifar100" else 10
        biases = tuple(
            replace(bias, background=official_background_class(1111 * seed, classes))
            if isinstance(bias, BackgroundFlip)
            else bias
            for bias in self.experiment.biases
        )
        return self.experiment.with_(seed=seed, biases=biases)

    def on(self, data: str) -> Cell:
        """The same run on another data set."""
        column = tuple((name, data if name == "data" else value) for name, value in self.column)
        return replace(self, column=column, experiment=self.experiment.with_(data=data))

    @property
    def embedded(self) -> Cell:
        """The same run on the part of Fashion-MNIST that comes with the package, by a small network at its own rate.

        One core takes a second or two. The LeNet of the quick scale takes ten times as long there, and its rate is too
        high: a reweighted run may end with one answer to every image, by no more than how sums are rounded.
        """
        there = self.on("fashion_small")
        return replace(there, experiment=there.experiment.with_(model="mlp", lr=0.02))

    @property
    def place(self) -> Mapping[str, str | float]:
        """`column` as a mapping of names to values."""
        return MappingProxyType(dict(self.column))

    @property
    def label(self) -> str:
        """Row and column in words."""
        return ", ".join([self.row, *(f"{name} {value}" for name, value in self.column)])


@dataclass(frozen=True)
class Grid:
    """A figure or a table: its cells at one scale."""

    name: str
    scale: str
    source: str
    """Where in the paper it stands, or that it is ours."""
    question: str
    cells: tuple[Cell, ...]


def mnist_imbalance(
    method: str = "l2rw",
    ratio: float = 200,
    pair: tuple[int, int] = (4, 9),
    seed: int = 0,
    scale: str = "paper",
    data: str = "mnist",
) -> Experiment:
    """Section 4.1, Figure 2: two digits, one of them rare, ten balanced clean images.

    Args:
        method: name of a method.
        ratio: nominal imbalance, at least 2: one image in so many is rare.
        pair: (rare digit, frequent digit).
        seed: split, initial parameters and data order.
        scale: ``paper`` is 5,000 images and 8,000 steps; ``quick`` is a tenth of the steps at five times the rate.
        data: ``mnist``, ``mnist_4982`` (the same images of these digits, embedded), ``fashion_mnist`` or ``digits``.
            Scikit-learn's digits have about a hundred images a class, so
            there the training set is smaller, and a ratio above 20 leaves too few rare images for a clean set.

    Raises:
        ValueError: for a ratio, scale, method or data set that there is none of.
    """
    if scale not in ("paper", "quick"):
        raise ValueError(f"this experiment has no scale {scale!r} of {', '.join(SCALES)}; choose paper or quick")
    paper = scale == "paper"
    return Experiment(
        name="fig2",
        scale=scale,
        method=method,
        data=data,
        biases=(_pair_of(data, ratio, pair),),
        steps=8000 if paper else 800,
        lr=1e-3 if paper else 5e-3,
        evaluate_every=200 if paper else 40,
        seed=seed,
    )


IMBALANCE_ROWS = ("baseline", "proportion", "resample", "hard-mining", "random", "l2rw")
"""The methods of Figure 2."""
MORE_IMBALANCE_ROWS = (
    "baseline+ft",
    "clean-only",
    "self-paced",
    "active-bias",
    "focal",
    "smote",
    "meta-weight-net",
)
TABLE_1_ROWS = (
    "baseline",
    "reed-hard",
    "s-model",
    "mentornet",
    "random",
    "clean-only",
    "baseline+ft",
    "mentornet+ft",
    "random+ft",
    "l2rw",
)
TABLE_2_ROWS = (
    "baseline",
    "baseline+es",
    "random",
    "weighted",
    "reed-soft+es",
    "reed-hard+es",
    "s-model",
    "s-model+conf",
    "s-model+conf+es",
    "clean-only",
    "baseline+ft",
    "baseline+es+ft",
    "weighted+ft",
    "s-model+conf+ft",
    "s-model+conf+es+ft",
    "l2rw",
)
MORE_NOISE_ROWS = ("self-paced", "focal", "active-bias", "hard-mining", "meta-weight-net")
"""Methods that the paper names or that followed it, and its tables do not have."""

LATER_ROWS = (
    *("gce", "sce", "label-smoothing", "elr", "co-teaching", "logit-adjustment", "ldam-drw"),
    *("clean-mixed", "clean-stopped", "l2rw+ft"),
)
"""Methods that came after the paper or that it leaves out; the last three look at the clean set."""


@dataclass(frozen=True)
class _Setting:
    """What the noise experiments have in common at one scale."""

    data: tuple[str, ...]
    images: int | None
    """Training images drawn from the source, None for all."""
    clean_size: int
    base: Experiment
    schedules: dict[str, tuple[int, tuple[int, ...]]]
    """By table or stage: steps, and steps at which the learning rate falls to a tenth."""
    fine_tune_steps: int


_QUARTER: dict[str, Any] = {"precision": "bfloat16", "evaluate_every": 250}
"""What the scale quarter changes beside the schedule: training in half the time, and Figure 7 read off more often."""


def _quartered(schedules: dict[str, tuple[int, tuple[int, ...]]]) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {name: (steps // 4, tuple(drop // 4 for drop in drops)) for name, (steps, drops) in schedules.items()}


def _setting(scale: str, uniform: bool = False) -> _Setting:
    """Section 4.2 at the paper's scale, on small images, or in seconds."""
    if scale in ("paper", "quarter"):
        cifar = Experiment(
            name="table2",
            scale=scale,
            data="cifar10",
            model="wrn28_10" if uniform else "resnet32",
            clean_size=1000 if uniform else 100,
            lr=0.1,
            weight_decay=2e-4,
            evaluate_every=1000,
            augment=True,
            hold_out=5_000,
            statistics_batches=50,
        )
        schedules = {"full": (80_000, (40_000, 60_000)), "es": (60_000, (40_000, 50_000))}
        if scale == "quarter":
            return _Setting(("cifar10",), None, 100, cifar.with_(**_QUARTER), _quartered(schedules), 1_250)
        if uniform:
            schedules["full"] = schedules["es"]
        return _Setting(("cifar10", "cifar100"), None, cifar.clean_size, cifar, schedules, 5_000)
    if scale == "reduced":
        small = Experiment(name="table2", scale="reduced", clean_size=100, lr=0.01, evaluate_every=250)
        schedules = {"full": (2_000, (1_000, 1_500)), "es": (1_500, (1_000, 1_250))}
        if uniform:
            schedules["full"] = schedules["es"]
        return _Setting(("fashion_mnist", "mnist"), 5_000, 100, small, schedules, 125)
    quick = Experiment(
        name="table2", scale="quick", clean_size=50, batch_size=50, lr=0.03, evaluate_every=50, data="digits"
    )
    schedules = {"full": (400, (200, 300)), "es": (300, (200, 250))}
    return _Setting(("digits",), None, 50, quick, schedules, 20)


def _experiment(setting: _Setting, row: str, data: str, name: str, biases: tuple) -> Experiment:
    """One row of the noise experiments on one data set."""
    stages = Row.from_name(row).stages
    steps, drops = setting.schedules["es" if "es" in stages else "full"]
    clean_size = 1000 if data == "cifar100" else setting.clean_size
    subset = (Subset(setting.images),) if setting.images and not isinstance(biases[0], LongTail) else ()
    return setting.base.with_(
        name=name,
        method=Row.from_name(row).registered,
        data=data,
        biases=(*subset, *biases),
        clean_size=clean_size,
        steps=steps,
        lr_drops=drops,
        fine_tune_steps=setting.fine_tune_steps if "ft" in stages else 0,
    )


def _fig2(scale: str) -> Iterable[Cell]:
    rows, data, ratios = IMBALANCE_ROWS + MORE_IMBALANCE_ROWS, "mnist", (20, 50, 100, 200)
    if scale == "quick":
        data, ratios = "digits", (10,)
    for ratio, row in product(ratios, rows):
        yield _pair_cell(row, ratio, (4, 9), scale, data)


def _pair_8_2(scale: str) -> Iterable[Cell]:
    data, ratio = ("digits", 10) if scale == "quick" else ("mnist", 200)
    for row in IMBALANCE_ROWS:
        yield _pair_cell(row, ratio, (8, 2), scale, data)


def _settings_200(scale: str) -> Iterable[Cell]:
    """What the error of L2RW at 200:1 depends on: half of the steps, as in the released code, and one change each."""
    half = mnist_imbalance().with_(name="settings_200", scale=scale, steps=4000)
    for setting, changes in {
        "half the steps": {},
        "three times the rate": {"lr": 3e-3},
        "no momentum, ten times the rate": {"momentum": 0.0, "lr": 1e-2},
        "twenty clean images": {"clean_size": 20},
    }.items():
        yield Cell("l2rw", (("data", "mnist"), ("setting", setting)), half.with_(**changes))


def _settings_imbalance(scale: str) -> Iterable[Cell]:
    """Whether it matters that a step without an agreeing example is skipped, and whether momentum does.

    Also the two mildest pairs that Figure 2 has in the paper. Accuracy after half of the steps is read off the same
    runs; those with the paper's settings at 20:1 and 200:1 are on record as Figure 2.
    """
    figure_2 = mnist_imbalance().with_(name="settings_imbalance", scale=scale)
    for ratio, momentum, row in product((1, 10, 20, 200), (0.9, 0.0), ("l2rw", "l2rw-unskipped")):
        if row == "l2rw" and momentum == figure_2.momentum and ratio >= 20:
            continue
        bias = PairImbalance(majority_share=0.5) if ratio == 1 else _pair_of("mnist", ratio)
        experiment = figure_2.with_(method=Row.from_name(row).registered, biases=(bias,), momentum=momentum)
        yield Cell(row, (("data", "mnist"), ("ratio", ratio), ("momentum", momentum)), experiment)


def _fair_200(scale: str) -> Iterable[Cell]:
    """Figure 2 at 200:1 with other learning rates and three times the steps; a third of them is read off the same runs.

    Meta-Weight-Net with weights that sum to one has the steps and the rate of Figure 2, where its other form is.
    """
    figure_2 = mnist_imbalance().with_(name="fair_200", scale=scale)
    rows = ("baseline", "proportion", "inverse-frequency", "resample")
    runs = [(row, lr, 3 * figure_2.steps) for lr, row in product((1e-3, 3e-3, 1e-2), rows)]
    for row, lr, steps in (*runs, ("meta-weight-net-normalised", figure_2.lr, figure_2.steps)):
        experiment = figure_2.with_(method=Row.from_name(row).registered, lr=lr, steps=steps)
        yield Cell(row, (("data", "mnist"), ("rate", lr), ("steps", steps)), experiment)


def _look_ahead(scale: str) -> Iterable[Cell]:
    """Weights from a plain virtual step, as in the paper, and from one through the optimizer that trains."""
    for flip, bias in (("uniform", UniformFlip(0.4)), ("background", BackgroundFlip(0.4))):
        setting = _setting(scale, uniform=flip == "uniform")
        table = "table1" if flip == "uniform" else "table2"
        for data, row in product(setting.data, ("l2rw", "momentum-ahead")):
            experiment = _experiment(setting, row, data, table if row == "l2rw" else "look_ahead", (bias,))
            yield Cell(row, (("data", data), ("flip", flip), ("optimizer", "sgd")), experiment)
        for data, row in product(setting.data, ("baseline", "l2rw", "adam-ahead")):
            experiment = _experiment(setting, row, data, "look_ahead", (bias,)).with_(optimizer="adamw", lr=1e-3)
            yield Cell(row, (("data", data), ("flip", flip), ("optimizer", "adamw")), experiment)


def _clean_draw(scale: str) -> Iterable[Cell]:
    """The clean batch as a share of the clean set, in shuffled passes or with replacement."""
    setting = _setting(scale)
    sizes, shares = ((20, 100, 1_000), (0.1, 0.5, 1.0)) if scale == "reduced" else ((20, 50), (0.5, 1.0))
    for size, share, again in product(sizes, shares, (False, True)):
        place = (("clean", size), ("share", share), ("draw", "with replacement" if again else "in passes"))
        changes = {"clean_size": size, "clean_batch_size": round(share * size), "clean_replacement": again}
        yield _varied(setting, "l2rw", "clean_draw", place, **changes)


INSTANCE_ROWS = ("baseline", "baseline+es", "baseline+ft", "random", "s-model+conf", "proportion", "elr", "l2rw")


def _instance(scale: str) -> Iterable[Cell]:
    """Tables 1 and 2 with noise that depends on the image."""
    setting = _setting(scale)
    for data, rate, row in product(setting.data, (0.2, 0.4), INSTANCE_ROWS):
        experiment = _experiment(setting, row, data, "instance", (InstanceFlip(rate),))
        yield Cell(row, (("data", data), ("noise", rate)), experiment)


def _instance_detection(scale: str) -> Iterable[Cell]:
    """The study of detection with noise that depends on the image."""
    uniform = [cell for cell in _detection(scale) if cell.place["flip"] == "uniform" and cell.place["noise"] == 0.4]
    for cell in uniform:
        biases = (*cell.experiment.biases[:-1], InstanceFlip(0.4))
        column = tuple((name, "by image" if name == "flip" else value) for name, value in cell.column)
        yield Cell(cell.row, column, cell.experiment.with_(name="instance_detection", biases=biases))


def _cifar_long_tail(scale: str) -> Iterable[Cell]:
    """Class imbalance on CIFAR-10, with the network and the schedule of the small study."""
    for row in ("baseline", "logit-adjustment", "l2rw"):
        (small,) = (cell.experiment for cell in _cifar_small(scale) if cell.row == "baseline")
        changes = {"method": Row.from_name(row).registered, "biases": (LongTail(100),), "statistics_batches": 50}
        yield Cell(row, (("data", "cifar10"), ("imbalance", 100)), small.with_(name="cifar_long_tail", **changes))


def _pair_cell(row: str, ratio: int, pair: tuple[int, int], scale: str, data: str) -> Cell:
    experiment = mnist_imbalance(Row.from_name(row).registered, ratio, pair, 0, scale, data)
    if "ft" in Row.from_name(row).stages:
        experiment = experiment.with_(fine_tune_steps=experiment.steps // 16)
    return Cell(row, (("data", data), ("ratio", ratio)), experiment)


def _table1(scale: str) -> Iterable[Cell]:
    setting = _setting(scale, uniform=True)
    more = ("reed-soft", "s-model+conf", *MORE_NOISE_ROWS) if scale != "paper" else ()
    for data, row in product(setting.data, TABLE_1_ROWS + more):
        yield Cell(row, (("data", data),), _experiment(setting, row, data, "table1", (UniformFlip(0.4),)))


def _table2(scale: str) -> Iterable[Cell]:
    setting = _setting(scale)
    more = {"paper": (), "quarter": ("proportion",)}.get(
        scale, ("mentornet", "proportion", "resample", *MORE_NOISE_ROWS)
    )
    for data, row in product(setting.data, TABLE_2_ROWS + more):
        yield Cell(row, (("data", data),), _experiment(setting, row, data, "table2", (BackgroundFlip(0.4),)))


def _fig3(scale: str) -> Iterable[Cell]:
    yield from (cell for cell in _table2(scale) if cell.row == "l2rw")


def _fig6(scale: str) -> Iterable[Cell]:
    yield from (cell for cell in _table2(scale) if cell.row in ("baseline", "l2rw"))


def _fig7(scale: str) -> Iterable[Cell]:
    """Evaluated so often that every tenth of the steps has several evaluations; on small images in runs of its own."""
    for cell in _table2(scale):
        if cell.row in ("baseline", "s-model", "l2rw"):
            often = cell.experiment.with_(name="fig7", evaluate_every=50) if scale == "reduced" else cell.experiment
            yield replace(cell, experiment=often)


def _fig4(scale: str) -> Iterable[Cell]:
    setting = _setting(scale)
    sizes = {
        "paper": (15, 50, 100, 500, 1000),
        "quarter": (15, 50, 100, 500, 1000),
        "reduced": (10, 20, 50, 100, 200, 500, 1000),
        "quick": (10, 50),
    }[scale]
    for data, size, row in product(setting.data[: 1 if scale == "paper" else 2], sizes, ("baseline+ft", "l2rw")):
        usual = size == setting.clean_size
        experiment = _experiment(setting, row, data, "table2" if usual else "fig4", (BackgroundFlip(0.4),))
        yield Cell(row, (("data", data), ("clean", size)), experiment.with_(clean_size=size))


def _fig5(scale: str) -> Iterable[Cell]:
    setting = _setting(scale)
    rates = (0.0, 0.4) if scale == "quick" else (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    for data, rate, row in product(setting.data, rates, ("baseline+ft", "baseline", "random", "l2rw")):
        name = "table2" if rate == 0.4 else "fig5"
        experiment = _experiment(setting, row, data, name, (BackgroundFlip(rate),))
        yield Cell(row, (("data", data), ("noise", rate)), experiment)


def _noise_and_imbalance(scale: str) -> Iterable[Cell]:
    setting = _setting(scale)
    size = {"paper": None, "reduced": 5_000, "quick": 400}[scale]
    factors = (1, 10) if scale == "quick" else (1, 10, 100)
    for data, factor, rate in product(setting.data, factors, (0.0, 0.2, 0.4)):
        for row, clean in _noise_and_imbalance_rows(setting.clean_size):
            biases = (LongTail(factor, size), UniformFlip(rate))
            experiment = _experiment(setting, row, data, "noise_imbalance", biases)
            experiment = experiment.with_(clean_size=clean, hold_out=0)  # a long tail has no images to spare
            place = (("data", data), ("imbalance", factor), ("noise", rate), ("clean", clean))
            yield Cell(row, place, experiment)


_BESIDE_LATER = ("baseline", "baseline+ft", "l2rw")


def _later(scale: str) -> Iterable[Cell]:
    """Below the rows of the tables that they are compared with."""
    for flip, table, bias in (("uniform", "table1", UniformFlip(0.4)), ("background", "table2", BackgroundFlip(0.4))):
        setting = _setting(scale, uniform=table == "table1")
        for data, row in product(setting.data, _BESIDE_LATER + LATER_ROWS):
            name = table if row in _BESIDE_LATER else "later"
            yield Cell(row, (("data", data), ("flip", flip)), _experiment(setting, row, data, name, (bias,)))


def _later_imbalance(scale: str) -> Iterable[Cell]:
    """On the first data set alone, below the rows of the grid that they are compared with."""
    setting = _setting(scale)
    for cell in _noise_and_imbalance(scale):
        place = cell.place
        if place["data"] != setting.data[0] or place["clean"] != setting.clean_size:
            continue
        if cell.row in _BESIDE_LATER:
            yield cell
        if cell.row == "l2rw":
            for row in LATER_ROWS:
                later = _experiment(setting, row, cell.experiment.data, "later_imbalance", cell.experiment.biases)
                yield Cell(row, cell.column, later.with_(hold_out=0))


def _noise_and_imbalance_rows(usual: int) -> list[tuple[str, int]]:
    plain = ("baseline+ft", "baseline", "baseline+es", "proportion", "random")
    return [(row, usual) for row in (*plain, "l2rw")] + [("l2rw", usual // 5)]


def _clean_batch(scale: str) -> Iterable[Cell]:
    """At the usual rate, and on small images at 0.3 of it: the direction of a few clean images is a rough one."""
    setting = _setting(scale)
    rates = (setting.base.lr, setting.base.lr * 0.3) if scale == "reduced" else (setting.base.lr,)
    for lr, m in product(rates, (1, 5, 10, 20, 50, 100) if scale != "quick" else (5, 50)):
        yield _varied(setting, "l2rw", "clean_batch", (("rate", lr), ("m", m)), lr=lr, clean_batch_size=m)


def _unclean(scale: str) -> Iterable[Cell]:
    setting = _setting(scale)
    for row in ("baseline+ft", "l2rw"):
        for noise in (0.0, 0.1, 0.2, 0.3, 0.4):
            yield _varied(setting, row, "unclean", (("clean noise", noise),), clean_noise=noise)
        for imbalance in (5.0, 10.0):
            yield _varied(setting, row, "unclean", (("clean imbalance", imbalance),), clean_imbalance=imbalance)
        yield _varied(setting, row, "unclean", (("clean set cut from", "noisy"),), clean_origin="noisy")


def _varied(
    setting: _Setting, row: str, name: str, place: tuple[tuple[str, str | float], ...], **changes: object
) -> Cell:
    """A row under 40% background flips with some fields changed; where they are the usual ones, that of Table 2."""
    usual = all(getattr(setting.base, field) == value for field, value in changes.items())
    data = setting.data[0]
    experiment = _experiment(setting, row, data, "table2" if usual else name, (BackgroundFlip(0.4),))
    return Cell(row, (("data", data), *place), experiment.with_(**changes))


def _schedule(scale: str) -> Iterable[Cell]:
    """Plain cross-entropy with an early drop, the control of the weak baseline: a third of the steps."""
    setting = _setting(scale, uniform=True)
    for data, (flip, bias) in product(
        setting.data, {"uniform": UniformFlip(0.4), "background": BackgroundFlip(0.4)}.items()
    ):
        for row in ("baseline", "l2rw"):
            long = _experiment(setting, row, data, "schedule", (bias,))
            steps = long.steps // 3
            drops = (round(0.9 * steps), round(0.95 * steps))
            early = long.with_(steps=steps, lr_drops=drops, evaluate_every=max(1, long.evaluate_every // 5))
            yield Cell(row, (("data", data), ("flip", flip), ("schedule", "early drop")), early)


def _cifar_small(scale: str) -> Iterable[Cell]:
    """One long run a method of a small network. Nothing is held out: it trains on 49,900 images and not on 44,900."""
    for row in ("baseline", "random", "l2rw"):
        experiment = Experiment(
            name="cifar_small",
            scale=scale,
            method=row,
            data="cifar10",
            biases=(BackgroundFlip(0.4),),
            clean_size=100,
            model="resnet14",
            steps=20_000,
            clean_batch_size=50,
            lr=0.1,
            weight_decay=2e-4,
            lr_drops=(10_000, 15_000),
            evaluate_every=1_000,
            augment=True,
        )
        yield Cell(row, (("data", "cifar10"),), experiment)


def _statistics(scale: str) -> Iterable[Cell]:
    """The same training, evaluated by running statistics as training leaves them, and by re-estimated ones."""
    cell = next(cell for cell in _cifar_small(scale) if cell.row == "baseline")
    again = cell.experiment.with_(name="statistics", statistics_batches=50)
    for statistics, experiment in (("of training", cell.experiment), ("re-estimated", again)):
        yield Cell(cell.row, (*cell.column, ("statistics", statistics)), experiment)


def _precision(scale: str) -> Iterable[Cell]:
    """Whether bfloat16 does harm: the setting of Table 2 for 2,000 steps, in both precisions."""
    setting = _setting(scale)
    for row, precision in product(("baseline", "l2rw"), PRECISIONS):
        long = _experiment(setting, row, setting.data[0], "precision", (BackgroundFlip(0.4),))
        short = long.with_(steps=2_000, lr_drops=(1_000, 1_500), precision=precision)
        yield Cell(row, (("data", short.data), ("precision", precision)), short)


DETECTION_ROWS = ("l2rw", "baseline", "baseline+held-out", "clean-only")
"""Ways to score labels: by reweighted training, by plain training, by models that did not see the label, or by one that
saw the clean set alone."""


def _detection(scale: str) -> Iterable[Cell]:
    """Which score finds the wrong labels: ten passes over 5,000 images, which is short for CIFAR-10."""
    small = Experiment(
        name="detection",
        scale=scale,
        clean_size=100,
        steps=1_000,
        batch_size=50,
        clean_batch_size=50,
        lr=0.01,
        evaluate_every=100,
        biases=(Subset(5_000),),
        label_scores="training",
    )
    background = ("background", 0.4, BackgroundFlip(0.4))
    uniform = [("uniform", rate, UniformFlip(rate)) for rate in (0.2, 0.4)]
    settings = [("mnist", *flip) for flip in (*uniform, background)]
    settings += [("cifar10", *flip) for flip in (uniform[-1], background)]
    if scale == "quick":
        quick = {"steps": 300, "lr": 0.02, "evaluate_every": 30, "data": "digits", "clean_size": 50, "biases": ()}
        small, settings = small.with_(**quick), [("digits", *flip) for flip in (uniform[-1], background)]
    for (data, flip, rate, bias), row in product(settings, DETECTION_ROWS):
        held_out = "held-out" in Row.from_name(row).stages
        experiment = small.with_(
            method=Row.from_name(row).registered,
            data=data,
            biases=(*small.biases, bias),
            label_scores="held_out" if held_out else "training",
        )
        yield Cell(row, (("data", data), ("flip", flip), ("noise", rate)), experiment)


_ALL = ("paper", "reduced", "quick")
_WITH_QUARTER = SCALES


def _live(scale: str) -> Iterable[Cell]:
    """What the chapters run while somebody reads, under one name: the runs that a reader's own are set beside."""
    noise = {"table1": ("baseline", "random", "l2rw"), "table2": ("baseline", "random", "proportion", "l2rw")}
    for data, ratio in (("mnist", 200), ("mnist_4982", 200), ("digits", 10)):
        for row in ("baseline", "l2rw"):
            yield _live_cell(_pair_cell(row, ratio, (4, 9), scale, data), "fig2")
    for name, rows in noise.items():
        cells = [cell for cell in grid(name, scale).cells if cell.row in rows]
        yield from (_live_cell(each, name) for cell in cells for each in (cell, cell.embedded))


def _live_cell(cell: Cell, name: str) -> Cell:
    column = (("data", cell.experiment.data), ("like", name))
    return Cell(cell.row, column, cell.experiment.with_(name=LIVE))


LIVE = "quick"
"""Name of the grid, and of the record file, of the runs that chapters make while they are read."""

_GRIDS: dict[str, tuple[str, str, tuple[str, ...], Callable[[str], Iterable[Cell]]]] = {
    "fig2": ("Figure 2", "Test error when one of two digits is rare", ("paper", "quick"), _fig2),
    "pair_8_2": ("ours", "The same with 8 against 2", ("paper", "quick"), _pair_8_2),
    "settings_200": ("ours", "What the error at 200:1 depends on", ("reduced",), _settings_200),
    "table1": ("Table 1", "40% of labels flip uniformly", _ALL, _table1),
    "table2": ("Table 2", "40% of labels flip to one class", _WITH_QUARTER, _table2),
    "fig3": ("Figure 3", "Weights of right and of wrong labels", _WITH_QUARTER, _fig3),
    "fig4": ("Figure 4", "How many clean images", _WITH_QUARTER, _fig4),
    "fig5": ("Figure 5", "From no noise to half of the labels", _WITH_QUARTER, _fig5),
    "fig6": ("Figure 6", "Which classes are taken for which", _WITH_QUARTER, _fig6),
    "fig7": ("Figure 7", "Accuracy over training", _WITH_QUARTER, _fig7),
    "noise_imbalance": (
        "Sections 1 and 4.2",
        "Long-tailed classes and uniform flips at once",
        _ALL,
        _noise_and_imbalance,
    ),
    "later": ("ours", "Later methods under either kind of flips", ("reduced", "quick"), _later),
    "later_imbalance": (
        "ours",
        "Later methods under long-tailed classes and flips",
        ("reduced", "quick"),
        _later_imbalance,
    ),
    "settings_imbalance": ("ours", "Whether skipped steps and momentum matter", ("reduced",), _settings_imbalance),
    "fair_200": ("ours", "Class weights and resampling at three rates, and longer", ("reduced",), _fair_200),
    "look_ahead": ("ours", "Whether a look ahead through the optimizer matters", ("reduced", "quick"), _look_ahead),
    "instance": ("ours", "Noise that depends on the image", ("reduced", "quick"), _instance),
    "instance_detection": (
        "ours",
        "Which score finds wrong labels that depend on the image",
        ("reduced", "quick"),
        _instance_detection,
    ),
    "clean_draw": ("ours", "The clean batch as a share of the clean set", ("reduced", "quick"), _clean_draw),
    "clean_batch": ("ours", "Accuracy and cost against the clean batch size m", _ALL, _clean_batch),
    "unclean": ("ours", "A clean set that is not quite clean", _ALL, _unclean),
    "schedule": ("ours", "Plain training that stops early enough", _ALL, _schedule),
    "detection": ("ours", "Which score finds the wrong labels", ("reduced", "quick"), _detection),
    "cifar_small": ("ours", "CIFAR-10 on a CPU", ("reduced",), _cifar_small),
    "cifar_long_tail": ("ours", "Class imbalance on CIFAR-10", ("reduced",), _cifar_long_tail),
    "statistics": ("ours", "Whether lagging running statistics make accuracy zigzag", ("reduced",), _statistics),
    "precision": ("ours", "Whether training in bfloat16 does harm", ("quarter",), _precision),
    LIVE: ("ours", "What a reader's own run should come to", ("quick",), _live),
}


def grid_names() -> tuple[str, ...]:
    """Names of all figures and tables."""
    return tuple(_GRIDS)


def grid_scales(name: str) -> tuple[str, ...]:
    """The scales that a grid has."""
    return _GRIDS[name][2]


def grid(name: str, scale: str = "paper") -> Grid:
    """The cells of a figure or a table at one scale.

    Raises:
        ValueError: for a name, or a scale that this grid has not; lists the valid ones.
    """
    if name not in _GRIDS:
        raise ValueError(f"unknown figure or table {name!r}; choose one of {', '.join(_GRIDS)}")
    source, question, scales, cells = _GRIDS[name]
    if scale not in scales:
        raise ValueError(f"{name} has no scale {scale!r}; choose one of {', '.join(scales)}")
    return Grid(name, scale, source, question, tuple(replace(cell, grid=name) for cell in cells(scale)))


def cell_of(experiment: Experiment) -> Cell | None:
    """The cell that an experiment is a trial of, whichever its seed; quick ones are looked for among the live runs."""
    quick = experiment.scale == "quick"
    wanted = experiment.with_(name=LIVE) if quick else experiment
    names = [LIVE] if quick else [name for name in grid_names() if experiment.scale in grid_scales(name)]
    cells = (cell for name in names for cell in grid(name, experiment.scale).cells)
    return next((cell for cell in cells if cell.trial(experiment.seed) == wanted), None)
