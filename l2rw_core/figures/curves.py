"""Figures made from records: what happened during training, with its spread over trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from l2rw_core.datasets import title_of
from l2rw_core.experiments import Record, interval
from l2rw_core.figures.labels import name_lines
from l2rw_core.figures.methods import look_of, title_of_row
from l2rw_core.figures.style import COLOURS, DASHES, INK, PALETTE, Drawing, as_sentence, dots, figure, show

Groups = Mapping[str, Sequence[Record]]
"""Method name -> the trials of one configuration."""

_NO_RECORDS = "there are no records to draw: run the experiment first, see `l2rw reproduce --help`"
_DASH_CYCLE = tuple(DASHES.values())
ENOUGH = 4
"""Trials from which on their interval is drawn: that of three is about three times as wide as their range."""

_SCALES = {
    "paper": "the paper's scale",
    "quarter": "a quarter of the paper's schedule",
    "reduced": "a reduced scale",
    "quick": "the quick scale",
}


def error_curves(groups: Groups, ylim: tuple[float, float] = (0.0, 0.55), caption: str = "") -> Drawing:
    """Test error against training steps, one line a method: mean over trials, with its 95% interval as a band.

    Of fewer than `ENOUGH` trials every single one is drawn thin in place of the band, which would cover the figure.

    Args:
        groups: at least one method with at least one record; the trials of a method were evaluated at the same steps.
        ylim: limits of the error, as shares.
        caption: text under the figure; what was run is added to it.

    Raises:
        ValueError: no records, or trials that were evaluated at different steps.
    """
    return _curves(groups, ylim, caption, error=True)


def accuracy_curves(groups: Groups, ylim: tuple[float, float] = (0.0, 1.0), caption: str = "") -> Drawing:
    """As `error_curves`, with the test accuracy; steps at which the learning rate falls are marked."""
    return _curves(groups, ylim, caption, error=False)


def accuracy_against_time(groups: Groups, ylim: tuple[float, float] = (0.0, 1.0), caption: str = "") -> Drawing:
    """Test accuracy against the time that training steps took, the mean over a method's trials, evaluation left out.

    Raises:
        ValueError: no records, or a record that does not say how long its steps took.
    """
    if not groups:
        raise ValueError(_NO_RECORDS)
    fig, ax = figure()
    sentences = []
    for position, (method, records) in enumerate(groups.items()):
        steps, errors = errors_over_steps(records)
        if any(record.training_seconds is None for record in records):
            raise ValueError(f"a record of {method} does not say how long its steps took")
        seconds = float(np.mean([record.training_seconds for record in records])) * steps / steps[-1]
        colour, dash = style_of(method, position)
        ax.plot(seconds, 1 - errors.mean(0), color=colour, linestyle=dash, label=title_of_row(method))
        length = f"{seconds[-1]:,.0f}" if seconds[-1] >= 10 else f"{seconds[-1]:.2g}"
        sentences.append(f"{title_of_row(method)} {describe(records, error=False)} after {length} s")
    ax.set(xlabel="seconds of training", ylabel="test accuracy", ylim=ylim)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.legend()
    sentence = as_sentence("; ".join(sentences))
    return show(fig, alt=sentence, caption=f"{caption} {sentence} {provenance(groups)}".strip())


def _curves(groups: Groups, ylim: tuple[float, float], caption: str, error: bool) -> Drawing:
    if not groups:
        raise ValueError(_NO_RECORDS)
    fig, ax = figure()
    for drop in sorted({d for records in groups.values() for r in records for d in r.experiment.lr_drops}):
        ax.axvline(drop, color=INK, alpha=0.4, linewidth=1, linestyle=(0, (1, 3)))
    for position, (method, records) in enumerate(groups.items()):
        _curve(ax, method, records, position, error)
    what = "test error" if error else "test accuracy"
    ax.set(xlabel="training step", ylabel=what, ylim=ylim)
    ax.margins(x=0)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    name_lines(ax)
    summary = "; ".join(f"{title_of_row(method)} {describe(records, error)}" for method, records in groups.items())
    return show(
        fig,
        alt=f"{what.capitalize()} at the last step: {summary}.",
        caption=f"{caption} {provenance(groups, _drawn(groups))}".strip(),
    )


def _curve(ax: Axes, method: str, records: Sequence[Record], position: int, error: bool) -> None:
    steps, values = errors_over_steps(records)
    if not error:
        values = 1 - values
    spread = [interval(column.tolist()) for column in values.T]
    mean = np.array([s.mean for s in spread])
    half = np.nan_to_num([s.half_width for s in spread])
    colour, dash = style_of(method, position)
    ax.plot(steps, mean, color=colour, linestyle=dash, label=title_of_row(method))
    if len(records) >= ENOUGH:
        ax.fill_between(steps, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)
    elif len(records) > 1:
        ax.plot(steps, values.T, color=colour, linestyle=dash, linewidth=0.8, alpha=0.6)


def _drawn(groups: Groups) -> str:
    """What the lines of a figure are, where a method has several trials."""
    enough = [len(records) >= ENOUGH for records in groups.values() if len(records) > 1]
    if all(enough):
        return "mean and 95% interval"
    return "mean, and 95% interval or thin lines for single ones" if any(enough) else "mean, thin lines for single ones"


def effective_lines(ax: Axes, groups: Groups, roles: Mapping[str, str] | None = None) -> dict[str, float]:
    """Draw how many examples share the weight of a batch, 1 / sum of w squared, against training steps.

    Batches without any weight are left out: nobody shares it there.

    Args:
        ax: where to draw.
        groups: what the legend calls a line -> its trials, of which the mean is drawn as far as the shortest goes.
        roles: name of a line -> a key of `COLOURS`; by default the name's own style.

    Returns:
        Name of a line -> where it ends.
    """
    ends = {}
    for position, (name, records) in enumerate(groups.items()):
        curves = [np.array(record.curve.effective_while_learning[1:], float) for record in records]
        mean = np.nanmean([curve[: min(map(len, curves))] for curve in curves], axis=0)
        colour, dash = style_of((roles or {}).get(name, name), position)
        ax.plot(records[0].curve.step[1 : 1 + len(mean)], mean, color=colour, linestyle=dash, label=title_of_row(name))
        ends[name] = float(mean[-1])
    ax.set(xlabel="training step", ylabel="effective examples")
    return ends


def trials_at(groups: Groups, step: int, what: str) -> Drawing:
    """Every trial after some step: its test error, and the share of the weight on the first class since the one before.

    Args:
        groups: at least one method with at least one record; all were evaluated at `step`.
        step: one of the evaluated steps.
        what: data set, for the caption.
    """
    fig, (left, right) = figure(ncols=2, height=3.2)
    sentences = []
    for position, (name, records) in enumerate(groups.items()):
        steps, errors = errors_over_steps(records)
        at = steps.tolist().index(step)
        shares = [record.curve.weight_by_class[at][0] for record in records]
        offsets = position + np.linspace(-0.12, 0.12, len(records))
        for ax, values in ((left, errors[:, at]), (right, shares)):
            ax.plot(offsets, values, **dots(name))
        mean = interval(errors[:, at].tolist())
        sentences.append(
            f"{title_of_row(name)} has {mean.mean:.1%} ± {mean.half_width:.1%} test error "
            f"and puts {np.mean(shares):.1%} of the weight on the rare class"
        )
    for ax, label, top in ((left, "test error", 0.55), (right, "weight on the rare class", 1.02)):
        ax.set(ylabel=label, ylim=(-0.02, top), xlim=(-0.5, len(groups) - 0.5))
        ax.set_xticks(range(len(groups)), [title_of_row(name).replace(" ", "\n") for name in groups])
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    sentence = f"{as_sentence('; '.join(sentences))} {what}, {len(records)} trials each."
    return show(fig, alt=sentence, caption=sentence)


def errors_over_steps(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Evaluated steps (E,) and test errors (trials, E) of the trials of one configuration."""
    if not records:
        raise ValueError(_NO_RECORDS)
    steps = [record.curve.step for record in records]
    if any(other != steps[0] for other in steps):
        raise ValueError("these trials were evaluated at different steps, so they cannot be averaged")
    return np.array(steps[0]), 1 - np.array([record.curve.accuracy for record in records])


def style_of(method: str, position: int) -> tuple[str, object]:
    """Colour and dash of a method: its own if it has one, else those of a role, or the next ones in turn."""
    if look := look_of(method):
        return look.colour, look.dash
    if method in COLOURS:
        return COLOURS[method], DASHES[method]
    turn = 2 + position
    return PALETTE[turn % len(PALETTE)], _DASH_CYCLE[turn % len(_DASH_CYCLE)]


def describe(records: Sequence[Record], error: bool = True) -> str:
    """Mean test error, or accuracy, at the last step with its 95% interval, in words."""
    value = interval([1 - record.last if error else record.last for record in records])
    spread = "" if np.isnan(value.half_width) else f" ± {value.half_width:.1%}"
    return f"{value.mean:.1%}{spread}"


def provenance(groups: Groups, drawn: str = "mean") -> str:
    """What a figure was made from, in a sentence: data, scale, steps, trials and what is drawn of them, device."""
    records = [record for trials in groups.values() for record in trials]
    counts = {len(trials) for trials in groups.values()}
    trials = f"{counts.pop()}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    first = records[0].experiment
    return (
        f"{title_of(first.data)}, {_SCALES[first.scale]}: {first.steps:,} steps, "
        + ("1 trial" if trials == "1" else f"{trials} trials a method, {drawn}")
        + f"; {records[0].environment['device'].partition(',')[0]}."
    )
