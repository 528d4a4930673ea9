"""Sliders and choices over figures drawn in advance: plain HTML, the same on a page and in a notebook."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import itertools
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imsave
from tqdm import tqdm

from l2rw_core.figures.style import Drawing
from l2rw_core.numerals import typeset
from l2rw_core.running.progress import progress_wanted

MAX_FRAMES = 200
"""The most frames that one `explore` may hold: more belongs in two figures."""

MAX_BYTES = 600_000
"""The most bytes that the frames of one `explore` may come to, what they share once: readers load it with the page."""

_SCRIPT = Path(__file__).with_name("explore.js")
_STYLE = Path(__file__).with_name("explore.css")
_BETWEEN = re.compile("(?<=>)(?=<)")
_OWN_IDS = re.compile(r"""((?:id="|href="#|url\(#))f[0-9a-f]{8}(?=-)""")  # as l2rw_core.figures names them
_RESERVED = frozenset({"highlight", "q"})  # what Sphinx's search puts into addresses
_FEW_VALUES, _MOST_CASES = 3, 8
_TAKES_KEYS = "data-lm-suppress-shortcuts"  # a notebook would take the arrows for its own

Format = str | Callable[[Any], str]


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One slider or choice: its words, and the values it runs through."""

    name: str
    label: str
    values: tuple[Any, ...]
    words: tuple[str, ...]
    start: int
    pictures: tuple[str, ...] = ()
    """Addresses of data, one a value; none where words are enough."""

    @property
    def is_choice(self) -> bool:
        """Whether all values stand side by side, to be chosen from: few of them, or cases with names."""
        if self.pictures:
            return True
        of_text = all(isinstance(value, str) for value in self.values)
        return len(self.values) <= (_MOST_CASES if of_text else _FEW_VALUES)


@dataclasses.dataclass(frozen=True)
class Exploration:
    """What `explore` returns; a notebook shows it when it is the last value of a cell.

    The HTML needs neither kernel nor network. Its script comes with it, so that it works wherever a notebook shows
    HTML; without any script the figure that it starts with is seen, its caption, and what it is drawn for.

    Attributes:
        name: key of the positions in a page's address.
        drawings: a frame for each combination of values, the last axis running fastest.
    """

    name: str
    axes: tuple[_Axis, ...] = dataclasses.field(repr=False)
    drawings: tuple[Drawing, ...]

    @property
    def start(self) -> int:
        """Position of the first frame to be seen."""
        place = 0
        for axis in self.axes:
            place = place * len(axis.values) + axis.start
        return place

    @property
    def html(self) -> str:
        """Controls, the first frame, what the other pictures are made of, and the script."""
        first = self.drawings[self.start]
        pictures = list(dict.fromkeys([first.svg, *(drawing.svg for drawing in self.drawings)]))
        place = {svg: number for number, svg in enumerate(pictures)}
        parts, runs = _in_parts(pictures[1:])
        frames = {
            "pictures": [place[drawing.svg] for drawing in self.drawings],
            "captions": [drawing.caption for drawing in self.drawings],
            "runs": [[], *runs],
        }
        data = json.dumps(frames, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
        return (
            f'<div class="l2rw-explore" id="explore-{self.name}" data-name="{self.name}">'
            f"<style>{_STYLE.read_text()}</style>"
            f'<form autocomplete="off">{"".join(map(_control, self.axes))}</form>{first.html}'
            f'<script type="application/json">{data}</script><script type="text/plain">{parts}</script></div>'
            f'<script type="module">\n{_SCRIPT.read_text()}</script>'
        )

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"[{len(self.drawings)} figures; the first: {self.drawings[self.start].alt}]"


def explore(
    draw: Callable[..., Drawing],
    *,
    start: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    formats: Mapping[str, Format] | None = None,
    pictures: Mapping[str, Sequence[np.ndarray]] | None = None,
    name: str | None = None,
    **axes: Iterable[Any],
) -> Exploration:
    """Return a slider or a choice for each axis above the figure that belongs to their values; it needs no kernel.

    Every combination is drawn now, so that a published page has them all:

        explore(draw, noise=[0.0, 0.2, 0.4, 0.6], imbalance=[1, 10, 100],
                labels={"noise": "wrong labels"}, formats={"noise": "{:.0%}"})

    Two or three values, and up to eight cases given by name, are buttons to choose from; more are a slider.

    Args:
        draw: called as `draw(noise=0.2, imbalance=10)`. The caption of what it returns is the sentence that tells what
            is to be seen at these values, which stand above it. Keep the axis limits of its figures the same
            throughout, else the sliders seem to change what they do not.
        start: axis name -> the value first shown; the first of its list where not given.
        labels: axis name -> words for it; the name with spaces for underscores where not given.
        formats: axis name -> how a value reads: a format string such as `"{:.0%}"`, or a function to a string.
        pictures: axis name -> a small image for each of its values, uint8 and (height, width, 3): its values are then
            chosen by these, and their words are what a screen reader says.
        name: key under which a published page keeps the positions in its address, of letters, digits and hyphens; the
            names of the axes, as in `?noise-imbalance=1,0`, where not given. Two of one page need two names.
        **axes: axis name -> its values, in the order of the slider; at least two, none twice.

    Raises:
        TypeError: an axis is not a list of values, or `draw` returns something other than a `Drawing`.
        ValueError: no axis; an axis with fewer than two values, or two that are or read the same; an unknown axis or
            value in `start`, `labels`, `formats` or `pictures`; another number of pictures than of values; a `name`
            unfit for an address; more than `MAX_FRAMES` frames (all before anything is drawn); or frames of more than
            `MAX_BYTES`.
    """
    described = _described(axes, start or {}, labels or {}, formats or {}, pictures or {})
    key = _key(described, name)
    return Exploration(key, tuple(described), tuple(_drawings(draw, described)))


def _key(axes: Sequence[_Axis], name: str | None) -> str:
    """Return the name in the page's address."""
    key = "-".join(axis.name.replace("_", "-") for axis in axes) if name is None else name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", key) or key in _RESERVED:
        raise ValueError(
            f"name must be letters, digits and hyphens, a letter first, and none of {sorted(_RESERVED)}, since it "
            f"becomes part of the page's address; got {key!r}"
        )
    return key


def _described(
    axes: Mapping[str, Iterable[Any]],
    start: Mapping[str, Any],
    labels: Mapping[str, str],
    formats: Mapping[str, Format],
    pictures: Mapping[str, Sequence[np.ndarray]],
) -> list[_Axis]:
    if not axes:
        raise ValueError("explore needs an axis to move along, for example explore(draw, noise=[0.0, 0.2, 0.4])")
    for option, options in (("start", start), ("labels", labels), ("formats", formats), ("pictures", pictures)):
        unknown = [name for name in options if name not in axes]
        if unknown:
            raise ValueError(f"{option} names {unknown}, but the axes are {list(axes)}")
    result = [
        _with_pictures(_axis(name, values, start, labels, formats), pictures.get(name)) for name, values in axes.items()
    ]
    count = math.prod(len(axis.values) for axis in result)
    if count > MAX_FRAMES:
        raise ValueError(f"{count} frames are too many for one page (at most {MAX_FRAMES}): take fewer values or axes")
    return result


def _axis(
    name: str,
    values: Iterable[Any],
    start: Mapping[str, Any],
    labels: Mapping[str, str],
    formats: Mapping[str, Format],
) -> _Axis:
    listed = _listed(name, values)
    words = tuple(_words(value, formats.get(name)) for value in listed)
    _check_distinct(name, listed, "the same value")
    _check_distinct(name, words, "values that read the same")
    first = start.get(name, listed[0])
    if first not in listed:
        raise ValueError(f"start of axis {name!r} is {first!r}, which is not among its values {list(listed)}")
    return _Axis(name, labels.get(name, name.replace("_", " ")), listed, words, listed.index(first))


def _with_pictures(axis: _Axis, pictures: Sequence[np.ndarray] | None) -> _Axis:
    if pictures is None:
        return axis
    if len(pictures) != len(axis.values):
        raise ValueError(f"axis {axis.name!r} has {len(axis.values)} values, and {len(pictures)} pictures")
    return dataclasses.replace(axis, pictures=tuple(map(_address, pictures)))


def _address(picture: np.ndarray) -> str:
    """An address that holds the image itself."""
    buffer = io.BytesIO()
    imsave(buffer, picture, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _listed(name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"axis {name!r} must be a list of values, not {type(values).__name__}")
    listed = tuple(values)
    if len(listed) < 2:
        raise ValueError(f"axis {name!r} needs at least two values, and has {len(listed)}")
    return listed


def _check_distinct(name: str, items: Sequence[Any], what: str) -> None:
    twice = [item for position, item in enumerate(items) if item in items[:position]]
    if twice:
        raise ValueError(f"axis {name!r} has {what} more than once: {twice[0]!r}")


def _words(value: Any, form: Format | None) -> str:
    if isinstance(form, str):
        return typeset(form.format(value))
    if form is not None:
        return typeset(str(form(value)))
    return typeset(f"{value:,}" if isinstance(value, Integral) and not isinstance(value, bool) else str(value))


def _drawings(draw: Callable[..., Drawing], axes: Sequence[_Axis]) -> list[Drawing]:
    """Draw every combination, the last axis running fastest."""
    combinations = list(itertools.product(*(range(len(axis.values)) for axis in axes)))
    progress_of = tqdm(
        combinations, desc="drawing", leave=False, disable=not (sys.stderr.isatty() and progress_wanted())
    )
    drawings = [_drawn(draw, axes, indices) for indices in progress_of]
    _check_weight(drawings)
    return drawings


def _drawn(draw: Callable[..., Drawing], axes: Sequence[_Axis], indices: Sequence[int]) -> Drawing:
    """Draw one combination; where it has no caption, its values in words are one."""
    drawing = draw(**{axis.name: axis.values[index] for axis, index in zip(axes, indices, strict=True)})
    if not isinstance(drawing, Drawing):
        raise TypeError(f"draw must return a Drawing, as l2rw_core.figures.show does, not {type(drawing).__name__}")
    if drawing.caption.strip():
        return drawing
    setting = "; ".join(f"{axis.label}: {axis.words[index]}" for axis, index in zip(axes, indices, strict=True))
    return dataclasses.replace(drawing, caption=f"{setting[:1].upper()}{setting[1:]}.")


def _check_weight(drawings: Sequence[Drawing]) -> None:
    parts, _ = _in_parts(list(dict.fromkeys(drawing.svg for drawing in drawings)))
    weight = sum(len(text.encode()) for text in [parts, *(drawing.caption for drawing in drawings)])
    if weight > MAX_BYTES:
        raise ValueError(
            f"{len(drawings)} frames come to {weight / 1e6:.1f} MB, more than the {MAX_BYTES / 1e6:.1f} MB of a page: "
            "take fewer values, or draw fewer points"
        )


def _in_parts(pictures: Sequence[str]) -> tuple[str, list[list[int]]]:
    """The elements of all pictures, one a line and none twice, and each picture as runs of them.

    Pictures of one figure differ in little: what they have in common is held once. A run is two numbers in a row, the
    line that it begins with and how many follow, so that a picture is a flat list of pairs.
    """
    place: dict[str, int] = {}
    runs = []
    for picture in pictures:
        lines = _BETWEEN.split(_OWN_IDS.sub(r"\1@", picture.replace("\n", " ").replace("</script", "&lt;/script")))
        numbers = [place.setdefault(line, len(place)) for line in lines]
        breaks = [at for at in range(1, len(numbers)) if numbers[at] != numbers[at - 1] + 1]
        spans = itertools.pairwise([0, *breaks, len(numbers)])
        runs.append([number for first, end in spans for number in (numbers[first], end - first)])
    return "\n".join(place), runs


def _control(axis: _Axis) -> str:
    """HTML of one slider, or of one set of buttons to choose from."""
    return _choice(axis) if axis.is_choice else _slider(axis)


def _slider(axis: _Axis) -> str:
    label, value = html.escape(axis.label), html.escape(axis.words[axis.start])
    words = html.escape(json.dumps(axis.words, ensure_ascii=False))
    first, last = html.escape(axis.words[0]), html.escape(axis.words[-1])
    return (
        f'<label class="l2rw-control"><span><span class="l2rw-label">{label}</span>: '
        f'<strong class="l2rw-value">{value}</strong></span>'
        f'<input {_TAKES_KEYS} type="range" min="0" max="{len(axis.values) - 1}" step="1" value="{axis.start}" '
        f'aria-label="{label}" aria-valuetext="{value}" data-words="{words}">'
        f'<span class="l2rw-ends" aria-hidden="true"><span>{first}</span><span>{last}</span></span></label>'
    )


def _choice(axis: _Axis) -> str:
    name = html.escape(axis.name)
    faces = map(_picture, axis.pictures, axis.words) if axis.pictures else map(_face, axis.words)
    buttons = "".join(
        f'<label><input {_TAKES_KEYS} type="radio" name="{name}" value="{position}"'
        f"{' checked' * (position == axis.start)}>"
        f"{face}</label>"
        for position, face in enumerate(faces)
    )
    legend = f'<legend class="l2rw-label">{html.escape(axis.label)}</legend>'
    kind = " l2rw-pictures" * bool(axis.pictures)
    return f'<fieldset class="l2rw-control{kind}">{legend}{buttons}</fieldset>'


def _face(words: str) -> str:
    return f"<span>{html.escape(words)}</span>"


def _picture(address: str, words: str) -> str:
    meaning = html.escape(words)
    return f'<img src="{address}" alt="{meaning}" title="{meaning}">'
