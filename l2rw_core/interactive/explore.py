"""Sliders over figures drawn in advance: the same widget with a kernel, in Colab, and on a page without a kernel."""

from __future__ import annotations

import dataclasses
import html
import itertools
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import ipywidgets as widgets
from tqdm import tqdm

from l2rw_core.figures.style import COLOURS, Drawing
from l2rw_core.running.progress import progress_wanted

MAX_FRAMES = 200
"""The most frames that one `explore` may hold: more belongs in two figures."""

MAX_BYTES = 2_500_000
"""The most bytes of HTML that the frames of one `explore` may come to: readers load all of them with the page."""

# ipywidgets cuts off the handle at both ends, and with it the mark of the keyboard focus.
_STYLE = """<style>
.l2rw-explore .l2rw-slider .slider-container { overflow: visible; }
.l2rw-explore .l2rw-slider .noUi-handle:focus { outline: 3px solid currentColor; outline-offset: 2px; }
</style>"""

_RESERVED = frozenset({"highlight", "q"})  # what Sphinx's search puts into addresses

Format = str | Callable[[Any], str]


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One slider: its words, and the values it runs through."""

    name: str
    label: str
    values: tuple[Any, ...]
    words: tuple[str, ...]
    start: int


def explore(
    draw: Callable[..., Drawing],
    *,
    start: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    formats: Mapping[str, Format] | None = None,
    name: str | None = None,
    **axes: Iterable[Any],
) -> widgets.VBox:
    """Return one slider an axis above the figure that belongs to their values; it needs no kernel once shown.

    Every combination is drawn now, so that a published page has them all:

        explore(draw, noise=[0.0, 0.2, 0.4], imbalance=[1, 10, 100],
                labels={"noise": "wrong labels"}, formats={"noise": "{:.0%}"})

    Args:
        draw: called as `draw(noise=0.2, imbalance=10)`. The caption of what it returns is the sentence that tells what
            is to be seen at these values; the values themselves are put before it. Keep the axis limits of its figures
            the same throughout, else the sliders seem to change what they do not.
        start: axis name -> the value first shown; the first of its list where not given.
        labels: axis name -> words for it; the name with spaces for underscores where not given.
        formats: axis name -> how a value reads: a format string such as `"{:.0%}"`, or a function to a string.
        name: key under which a published page keeps the positions in its address, of letters, digits and hyphens; the
            names of the axes, as in `?noise-imbalance=1,0`, where not given. Two of one page need two names.
        **axes: axis name -> its values, in the order of the slider; at least two, none twice.

    Returns:
        A box of class `l2rw-explore`, which a notebook shows when it is the last value of a cell.

    Raises:
        TypeError: an axis is not a list of values, or `draw` returns something other than a `Drawing`.
        ValueError: no axis; an axis with fewer than two values, or two that are or read the same; an unknown axis or
            value in `start`, `labels` or `formats`; a `name` unfit for an address; more than `MAX_FRAMES` frames (all
            before anything is drawn); or frames of more than `MAX_BYTES`.
    """
    described = _described(axes, start or {}, labels or {}, formats or {})
    key = _key(described, name)
    box = _assembled(described, _drawings(draw, described))
    box.add_class(f"l2rw-at-{key}")  # read by explore.js
    return box


def _key(axes: Sequence[_Axis], name: str | None) -> str:
    """Return the name in the page's address."""
    key = "-".join(axis.name.replace("_", "-") for axis in axes) if name is None else name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", key) or key in _RESERVED:
        raise ValueError(
            f"name must be letters, digits and hyphens, a letter first, and none of {sorted(_RESERVED)}, since it "
            f"becomes part of the page's address; got {key!r}"
        )
    return key


def _assembled(axes: Sequence[_Axis], drawings: Sequence[Drawing]) -> widgets.VBox:
    # One layout serves every box: each model of its own would weigh more in the page than a small frame.
    wide = widgets.Layout(width="100%", margin="0", overflow="visible")
    sliders = [_slider(axis) for axis in axes]
    controls = [_control(axis, slider, wide) for axis, slider in zip(axes, sliders, strict=True)]
    picture = _box([_pages(sliders, _frames(drawings, wide), wide)], "l2rw-picture", wide)
    style = widgets.HTML(_STYLE, layout=widgets.Layout(display="none"))
    return _box([style, *controls, picture], "l2rw-explore", wide)


def _described(
    axes: Mapping[str, Iterable[Any]],
    start: Mapping[str, Any],
    labels: Mapping[str, str],
    formats: Mapping[str, Format],
) -> list[_Axis]:
    if not axes:
        raise ValueError("explore needs an axis to move along, for example explore(draw, noise=[0.0, 0.2, 0.4])")
    for option, given in (("start", start), ("labels", labels), ("formats", formats)):
        unknown = [name for name in given if name not in axes]
        if unknown:
            raise ValueError(f"{option} names {unknown}, but the axes are {list(axes)}")
    result = [_axis(name, values, start, labels, formats) for name, values in axes.items()]
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
        return form.format(value)
    if form is not None:
        return str(form(value))
    return f"{value:,}" if isinstance(value, Integral) and not isinstance(value, bool) else str(value)


def _drawings(draw: Callable[..., Drawing], axes: Sequence[_Axis]) -> list[Drawing]:
    """Draw every combination, the last axis running fastest."""
    combinations = list(itertools.product(*(range(len(axis.values)) for axis in axes)))
    shown = tqdm(combinations, desc="drawing", leave=False, disable=not (sys.stderr.isatty() and progress_wanted()))
    drawings = [_drawn(draw, axes, indices) for indices in shown]
    _check_weight(drawings)
    return drawings


def _frames(drawings: Sequence[Drawing], layout: widgets.Layout) -> list[widgets.DOMWidget]:
    repeated = [svg for svg, count in Counter(drawing.svg for drawing in drawings).items() if count > 1]
    pictures = dict(zip(repeated, _texts([Drawing(svg, "").html for svg in repeated], layout), strict=True))
    texts = [_caption_html(drawing) if drawing.svg in pictures else drawing.html for drawing in drawings]
    shown = zip(_texts(texts, layout), drawings, strict=True)
    return [_frame(text, pictures.get(drawing.svg), layout) for text, drawing in shown]


def _drawn(draw: Callable[..., Drawing], axes: Sequence[_Axis], indices: Sequence[int]) -> Drawing:
    """Draw one combination, with its values in words before the caption."""
    drawing = draw(**{axis.name: axis.values[index] for axis, index in zip(axes, indices, strict=True)})
    if not isinstance(drawing, Drawing):
        raise TypeError(f"draw must return a Drawing, as l2rw_core.figures.show does, not {type(drawing).__name__}")
    setting = "; ".join(f"{axis.label}: {axis.words[index]}" for axis, index in zip(axes, indices, strict=True))
    sentence = f"{setting[:1].upper()}{setting[1:]}. {drawing.caption}".strip()
    return dataclasses.replace(drawing, caption=sentence)


def _check_weight(drawings: Sequence[Drawing]) -> None:
    svgs = {drawing.svg for drawing in drawings}
    weight = sum(len(text.encode()) for text in [*svgs, *(drawing.caption for drawing in drawings)])
    if weight > MAX_BYTES:
        raise ValueError(
            f"{len(drawings)} frames come to {weight / 1e6:.1f} MB, more than the {MAX_BYTES / 1e6:.1f} MB of a page: "
            "take fewer values, or draw fewer points"
        )


def _frame(text: widgets.HTML, picture: widgets.HTML | None, layout: widgets.Layout) -> widgets.DOMWidget:
    """Return one frame; a picture that serves several frames stands beside the text instead of inside it."""
    if picture is None:
        text.add_class("l2rw-frame")
        return text
    return _box([picture, text], "l2rw-frame", layout)


def _caption_html(drawing: Drawing) -> str:
    return f'<div class="l2rw-caption" style="line-height:1.4">{html.escape(drawing.caption)}</div>'


def _slider(axis: _Axis) -> widgets.SelectionSlider:
    """Return the slider; its words stand above it, since its own read-out is a text field that edits nothing."""
    slider = widgets.SelectionSlider(
        options=axis.words,
        value=axis.words[axis.start],
        readout=False,
        layout=widgets.Layout(width="100%", max_width="36rem", margin="0", overflow="visible"),
        style={"handle_color": COLOURS["l2rw"]},
    )
    slider.add_class("l2rw-slider")
    return slider


def _control(axis: _Axis, slider: widgets.SelectionSlider, layout: widgets.Layout) -> widgets.VBox:
    pages = _texts([_value_html(axis.label, words) for words in axis.words], layout)
    return _box([_switch(slider, pages, layout), slider], "l2rw-control", layout)


def _value_html(label: str, words: str) -> str:
    return (
        f'<span class="l2rw-label">{html.escape(label)}</span>: '
        f'<strong class="l2rw-value">{html.escape(words)}</strong>'
    )


def _pages(
    sliders: Sequence[widgets.SelectionSlider], frames: Sequence[widgets.DOMWidget], layout: widgets.Layout
) -> widgets.DOMWidget:
    """Nest `frames`, the last slider running fastest, so that the sliders choose the one to be seen."""
    if not sliders:
        return frames[0]
    size = len(frames) // len(sliders[0].options)
    pages = [_pages(sliders[1:], frames[first : first + size], layout) for first in range(0, len(frames), size)]
    return _switch(sliders[0], pages, layout)


def _switch(
    slider: widgets.SelectionSlider, pages: Sequence[widgets.DOMWidget], layout: widgets.Layout
) -> widgets.DOMWidget:
    """Return a box that shows the page at the slider's index, linked in the browser so that no kernel is needed."""
    if not hasattr(widgets, "Stack"):
        return _kernel_switch(slider, pages, layout)
    stack = widgets.Stack(pages, selected_index=slider.index, layout=layout)
    widgets.jsdlink((slider, "index"), (stack, "selected_index"))
    return stack


def _kernel_switch(
    slider: widgets.SelectionSlider, pages: Sequence[widgets.DOMWidget], layout: widgets.Layout
) -> widgets.Box:
    """Do as `_switch` where ipywidgets is older than 8 and has no `Stack`: Python swaps the pages."""
    box = widgets.Box([pages[slider.index]], layout=layout)

    def swap(change: Any) -> None:
        box.children = [pages[change.new]]

    slider.observe(swap, "index")
    return box


def _texts(texts: Sequence[str], layout: widgets.Layout) -> list[widgets.HTML]:
    """Return a widget for each text, all with one layout and style."""
    if not texts:
        return []
    first = widgets.HTML(texts[0], layout=layout)
    return [first, *(widgets.HTML(text, layout=layout, style=first.style) for text in texts[1:])]


def _box(children: Sequence[widgets.DOMWidget], name: str, layout: widgets.Layout) -> widgets.VBox:
    box = widgets.VBox(children, layout=layout)
    box.add_class(name)
    return box
