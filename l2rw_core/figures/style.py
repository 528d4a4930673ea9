"""House style: matplotlib figures shown as small inline SVG that follows the page's light or dark theme.

A figure is built with `figure`, drawn on with matplotlib's own methods, and handed to `show`:

    fig, ax = figure()
    ax.plot(steps, accuracy, **pen("l2rw", marker=True))
    show(fig, alt="Accuracy rises from 60% to 95% within 500 steps.", caption="One run, seed 0.")

Text, axes and grid take the colour of the surrounding text, so a page can switch its theme without new figures.
"""

from __future__ import annotations

import functools
import html
import io
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import ScalarFormatter

from l2rw_core.figures.cut_off import warn_of_hidden
from l2rw_core.figures.svg import for_page
from l2rw_core.numerals import typeset

INK = "#010203"
"""Colour that becomes the page's text colour (`currentColor`). Black does too."""

PAPER = "#fdfcfb"
"""Colour that becomes the page's background, for halos and marker edges. White does too."""

COLOURS: dict[str, str] = {
    "l2rw": "#0d7ac4",
    "baseline": "#d55e00",
    "clean": "#009e73",
    "noisy": "#c2409a",
    "minority": "#8a6fe0",
    "majority": "#a87b05",
    "neutral": "#808080",
}
"""Role -> colour; at least 3:1 against white and against #121212. Role pairs differ for colour-blind readers too."""

MARKERS: dict[str, str] = {
    "l2rw": "o",
    "baseline": "s",
    "clean": "^",
    "noisy": "X",
    "minority": "D",
    "majority": "v",
    "neutral": "P",
}
"""Role -> matplotlib marker, no two alike: colour is never the only difference."""

DASHES: dict[str, Any] = {
    "l2rw": "-",
    "baseline": (0, (5, 2)),
    "clean": (0, (1, 1.5)),
    "noisy": (0, (5, 1.5, 1, 1.5)),
    "minority": (0, (8, 2)),
    "majority": (0, (3, 1.5, 1, 1.5, 1, 1.5)),
    "neutral": (0, (2, 2)),
}
"""Role -> matplotlib line style, no two alike."""


def pen(role: str, marker: bool = False) -> dict[str, Any]:
    """Colour and dash of a role, with its marker if asked, for ``ax.plot(x, y, **pen("l2rw"))``."""
    return {"color": COLOURS[role], "linestyle": DASHES[role], **({"marker": MARKERS[role]} if marker else {})}


def dots(role: str) -> dict[str, Any]:
    """Colour and marker of a role without a line, for ``ax.plot(x, y, **dots("l2rw"))`` and ``ax.errorbar``."""
    return {"color": COLOURS[role], "marker": MARKERS[role], "linestyle": ""}


PALETTE: tuple[str, ...] = tuple(COLOURS.values())
"""The colours of `COLOURS` in order: what lines without a colour of their own take, one after the other."""

_USUAL_MARK = 6.0
"""Points across a mark."""
_FONT = 14.0
_RC: dict[str, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.labelsize": _FONT,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": _FONT,
    "axes.titleweight": "bold",
    "figure.dpi": 72.0,
    "figure.facecolor": "none",
    "figure.labelsize": _FONT,
    "figure.titlesize": _FONT + 1,
    "font.size": _FONT,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "grid.linewidth": 0.8,
    "image.cmap": "cividis",
    "image.interpolation": "none",
    "legend.columnspacing": 1.0,
    "legend.fontsize": _FONT,
    "legend.frameon": False,
    "legend.handlelength": 1.7,
    "legend.handletextpad": 0.5,
    "legend.labelcolor": INK,
    "lines.linewidth": 2.0,
    "lines.markersize": _USUAL_MARK,
    "lines.solid_capstyle": "butt",
    "patch.edgecolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "l2rw",
    "svg.image_inline": True,
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": INK,
    "xtick.labelsize": _FONT,
    "ytick.color": INK,
    "ytick.labelsize": _FONT,
}

_PAGE_BACKGROUND = "var(--pst-color-background, var(--jp-layout-color0, Canvas))"
_THEME_COLOURS = {
    INK: "currentColor",
    "#000000": "currentColor",
    "black": "currentColor",
    PAPER: _PAGE_BACKGROUND,
    "#ffffff": _PAGE_BACKGROUND,
    "white": _PAGE_BACKGROUND,
}
# A caption carries numbers: themes that set captions thin and centred make it hard to read.
_CAPTION_STYLE = "font-weight:400;line-height:1.4;text-align:left"


def house() -> AbstractContextManager[None]:
    """Return a context in which matplotlib draws in house style: `with house(): ...`.

    `figure` and the methods of what it returns apply it by themselves; only artists built by hand need it.
    """
    return mpl.rc_context(_RC)


def _in_house(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with house():
            return method(*args, **kwargs)

    return call


def _styled(base: type, methods: str) -> type:
    """Subclass `base` so that the named methods read the house rcParams, also when called long after `figure`."""
    return type(f"House{base.__name__}", (base,), {name: _in_house(getattr(base, name)) for name in methods.split()})


class _HouseAxes(
    _styled(
        Axes,
        "annotate axhline axhspan axvline axvspan bar barh boxplot contour errorbar fill_between hist hlines imshow "
        "legend pcolormesh plot scatter set_title stackplot step text violinplot vlines",
    )
):
    def legend(self, *args: Any, **kwargs: Any) -> Legend:
        return _with_marks_to_see(super().legend(*args, **kwargs))

    def imshow(self, *args: Any, **kwargs: Any) -> AxesImage:
        self.grid(False)
        return super().imshow(*args, **kwargs)

    def pcolormesh(self, *args: Any, **kwargs: Any) -> QuadMesh:
        self.grid(False)
        return super().pcolormesh(*args, **kwargs)


class _HouseFigure(_styled(Figure, "add_subplot colorbar legend subplots suptitle supxlabel supylabel text")):
    def legend(self, *args: Any, **kwargs: Any) -> Legend:
        """In as many columns as are asked for, or as fit the width of the figure, which grows by the rows that adds."""
        legend = super().legend(*args, **kwargs)
        most = kwargs.get("ncols", 1)
        for columns in range(most - 1, 0, -1):
            if legend.get_window_extent().width <= _FULL * self.bbox.width:
                break
            legend.remove()
            legend = super().legend(*args, **{**kwargs, "ncols": columns})
            names = len(legend.get_texts())
            added = math.ceil(names / columns) - math.ceil(names / (columns + 1))
            self.set_figheight(self.get_figheight() + added * _ROW)
        return _with_marks_to_see(legend)


def _with_marks_to_see(legend: Legend) -> Legend:
    """Marks of a legend can be told apart where those of the figure are small; of the usual size they are the same."""
    for mark in legend.legend_handles:
        if isinstance(mark, PathCollection) and max(mark.get_sizes()) < _USUAL_MARK**2:
            mark.set_sizes([_MARK**2])
        elif isinstance(mark, Line2D) and mark.get_markersize() < _USUAL_MARK:
            mark.set_markersize(_MARK)
    return legend


class _Thousands(ScalarFormatter):
    """Tick labels as matplotlib has them, with commas between thousands."""

    def __call__(self, value: float, position: int | None = None) -> str:
        label = super().__call__(value, position)
        return f"{value:,.0f}" if label.isdigit() and len(label) > 3 else label


_MARK = 7.0
"""Points across a mark of a legend whose figure has smaller ones."""
_ROW = 0.3
"""Inches of a row of a legend."""
_FULL = 0.96
"""Of the width of a figure, what a legend may take: a browser's letters are a little wider than those measured here."""


def ink_on(fill: Any) -> str:
    """Black or white, whichever differs more from the fill, at least 4.5 to 1, in both themes of a page."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(fill)]
    luminance = sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#010101" if luminance > 0.179 else "#fefefe"  # pure ones would follow the theme


def figure(width: float = 5.8, height: float = 3.6, ncols: int = 1, nrows: int = 1, **kw: Any) -> tuple[Figure, Any]:
    """Return an empty figure in house style and its axes, outside pyplot's global state.

    Args:
        width, height: inches. On a page the figure is as wide as its column, at most 86 pixels an inch, so that text is
            17 pixels high. At the default width it fits a phone with text of 12 pixels; no text gets smaller, so that a
            wider figure scrolls there: prefer more rows.
        ncols, nrows: the grid of axes.
        **kw: passed to `Figure.subplots` (`sharex`, `width_ratios`, ...).

    Returns:
        The figure, and what `Figure.subplots` gives: one `Axes`, or an array of them of shape [nrows, ncols] without
        the dimensions of size 1.
    """
    subplot_kw = {"axes_class": _HouseAxes, **kw.pop("subplot_kw", {})}
    with house():
        fig = _HouseFigure(figsize=(width, height), layout="constrained")
        return fig, fig.subplots(nrows, ncols, subplot_kw=subplot_kw, **kw)


def to_svg(fig: Figure, alt: str) -> str:
    """Return `fig` as one standalone `<svg>` element for use inside an HTML page.

    The same figure and alt always give the same text, and ids that no other figure of the page has. Black is ink
    (`currentColor`) and white is the page's background, so a greyscale belongs in `imshow`, whose pixels stay as they
    are. The element is as wide as its column, up to its natural size.

    Args:
        fig: any matplotlib figure, best one made by `figure`.
        alt: a sentence that says what is to be seen, for readers who do not see it.

    Raises:
        ValueError: `alt` is empty.

    Warns:
        UserWarning: the limits of an axis cut off a marker or a bar, which a reader could not know.
    """
    return _checked_svg(fig, alt)


@dataclass(frozen=True)
class Drawing:
    """A figure ready for a page: what `show` returns, and what the `draw` of an `explore` returns.

    Attributes:
        svg: one `<svg>` element, as `to_svg` makes it.
        alt: the sentence that stands for the picture where it cannot be shown.
        caption: plain text under the picture; may be empty.
    """

    svg: str
    alt: str
    caption: str = ""

    @property
    def html(self) -> str:
        """The picture and its caption as one `<figure class="l2rw-figure">`."""
        text = html.escape(self.caption)
        caption = f'<figcaption style="{_CAPTION_STYLE}">{text}</figcaption>' if text else ""
        return f'<figure class="l2rw-figure" style="margin:0.5rem 0;overflow-x:auto">{self.svg}{caption}</figure>'

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"[Figure: {self.alt}]"


def as_sentence(words: str) -> str:
    """Words that begin with a capital letter and end with a full stop."""
    return f"{words[:1].upper()}{words[1:]}."


def show(fig: Figure, alt: str, caption: str = "") -> Drawing:
    """Return `fig` as a `Drawing`, which a notebook shows when it is the last value of a cell.

    Args:
        fig: any matplotlib figure, best one made by `figure`.
        alt: a sentence that says what is to be seen.
        caption: plain text under the picture.

    Numbers in both are typeset, as those in the picture are.

    Raises:
        ValueError: `alt` is empty.

    Warns:
        UserWarning: the limits of an axis cut off a marker or a bar.
    """
    alt, caption = typeset(alt), typeset(caption)
    return Drawing(_checked_svg(fig, alt), alt, caption)


def _checked_svg(fig: Figure, alt: str) -> str:
    if not alt.strip():
        raise ValueError("a figure needs alt text: one sentence that says what is to be seen in it")
    warn_of_hidden(fig, stacklevel=3)
    for axis in (axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)):
        if type(axis.get_major_formatter()) is ScalarFormatter:
            axis.set_major_formatter(_Thousands())
    return for_page(_rendered(fig), alt, _THEME_COLOURS)


def _rendered(fig: Figure) -> bytes:
    buffer = io.BytesIO()
    with house():
        fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()
