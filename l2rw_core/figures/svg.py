"""From matplotlib's SVG to an element of a page: its theme, ids of its own, and few bytes."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from xml.etree import ElementTree

from l2rw_core.figures.svg_path import as_circle, shortened
from l2rw_core.numerals import typeset

PIXELS_PER_POINT = 1.2
"""How large a figure is shown at most."""
SMALLEST_TEXT = 12.0
"""Pixels that text is high at least, on a phone too."""

_NAMESPACE = "http://www.w3.org/2000/svg"
_LENGTHS = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height")
# A tenth of a point on the page is below what a screen shows; a marker is drawn once, and may be drawn enlarged.
_DECIMALS, _MARKER_DECIMALS = 1, 2
_FEWEST_MARKERS = 8
_PAIR = r"-?[\d.]+(?: |(?=-))-?[\d.]+"
_SEGMENTS = re.compile(f"(?:[Mm]{_PAIR}l{_PAIR})+")
_DEFAULTS = {("fill", "currentColor"), ("stroke-dashoffset", "0")}


def for_page(source: bytes, alt: str, colours: Mapping[str, str]) -> str:
    """Return what matplotlib wrote as one `<svg>` element for use inside an HTML page.

    Args:
        drawn: an SVG file by matplotlib, with text as text.
        alt: what is to be seen; becomes the element's label.
        colours: names of colours as matplotlib writes them, and what stands for them on a page.
    """
    root = ElementTree.fromstring(source)
    _drop_leaking_parts(root)
    for element in root.iter():
        _draw_circle(element)
        _tidy(element, colours)
    _set_root(root, alt)
    _drop_repeated_style(root)
    _rename_ids(root)
    _flatten(root)
    _share_style(root)
    _string_markers(root)
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _drop_leaking_parts(root: ElementTree.Element) -> None:
    """Remove metadata, and the style sheet: inside a page its `*` rule would apply to the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)


def _draw_circle(element: ElementTree.Element) -> None:
    """Say `circle` for a path that is one: a number for its size instead of eight curves."""
    circle = as_circle(element.attrib["d"]) if _local(element.tag) == "path" and "d" in element.attrib else None
    if circle is None:
        return
    element.tag = "circle"
    del element.attrib["d"]
    element.set("r", _number(circle.r, _MARKER_DECIMALS))
    if round(circle.x, _DECIMALS) or round(circle.y, _DECIMALS):
        element.attrib.update(cx=str(circle.x), cy=str(circle.y))


def _tidy(element: ElementTree.Element, colours: Mapping[str, str]) -> None:
    """Shorten one element in place and give it the page's colours."""
    element.tag = _local(element.tag)
    element.tail = None
    if not (element.text or "").strip() and element.tag != "tspan":
        element.text = None
    if element.text:
        element.text = typeset(element.text)
    decimals = _MARKER_DECIMALS if "id" in element.attrib else _DECIMALS
    attributes = {_local(n): _short(_local(n), value, decimals, colours) for n, value in element.attrib.items()}
    if _SEGMENTS.fullmatch(attributes.get("d", "")):  # single lines have no inside to fill
        attributes["style"] = attributes.get("style", "").replace("fill:none;", "")
    element.attrib.clear()
    element.attrib.update({name: value for name, value in attributes.items() if value})


def _short(name: str, value: str, decimals: int, colours: Mapping[str, str]) -> str:
    if name == "d":
        return shortened(value, decimals)
    if name == "style":
        return _page_style(value, colours)
    if name in ("fill", "stroke"):
        return colours.get(value, value)
    if name == "href":
        return re.sub(r"\s+", "", value)
    if name == "transform":
        return _short_transform(value)
    return _rounded(value, _DECIMALS) if name in _LENGTHS else value


def _short_transform(value: str) -> str:
    """Round lengths and angles; scales keep their decimals, and a turn by nothing goes."""
    value = re.sub(r"(?:translate|rotate)\([^)]*\)", lambda part: _rounded(part[0], 2), value)
    return re.sub(r"\s*rotate\(-?0(?: [^)]*)?\)", "", value).strip()


def _rounded(numbers: str, decimals: int) -> str:
    return re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda number: _number(float(number[0]), decimals), numbers)


def _number(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _page_style(style: str, colours: Mapping[str, str]) -> str:
    """Return inline style without font families, which the page gives, and in the page's colours."""
    style = re.sub(r"\bfont:\s*((?:\w+ )*)([\d.]+px)[^;]*", r"font-size: \2", style)
    properties = {name: value for name, value in _properties(style).items() if name != "font-family"}
    themed = {name: colours.get(value, value) for name, value in properties.items()}
    return _written({name: value for name, value in themed.items() if (name, value) not in _DEFAULTS})


def _properties(style: str) -> dict[str, str]:
    pairs = (part.partition(":")[::2] for part in style.split(";") if part.strip())
    return {name.strip(): value.strip() for name, value in pairs}


def _written(properties: Mapping[str, str]) -> str:
    return ";".join(f"{name}:{value}" for name, value in properties.items())


def _drop_repeated_style(root: ElementTree.Element) -> None:
    """A marker that sets a colour itself keeps it wherever it is used."""
    own = {f"#{e.attrib['id']}": _properties(e.get("style", "")) for e in root.iter() if "id" in e.attrib}
    for use in root.iter("use"):
        set_by_marker = own.get(use.get("href", ""), {})
        properties = {n: v for n, v in _properties(use.get("style", "")).items() if n not in set_by_marker}
        use.attrib.pop("style", None)
        if properties:
            use.set("style", _written(properties))


def _set_root(root: ElementTree.Element, alt: str) -> None:
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib.clear()
    root.attrib.update(
        {
            "xmlns": _NAMESPACE,
            "role": "img",
            "aria-label": alt.strip(),
            "viewBox": f"0 0 {width} {height}",
            "width": "100%",
            "style": f"min-width:{_least_width(root, float(width)):.0f}px;"
            f"max-width:{float(width) * PIXELS_PER_POINT:.0f}px;height:auto",
            "font-family": "system-ui, sans-serif",
            "fill": "currentColor",
            "stroke-linejoin": "round",
        }
    )


def _least_width(root: ElementTree.Element, width: float) -> float:
    """Pixels below which the smallest text would be smaller than `SMALLEST_TEXT`; a narrower page scrolls there."""
    sizes = [_properties(text.get("style", "")).get("font-size", "") for text in root.iter("text")]
    points = [float(size.removesuffix("px")) for size in sizes if size]
    return width * SMALLEST_TEXT / min(points) if points else 0


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
    return re.sub(r"(^|url\()#([\w.-]+)", lambda match: f"{match[1]}#{names.get(match[2], match[2])}", value)


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
    parent[:] = _joined(parent, _clip_path, "clip-path")
    for child in parent:
        _share_style(child)
    parent[:] = _joined(parent, _style, "style")


def _joined(
    elements: Iterable[ElementTree.Element], key: Callable[[ElementTree.Element], str | None], attribute: str
) -> list[ElementTree.Element]:
    result: list[ElementTree.Element] = []
    for shared, group in itertools.groupby(elements, key):
        run = list(group)
        result.extend([_join(run, attribute)] if shared and len(run) > 1 else run)
    return result


def _join(run: list[ElementTree.Element], attribute: str) -> ElementTree.Element:
    """Return one group with an attribute that the run's elements have in common, and have no longer."""
    group = ElementTree.Element("g", {attribute: run[0].attrib[attribute]})
    for element in run:
        del element.attrib[attribute]
        group.extend(element if element.tag == "g" and not element.attrib else [element])
    return group


def _clip_path(element: ElementTree.Element) -> str | None:
    """The clip path, which lies where the element lies: a transform moves both."""
    return None if "transform" in element.attrib else element.get("clip-path")


def _style(element: ElementTree.Element) -> str | None:
    """The style of a shape that its neighbours may inherit; opacity of a group is not that of its parts."""
    style = element.get("style", "")
    inherits = element.tag in ("circle", "path", "use", "text") and not re.search(r"(?:^|;)opacity:", style)
    return element.tag + style if inherits and style else None


def _string_markers(root: ElementTree.Element) -> None:
    """Draw many equal marks as markers of one invisible line through their places: two numbers each."""
    numbers = itertools.count()
    for group in list(root.iter("g")):
        uses = {frozenset(child.attrib) for child in group} == {frozenset(("href", "x", "y"))}
        if "style" not in group.attrib or not uses:
            continue
        runs = [(href, list(run)) for href, run in itertools.groupby(group, lambda use: use.attrib["href"])]
        group[:] = [
            element
            for href, run in runs
            for element in (_strung(href, run, group.attrib["style"], numbers) if len(run) >= _FEWEST_MARKERS else run)
        ]


def _strung(href: str, run: list[ElementTree.Element], style: str, numbers: Iterator[int]) -> list[ElementTree.Element]:
    name = f"{href[1:]}m{next(numbers)}"
    marker = ElementTree.Element("marker", {"id": name, "markerUnits": "userSpaceOnUse", "style": "overflow:visible"})
    ElementTree.SubElement(marker, "use", {"href": href, "style": style})
    places = "L".join(f"{use.attrib['x']} {use.attrib['y']}" for use in run)
    line = {"d": shortened(f"M{places}", _DECIMALS), "style": f"fill:none;stroke:none;marker:url(#{name})"}
    return [marker, ElementTree.Element("path", line)]
