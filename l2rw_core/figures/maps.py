"""Maps of who wins: reweighting minus its best rival under the same schedule, drawn so that losses show as plainly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from l2rw_core.experiments import QUANTITIES, Cell, CellResult, Interval, Recorded, Row, campaign, grid, interval
from l2rw_core.experiments.results import on_common_seeds
from l2rw_core.figures.methods import title_of_row
from l2rw_core.figures.style import Drawing, figure, ink_on, show
from l2rw_core.numerals import MINUS, number, typeset

PLAIN, TUNED = "without clean labels", "with the same clean labels"
RIVALS: dict[str, tuple[str, ...]] = {PLAIN: ("baseline", "proportion", "random"), TUNED: ("baseline+ft",)}
"""Rivals of reweighting: plain SGD, class weights and random weights; or plain SGD that is tuned on the clean set."""

MEASURES = tuple(name for name, quantity in QUANTITIES.items() if quantity.higher_is_better)
"""What a lead can be measured by: the accuracies."""
EDGES = (0.5, 2.0, 5.0, 10.0)
"""Points of accuracy at which the colour of a lead changes; below the first it is even."""

AHEAD = ("#d9e8f5", "#a3c9e8", "#5ba0d4", "#0b5c9c")
BEHIND = ("#fde2cf", "#f8b78a", "#ec8440", "#a84300")
EVEN, NOT_RUN = "#eeeeee", "#a0a0a0"
_NARROW = 6
"""Columns up to which a cell is wide enough for a decimal."""


@dataclass(frozen=True)
class Duel:
    """Reweighting and its rivals at one place: the same data, biases, clean set and schedule."""

    ours: Cell
    rivals: tuple[Cell, ...]
    place: str
    """In words, without the data set."""


@dataclass(frozen=True)
class Outcome:
    """A duel on the trials in which everyone took part."""

    duel: Duel
    ours: CellResult
    rival: CellResult
    """The rival that most trials meet."""
    lead: Interval
    """Our accuracy minus the rival's, in points; trials are paired, for they share split and initial parameters."""

    @property
    def decided(self) -> int:
        """1 if we are ahead by more than the interval, −1 if we are behind by more, else 0, as after a single trial."""
        return int(self.lead.low > 0) - int(self.lead.high < 0)


@dataclass(frozen=True)
class Panel:
    """One rectangle of a map. Entries are duels at first, and leads, or None where nothing was run, when drawn."""

    title: str
    xlabel: str
    ylabel: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    entries: tuple[tuple[Any, ...], ...]
    """By row, then by column."""
    block: int = 0
    """Columns after which a gap follows, 0 for none."""

    def of(self, function: Callable[[Any], Any]) -> Panel:
        """The same panel with `function` applied to every entry that is not None."""
        entries = tuple(tuple(None if e is None else function(e) for e in row) for row in self.entries)
        return replace(self, entries=entries)

    @property
    def flat(self) -> list[Any]:
        """All entries, row by row."""
        return [entry for row in self.entries for entry in row]


def outcome(duel: Duel, recorded: Recorded, measure: str = "last") -> Outcome | None:
    """Who won, None if there is no trial that reweighting and all rivals have on record.

    Which rival a trial meets is decided by cross-validation: the one with the highest mean over the other trials. So no
    trial picks its own rival on its own test set, which would favour the rivals. A single trial has to.

    Args:
        duel: who meets.
        recorded: the records.
        measure: ``last`` accuracy, or the ``best`` of any evaluation.

    Raises:
        ValueError: for another measure.
    """
    if measure not in MEASURES:
        raise ValueError(f"unknown measure {measure!r}; choose one of {', '.join(MEASURES)}")
    results = [recorded.result(cell) for cell in (duel.ours, *duel.rivals)]
    ours, *rivals = on_common_seeds(results) if all(results) else [None]
    if not rivals:
        return None
    chosen = {seed: _best_of_the_others(rivals, seed, measure) for seed in ours.by_seed(measure)}
    leads = [ours.by_seed(measure)[seed] - met.by_seed(measure)[seed] for seed, met in chosen.items()]
    met_by = Counter(met.cell.row for met in chosen.values())
    rival = max(rivals, key=lambda result: (met_by[result.cell.row], result.interval(measure).mean))
    return Outcome(duel, ours, rival, interval(leads))


def _best_of_the_others(rivals: Sequence[CellResult], seed: int, measure: str) -> CellResult:
    """The rival with the highest mean over the other trials, or of the trial itself if there is no other."""

    def mean(result: CellResult) -> float:
        values = result.by_seed(measure)
        return float(np.mean([value for other, value in values.items() if other != seed] or [values[seed]]))

    return max(rivals, key=mean)


Change = Callable[[Cell], Cell]


def noise_and_imbalance(data: str, rivals: str = PLAIN, scale: str = "reduced", change: Change | None = None) -> Panel:
    """Uniform flips from left to right, long tails from top to bottom, once for each size of the clean set.

    Args:
        data: data set.
        rivals: a key of `RIVALS`.
        scale: of the grid ``noise_imbalance``.
        change: applied to every cell, for example to run them with another network.

    Raises:
        ValueError: for a data set, rivals or scale that there is none of.
    """
    cells = _cells("noise_imbalance", scale, data, change)
    clean, factors, rates = (
        sorted({cell.place[name] for cell in cells}, reverse=name == "clean")
        for name in ("clean", "imbalance", "noise")
    )

    def duel(size: int, factor: int, rate: float) -> Duel:
        ours = _at(cells, "l2rw", clean=size, imbalance=factor, noise=rate)
        place = f"{rate:.0%} uniform flips, imbalance {factor}:1, {size} clean images"
        return _duel(ours, [_at(cells, row, imbalance=factor, noise=rate) for row in _rows(rivals)], place)

    middle = rates[len(rates) // 2]
    return Panel(
        "uniform flips and long tails",
        "wrong labels",
        "imbalance",
        tuple(f"{rate:.0%}" + f"\n{size} clean images" * (rate == middle) for size in clean for rate in rates),
        tuple(f"{factor}:1" for factor in factors),
        tuple(tuple(duel(size, factor, rate) for size in clean for rate in rates) for factor in factors),
        block=len(rates),
    )


def background_by_noise(data: str, rivals: str = PLAIN, scale: str = "reduced") -> Panel:
    """Background flips, from none to half of the labels."""
    cells = _cells("fig5", scale, data)
    rates = sorted({cell.place["noise"] for cell in cells})
    duels = []
    for rate in rates:
        ours = _at(cells, "l2rw", noise=rate)
        place = f"{rate:.0%} background flips, {ours.experiment.clean_size} clean images"
        duels.append(_duel(ours, [_at(cells, row, noise=rate) for row in _rows(rivals)], place))
    return Panel("background flips", "wrong labels", "", tuple(f"{r:.0%}" for r in rates), ("",), (tuple(duels),))


def background_by_clean(data: str, rivals: str = PLAIN, scale: str = "reduced") -> Panel:
    """40% background flips, by the size of the clean set. Plain SGD is the tuned run before its tuning."""
    cells = _cells("fig4", scale, data)
    sizes = sorted({cell.place["clean"] for cell in cells})
    duels = []
    for size in sizes:
        ours, tuned = (_at(cells, row, clean=size) for row in ("l2rw", "baseline+ft"))
        plain = replace(tuned, row="baseline", experiment=tuned.experiment.with_(fine_tune_steps=0))
        rival = tuned if rivals == TUNED else plain
        duels.append(_duel(ours, [rival], f"40% background flips, {size} clean images"))
    _rows(rivals)
    return Panel(
        "40% background flips", "clean images", "", tuple(f"{size:,}" for size in sizes), ("",), (tuple(duels),)
    )


def with_the_papers_network(rival: str) -> Panel:
    """Background flips on CIFAR-10 with ResNet-32 at a quarter of the paper's steps, against one row.

    Its columns are the shares of flips for which the long runs have reweighting.

    Raises:
        ValueError: for a row that Figure 5 has not.
    """
    cells, passed = _cells("fig5", "quarter", "cifar10"), campaign.passed()
    ours = [cell for cell in cells if cell.row == "l2rw" and cell.trial(0) in passed]
    duels, columns = [], []
    for cell in sorted(ours, key=lambda cell: cell.place["noise"]):
        rate = cell.place["noise"]
        if (other := _at(cells, rival, noise=rate)) is None:
            raise ValueError(f"unknown row {rival!r}; choose one of {', '.join({c.row: 0 for c in cells})}")
        duels.append(_duel(cell, [other], f"{rate:.0%} flips, against {title_of_row(rival)}"))
        columns.append(f"{rate:.0%}")
    return Panel(f"against {title_of_row(rival)}", "wrong labels", "", tuple(columns), ("",), (tuple(duels),))


def by_schedule(data: str, rivals: str = PLAIN, scale: str = "reduced") -> Panel:
    """40% flips of both kinds, with the tables' long schedule and with a third of its steps; plain SGD is the rival."""
    duels, columns = [], []
    rows = [row for row in _rows(rivals) if Row.from_name(row).method == "baseline"]
    for flip, table in (("uniform", "table1"), ("background", "table2")):
        early = [cell for cell in _cells("schedule", scale, data) if cell.place["flip"] == flip]
        for words, cells in (("long", _cells(table, scale, data)), ("early drop", early)):
            ours = _at(cells, "l2rw")
            place = f"40% {flip} flips, {ours.experiment.steps:,} steps"
            duels.append(_duel(ours, [_at(cells, row) for row in rows], place))
            columns.append(f"{flip}\n{words}")
    return Panel("40% flips, two schedules", "", "", tuple(columns), ("",), (tuple(duels),))


def _cells(name: str, scale: str, data: str, change: Change | None = None) -> list[Cell]:
    every = grid(name, scale).cells
    cells = [cell for cell in every if cell.place["data"] == data]
    if not cells:
        names = dict.fromkeys(cell.place["data"] for cell in every)
        raise ValueError(f"{name} at {scale} scale has no data set {data!r}; choose one of {', '.join(names)}")
    return [change(cell) for cell in cells] if change else cells


def _rows(rivals: str) -> tuple[str, ...]:
    if rivals not in RIVALS:
        raise ValueError(f"unknown rivals {rivals!r}; choose one of {', '.join(map(repr, RIVALS))}")
    return RIVALS[rivals]


def _at(cells: Sequence[Cell], row: str, **place: Any) -> Cell | None:
    """The first of the cells of a row at a place, None if there is none."""
    return next((c for c in cells if c.row == row and place.items() <= c.place.items()), None)


def _duel(ours: Cell, rivals: Sequence[Cell | None], place: str) -> Duel:
    """Only rivals with our schedule take part."""
    schedule = (ours.experiment.steps, ours.experiment.lr_drops)
    fair = [r for r in rivals if r and (r.experiment.steps, r.experiment.lr_drops) == schedule]
    return Duel(ours, tuple(fair), place)


def lead_map(panels: Sequence[Panel], ours: str = "L2RW", rival: str = "its best rival", caption: str = "") -> Drawing:
    """Draw panels of leads, one below the other: number and sign in every cell, colour by `EDGES`.

    A number is bold where its interval leaves out zero.

    Args:
        panels: entries are `Outcome`, or None where nothing was run.
        ours: name of who is ahead where the sign is plus.
        rival: name of who is ahead where it is minus.
        caption: put before the computed sentence.
    """
    heights = [0.62 * len(panel.rows) + 0.25 for panel in panels]
    fig, axes = figure(height=sum(heights) + 0.95 * len(panels) + 0.3, nrows=len(panels), height_ratios=heights)
    for panel, ax in zip(panels, np.atleast_1d(axes), strict=True):
        _panel(ax, panel)
    _legend(fig, ours, rival)
    sentence = describe(panels, ours, rival)
    return show(fig, alt=sentence, caption=f"{caption} {sentence}".strip())


def describe(panels: Sequence[Panel], ours: str = "L2RW", rival: str = "its best rival") -> str:
    """How many cells were run, who leads in how many, and the extremes."""
    entries = [entry for panel in panels for entry in panel.flat]
    outcomes = [entry for entry in entries if entry is not None]
    if not outcomes:
        return f"None of the {len(entries)} cells has been run yet."
    ahead, behind = (sum(sign * o.lead.mean >= EDGES[0] for o in outcomes) for sign in (1, -1))
    sentence = (
        f"{len(outcomes)} of {len(entries)} cells have been run: {ours} is ahead in {ahead}, {rival} in {behind}, "
        f"and {len(outcomes) - ahead - behind} within half a point."
    )
    if any(o.lead.trials > 1 for o in outcomes):
        won, lost = (sum(o.decided == sign for o in outcomes) for sign in (1, -1))
        sentence += f" By more than the interval, in bold: {ours} in {won}, {rival} in {lost}."
    low, high = (pick(outcomes, key=lambda o: o.lead.mean) for pick in (min, max))
    if len(outcomes) > 1:
        least, most = (f"{o.lead.mean:+.1f}" for o in (low, high))
        sentence += f" Least: {least} points at {low.duel.place}. Most: {most} at {high.duel.place}."
    return typeset(sentence)


def extremes(outcomes: Sequence[Outcome], each: int = 3) -> list[Outcome]:
    """The `each` lowest leads, then the `each` highest; a pair that stands in several panels counts once."""
    once = {(o.rival.cell.row, *(record.id for record in o.ours.records)): o for o in reversed(outcomes)}
    ranked = sorted(once.values(), key=lambda o: o.lead.mean)
    return ranked if len(ranked) <= 2 * each else [*ranked[:each], *ranked[-each:]]


def colour_of(lead: float) -> str:
    """The fill of a cell; leads of equal size on both sides are equally strong."""
    steps = int(np.searchsorted(EDGES, abs(lead), side="right"))
    return EVEN if steps == 0 else (AHEAD if lead > 0 else BEHIND)[steps - 1]


def _panel(ax: Axes, panel: Panel) -> None:
    across = [k + 0.2 * (k // panel.block if panel.block else 0) for k in range(len(panel.columns))]
    for y, row in enumerate(panel.entries):
        for x, entry in zip(across, row, strict=True):
            fill = NOT_RUN if entry is None else colour_of(entry.lead.mean)
            ax.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=fill, edgecolor="none"))
            _cell_text(ax, x, y, entry, ink_on(fill), 0 if len(panel.columns) > _NARROW else 1)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks(across, panel.columns)
    ax.set_yticks(range(len(panel.rows)), panel.rows)
    ax.set(xlim=(-0.5, across[-1] + 0.5), ylim=(len(panel.rows) - 0.5, -0.5))
    ax.set(xlabel=panel.xlabel, ylabel=panel.ylabel, title=panel.title)


def _cell_text(ax: Axes, x: float, y: float, entry: Outcome | None, ink: str, digits: int) -> None:
    centred: Mapping[str, Any] = {"ha": "center", "va": "center", "color": ink}
    if entry is None:
        ax.text(x, y, "not run", **centred)
        return
    lead = entry.lead
    below = (
        "1 trial" if lead.trials == 1 else f"± {number(lead.half_width, f'.{digits if lead.half_width < 100 else 0}f')}"
    )
    weight = "bold" if entry.decided else "normal"
    ax.text(x, y - 0.14, number(lead.mean, f"+.{digits}f"), fontweight=weight, **centred)
    ax.text(x, y + 0.27, below, **centred)


def _legend(fig: Figure, ours: str, rival: str) -> None:
    names = {f"+ {ours} ahead": AHEAD[2], f"{MINUS} {rival} ahead": BEHIND[2], "not run": NOT_RUN}
    fig.legend(
        handles=[Patch(facecolor=fill, edgecolor="none", label=name) for name, fill in names.items()],
        loc="outside upper left",
        ncols=3,
        columnspacing=1.2,
        handlelength=1.2,
    )
