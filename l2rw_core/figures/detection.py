"""Suspect labels: numbers on how well they are found, a chart of them, and a gallery of the images."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from l2rw_core.datasets import Source
from l2rw_core.experiments import CellResult, Interval, Record, interval
from l2rw_core.experiments.detection import auc
from l2rw_core.figures.labels import ROW_HEIGHT, name_rows
from l2rw_core.figures.numbers import Number
from l2rw_core.figures.style import COLOURS, INK, MARKERS, Drawing, as_sentence, figure, pen, show

MEANINGS = {
    "auc": "Area under the ROC curve for wrong against right labels",
    "within": "The same among labels of one given class",
    "first": "Share of wrong labels among the tenth that is most suspect",
}
SCORE_NAMES = {
    "weight": "weight",
    "weight_recent": "weight, moving average",
    "helpful": "share of visits with weight",
    "alignment": "alignment",
    "suspects": "alignment, beside its class",
    "influence": "alignment, not relative",
    "loss": "loss, at the end",
    "loss_mean": "loss, mean",
    "loss_recent": "loss, moving average",
    "margin": "AUM",
    "confident": "cleanlab, in-sample",
    "held_out": "cleanlab, held out",
    "held_out_conf": "cleanlab, held out, by class",
    "label_alone": "the given label alone",
}
"""How the scores of `l2rw_core.experiments.detection` are called in tables."""

_THUMB = 56
_GALLERY_STYLE = """<style>
.l2rw-gallery{display:flex;flex-wrap:wrap;gap:.5rem;margin:0;padding:0;list-style:none}
.l2rw-gallery>li{width:5.4rem;margin:0;padding:.3rem;border:2px solid;border-radius:.25rem;text-align:center;
font-size:.8rem;line-height:1.25}
.l2rw-gallery>li.alarm{border-style:dashed}
.l2rw-gallery b,.l2rw-gallery small{display:block}
.l2rw-gallery small{font-size:1em}
.l2rw-thumb{display:block;margin:0 auto .2rem;image-rendering:pixelated}
</style>"""


@dataclass(frozen=True)
class DetectionNumber(Number):
    """How well one score finds wrong labels, as text that opens a note on its records.

    Args:
        result: trials that scored their labels.
        what: ``auc`` or ``within``, between 0 and 1, or ``first``, in percent.
        score: one of `SCORE_NAMES` that the trials have.
    """

    what: str = "auc"
    score: str = "alignment"

    def __post_init__(self) -> None:
        if self.what not in MEANINGS:
            raise ValueError(f"unknown measure {self.what!r}; choose one of {', '.join(MEANINGS)}")
        scores = detection_values(self.result, self.what)
        if self.score not in scores:
            raise ValueError(f"these trials have no score {self.score!r}; choose one of {', '.join(scores)}")

    @property
    def value(self) -> Interval:
        return interval(self._of_trials)

    @property
    def _largest(self) -> float:
        return 100 if self.what == "first" else 1

    @property
    def _of_trials(self) -> list[float]:
        return [self._largest * v for v in detection_values(self.result, self.what)[self.score]]

    @property
    def _form(self) -> tuple[int, str]:
        return (1, "%") if self.what == "first" else (3, "")

    @property
    def _meaning(self) -> str:
        return f"{MEANINGS[self.what]}, by {SCORE_NAMES[self.score]}"

    @property
    def _trials(self) -> list[str]:
        return [f"{v:.2f}" if self.what == "first" else f"{v:.4f}" for v in self._of_trials]


def detection_values(result: CellResult, what: str = "auc") -> dict[str, list[float]]:
    """Score -> one value a trial; empty if the trials scored no labels."""
    trials = [_of_record(record, what) for record in result.records if record.detection]
    return {name: [one[name] for one in trials] for name in (trials[0] if trials else {})}


def _of_record(record: Record, what: str) -> dict[str, float]:
    values = record.detection[what]
    return values | {"label_alone": record.detection["label_alone"]} if what == "auc" else values


def score_chart(
    groups: Mapping[str, Mapping[str, Interval]],
    roles: Mapping[str, str],
    caption: str = "",
    own: Mapping[str, Mapping[str, float]] | None = None,
) -> Drawing:
    """Areas under the curve, one line a score, beside a panel a group.

    Args:
        groups: panel title -> score's words -> area, in the order in which they are drawn, best on top.
        roles: score's words -> a role of the house colours and markers.
        caption: text under the figure.
        own: panel title -> score's words -> area of a reader's own run, which stands as a star.
    """
    names = list(dict.fromkeys(name for values in groups.values() for name in values))[::-1]
    fig, axes = figure(ncols=len(groups), height=ROW_HEIGHT * len(names) + 1.1, sharey=True)
    left = _left_end(groups, own or {})
    for ax, (title, values) in zip(np.atleast_1d(axes), groups.items(), strict=True):
        for height, name in enumerate(names):
            if name in values:
                v, role = values[name], roles[name]
                half = np.nan_to_num(v.half_width)
                ax.errorbar(v.mean, height, xerr=half, color=COLOURS[role], marker=MARKERS[role], linestyle="")
            if (area := (own or {}).get(title, {}).get(name)) is not None:
                look = {"color": COLOURS[roles[name]], "markeredgecolor": INK, "markeredgewidth": 0.8}
                ax.plot(area, height, "*", markersize=14, zorder=5, **look)
        ax.axvline(0.5, linewidth=1, alpha=0.5, color=COLOURS["neutral"])
        ax.set(xlim=(left, 1.03), xlabel="area under the curve")
        ax.set_xticks([0.5, 0.75, 1], ["0.5", "0.75", "1"])
        ax.set_title(title)
    name_rows(np.atleast_1d(axes), names)
    summary = " ".join(_best_and_worst(title, values) for title, values in groups.items())
    return show(fig, alt=f"Areas under the curve. {summary}", caption=f"{summary} {caption}".strip())


def _left_end(groups: Mapping[str, Mapping[str, Interval]], own: Mapping[str, Mapping[str, float]]) -> float:
    """Where the axis of areas begins: a little below one half, or below what reaches further down."""
    ends = [v.mean - np.nan_to_num(v.half_width) for values in groups.values() for v in values.values()]
    ends += [area for areas in own.values() for area in areas.values()]
    return float(min(0.45, *(end - 0.03 for end in ends))) if ends else 0.45


def _best_and_worst(title: str, values: Mapping[str, Interval]) -> str:
    if not values:
        return as_sentence(f"{title}: not run")
    best, worst = (pick(values, key=lambda name: values[name].mean) for pick in (max, min))
    best_words, worst_words = (f"{name} with {values[name].mean:.2f}" for name in (best, worst))
    return as_sentence(f"{title}: best {best_words}, worst {worst_words}")


_SUSPECTED = np.linspace(0, 1, 41)


def found_curves(scores: Mapping[str, tuple[np.ndarray, str]], wrong: np.ndarray, when: str, what: str) -> Drawing:
    """Share of the wrong labels that is found, against the share of the right ones that is suspected with them.

    Args:
        scores: what the legend calls a score -> (n,) scores, low for suspects, and a key of `COLOURS`.
        wrong: (n,) which labels are wrong.
        when: at what point of training, for the sentence.
        what: what was run; ends the caption.
    """
    fig, ax = figure(height=4.6)
    labels = []
    for words, (values, role) in scores.items():
        limits = np.quantile(values[~wrong], _SUSPECTED)
        recall = (values[wrong][None] < limits[:, None]).mean(1)
        labels.append(f"{words} {auc(values, wrong):.2f}")
        ax.plot(_SUSPECTED, recall, label=labels[-1], **pen(role))
    ax.plot([0, 1], [0, 1], color=COLOURS["neutral"], linewidth=1)
    ax.set(xlabel="share of the right labels that are suspected", ylabel="share of the wrong labels found")
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    fig.legend(loc="outside lower center", ncols=2)
    sentence = f"Areas under the curve {when}: {', '.join(labels)}. {what}"
    return show(fig, alt=sentence, caption=sentence)


def gallery(source: Source, suspects: Sequence[Sequence[float]], what: str, more: str = "") -> Drawing:
    """The most suspect labels with their images, most suspect first, and whether each is a find or a false alarm.

    Args:
        source: where the images come from.
        suspects: position in the source's training set, given label, true label, one row a label; more is not read.
        what: what was ranked, and by what; begins the sentence under the gallery.
        more: sentences that follow it.

    Raises:
        ValueError: without suspects, or if a true label is not the source's own: these suspects belong to other data.
    """
    if not len(suspects):
        raise ValueError("there is no suspect label to show")
    positions = [int(row[0]) for row in suspects]
    images = source.x_train[positions]
    if [int(row[2]) for row in suspects] != source.y_train[positions].tolist():
        raise ValueError(f"these suspects are not of the training set of {source.name}")
    items = "".join(_item(rank, row, source.classes, len(suspects)) for rank, row in enumerate(suspects))
    finds, count = sum(row[1] != row[2] for row in suspects), len(suspects)
    are = ["is" if number == 1 else "are" for number in (finds, count - finds)]
    found = f"{finds} {are[0]} wrong and {count - finds} {are[1]} right"
    sentence = f"{what}: of the {count} most suspect labels {found}. {more}".rstrip()
    sheet = f"--sheet:url({_sprite(images)});"
    return Drawing(
        f'{_GALLERY_STYLE}<ol class="l2rw-gallery" style="{sheet}" aria-label="{html.escape(sentence)}">{items}</ol>',
        sentence,
        sentence,
    )


def _item(rank: int, row: Sequence[float], classes: Sequence[str], count: int) -> str:
    label, true = classes[int(row[1])], classes[int(row[2])]
    is_wrong = label != true
    verdict = f"is {true}" if is_wrong else "label is right"
    says = f"image {rank + 1}, labelled {label}, {verdict}"
    thumb = (
        f'<span class="l2rw-thumb" role="img" aria-label="{html.escape(says)}" style="width:{_THUMB}px;'
        f'height:{_THUMB}px;background:var(--sheet) -{rank * _THUMB}px 0/{count * _THUMB}px {_THUMB}px"></span>'
    )
    mark = "✓ found" if is_wrong else "✗ false alarm"
    lines = f"“{html.escape(label)}”<small>{html.escape(verdict)}</small><b>{mark}</b>"
    return f'<li class="{"find" if is_wrong else "alarm"}">{thumb}{lines}</li>'


def _sprite(images: np.ndarray) -> str:
    """All images side by side as one data URI: PNG for grey ones, JPEG for colour, which is a tenth of the size."""
    from PIL import Image

    strip = np.concatenate(list(images), axis=1)
    grey = strip.shape[2] == 1
    buffer = io.BytesIO()
    if grey:
        Image.fromarray(strip[:, :, 0] // 16 * 17).save(buffer, "PNG", optimize=True)
    else:
        Image.fromarray(strip).save(buffer, "JPEG", quality=85)
    kind = "png" if grey else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
