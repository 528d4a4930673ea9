"""House style: matplotlib figures shown as small inline SVG that follows the page's light or dark theme.

A figure is built with `figure`, drawn on with matplotlib's own methods, and handed to `show`:

    fig, ax = figure()
    ax.plot(steps, accuracy, color=COLOURS["l2rw"], marker=MARKERS["l2rw"], linestyle=DASHES["l2rw"])
    show(fig, alt="Accuracy rises from 60% to 95% within 500 steps.", caption="One run, seed 0.")

Text, axes and grid take the colour of the surrounding text, so a page can switch its theme without new figures.
"""

from __future__ import annotations

import functools
import hashlib
import html
import io
import itertools
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

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

PALETTE: tuple[str, ...] = tuple(COLOURS.values())
"""The colours of `COLOURS` in order: what lines without a colour of their own take, one after the other."""

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
    "figure.titlesize": _FONT + 1,
    "font.size": _FONT,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "grid.linewidth": 0.8,
    "image.cmap": "cividis",
    "image.interpolation": "none",
    "legend.fontsize": _FONT - 1,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "patch.edgecolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "l2rw",
    "svg.image_inline": True,
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": INK,
    "xtick.labelsize": _FONT - 1,
    "ytick.color": INK,
    "ytick.labelsize": _FONT - 1,
}

_PIXELS_PER_POINT = 1.15
_SVG_NAMESPACE = "http://www.w3.org/2000/svg"
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
_LENGTHS = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height")


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
        "legend plot scatter set_title stackplot step text violinplot vlines",
    )
):
    def imshow(self, *args: Any, **kwargs: Any) -> AxesImage:
        self.grid(False)
        return super().imshow(*args, **kwargs)


_HouseFigure = _styled(Figure, "add_subplot colorbar legend subplots suptitle supxlabel supylabel text")


def figure(width: float = 6.4, height: float = 3.6, ncols: int = 1, nrows: int = 1, **kw: Any) -> tuple[Figure, Any]:
    """Return an empty figure in house style and its axes, outside pyplot's global state.

    Args:
        width, height: inches. On a page the figure is as wide as its column, at most 83 pixels an inch. Text is 15 to
            16 pixels high there, and about 9 on a phone at the default width: prefer more rows to a wider figure.
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
    """
    if not alt.strip():
        raise ValueError("a figure needs alt text: one sentence that says what is to be seen in it")
    root = ElementTree.fromstring(_rendered(fig))
    _drop_leaking_parts(root)
    for element in root.iter():
        _tidy(element)
    _set_root(root, alt)
    _rename_ids(root)
    _flatten(root)
    _share_style(root)
    return ElementTree.tostring(root, encoding="unicode")


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
        return f'<figure class="l2rw-figure" style="margin:0.5rem 0">{self.svg}{caption}</figure>'

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"[Figure: {self.alt}]"


def show(fig: Figure, alt: str, caption: str = "") -> Drawing:
    """Return `fig` as a `Drawing`, which a notebook shows when it is the last value of a cell.

    Args:
        fig: any matplotlib figure, best one made by `figure`.
        alt: a sentence that says what is to be seen.
        caption: plain text under the picture.

    Raises:
        ValueError: `alt` is empty.
    """
    return Drawing(to_svg(fig, alt), alt, caption)


def _rendered(fig: Figure) -> bytes:
    buffer = io.BytesIO()
    with house():
        fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _drop_leaking_parts(root: ElementTree.Element) -> None:
    """Remove metadata, and the style sheet: inside a page its `*` rule would apply to the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)


def _tidy(element: ElementTree.Element) -> None:
    """Shorten one element in place and give it the page's colours."""
    element.tag = _local(element.tag)
    element.tail = None
    if not (element.text or "").strip() and element.tag != "tspan":
        element.text = None
    attributes = {_local(name): _short(_local(name), value) for name, value in element.attrib.items()}
    element.attrib.clear()
    element.attrib.update({name: value for name, value in attributes.items() if value})


def _short(name: str, value: str) -> str:
    if name == "d":
        return re.sub(r"\s*([A-Za-z])\s*", r"\1", _rounded(value)).strip()
    if name == "style":
        return _page_style(value)
    if name in ("fill", "stroke"):
        return _THEME_COLOURS.get(value, value)
    if name == "href":
        return re.sub(r"\s+", "", value)
    if name == "transform":
        return _short_transform(value)
    return _rounded(value) if name in _LENGTHS else value


def _short_transform(value: str) -> str:
    """Round lengths and angles; scales keep their decimals, and a turn by nothing goes."""
    value = re.sub(r"(?:translate|rotate)\([^)]*\)", lambda part: _rounded(part[0]), value)
    return re.sub(r"\s*rotate\(-?0(?: [^)]*)?\)", "", value).strip()


def _rounded(numbers: str) -> str:
    """Round every number to 2 decimals: a hundredth of a point is below what a screen shows."""
    return re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda number: _two_decimals(float(number[0])), numbers)


def _two_decimals(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _page_style(style: str) -> str:
    """Return inline style without font families, which the page gives, and in the page's colours."""
    style = re.sub(r"\bfont:\s*((?:\w+ )*)([\d.]+px)[^;]*", r"font-size: \2", style)
    pairs = (part.partition(":")[::2] for part in style.split(";") if part.strip())
    kept = {name.strip(): value.strip() for name, value in pairs if name.strip() != "font-family"}
    themed = {name: _THEME_COLOURS.get(value, value) for name, value in kept.items()}
    return ";".join(f"{name}:{value}" for name, value in themed.items() if (name, value) != ("fill", "currentColor"))


def _set_root(root: ElementTree.Element, alt: str) -> None:
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib.clear()
    root.attrib.update(
        {
            "xmlns": _SVG_NAMESPACE,
            "role": "img",
            "aria-label": alt.strip(),
            "viewBox": f"0 0 {width} {height}",
            "width": "100%",
            "style": f"max-width:{float(width) * _PIXELS_PER_POINT:.0f}px;height:auto",
            "font-family": "system-ui, sans-serif",
            "fill": "currentColor",
            "stroke-linejoin": "round",
        }
    )


def _rename_ids(root: ElementTree.Element) -> None:
    """Keep only the ids that something refers to, under names derived from the whole picture and its alt text."""
    content = ElementTree.tostring(root, encoding="unicode")
    used = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^)"]+)', content))
    prefix = "f" + hashlib.sha256(content.encode()).hexdigest()[:8]
    names = {old: f"{prefix}-{number}" for number, old in enumerate(used)}
    for element in root.iter():
        element.attrib.update({name: _renamed(value, names) for name, value in element.attrib.items() if "#" in value})
        identity = names.get(element.attrib.pop("id", ""))
        if identity:
            element.set("id", identity)


def _renamed(value: str, names: dict[str, str]) -> str:
    return re.sub(r"(^|url\()#([\w.-]+)", lambda found: f"{found[1]}#{names.get(found[2], found[2])}", value)


def _flatten(parent: ElementTree.Element) -> None:
    """Dissolve groups that carry no attribute, and drop what draws nothing."""
    children: list[ElementTree.Element] = []
    for child in parent:
        _flatten(child)
        if child.tag == "g" and not child.attrib:
            children.extend(child)
        elif not _draws_nothing(child):
            children.append(child)
    parent[:] = children


def _draws_nothing(element: ElementTree.Element) -> bool:
    unpainted = element.tag == "path" and element.get("style") == "fill:none" and "id" not in element.attrib
    return unpainted or (element.tag in ("defs", "g") and not len(element))


def _share_style(parent: ElementTree.Element) -> None:
    """Write a clip path or a style once for a run of neighbours that all repeat it."""
    parent[:] = _joined(parent, key=_clip_path)
    for child in parent:
        _share_style(child)
    parent[:] = _joined(parent, key=_style)


def _joined(
    elements: Iterable[ElementTree.Element], key: Callable[[ElementTree.Element], str | None]
) -> list[ElementTree.Element]:
    result: list[ElementTree.Element] = []
    for shared, group in itertools.groupby(elements, key):
        run = list(group)
        result.extend([_join(run)] if shared and len(run) > 1 else run)
    return result


def _join(run: list[ElementTree.Element]) -> ElementTree.Element:
    """Return one group: of what the groups of a run hold, or of the run's elements without their common style."""
    group = ElementTree.Element("g")
    if run[0].tag == "g":
        group.attrib.update(run[0].attrib)
        group.extend(child for element in run for child in element)
    else:
        group.set("style", run[0].attrib["style"])
        group.extend(run)
        for element in run:
            del element.attrib["style"]
    return group


def _clip_path(element: ElementTree.Element) -> str | None:
    """The clip path of a group that does nothing else."""
    only_clips = element.tag == "g" and set(element.attrib) == {"clip-path"}
    return element.attrib["clip-path"] if only_clips else None


def _style(element: ElementTree.Element) -> str | None:
    """The style of a shape that its neighbours may inherit; opacity of a group is not that of its parts."""
    style = element.get("style", "")
    inherits = element.tag in ("path", "use", "text") and not re.search(r"(?:^|;)opacity:", style)
    return element.tag + style if inherits and style else None
