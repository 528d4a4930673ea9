"""What a page loads and has no use for, taken out: icons drawn by a script, rules for what is nowhere, repetitions.

A Sphinx extension, which `build_book.py` adds to the book's settings. The theme serves every kind of site: it brings
1.5 MB of script for a dozen icons, a font of 1,400 icons, and style for components that this book does not have.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

from fontTools import subset
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

ICON_SCRIPT = "scripts/fontawesome.js"
ICON_FONTS = "vendor/fontawesome/webfonts"
# What these hold are rules; what other at-rules hold is kept as it is.
OF_RULES = ("@media", "@supports", "@container", "@layer")
# Style, and a script that sets up all that a page has of its kind, as it runs once the page is there.
OWN = re.compile(r'<style>.*?</style>|<script type="module">.*?</script>', re.DOTALL)
WORD = re.compile(r"[\w-]+")
ICON = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"\\([0-9a-f]+)')
# Sources of what is minified beside them, and forms of fonts for browsers that have long gone.
UNUSED = ("*.map", f"{ICON_FONTS}/*.ttf", ICON_SCRIPT, f"{ICON_SCRIPT}.LICENSE.txt")


def light_page(text: str) -> str:
    """The HTML of a page without the script that draws icons: their font does; and what outputs repeat, once.

    In a notebook each output brings its own style and script, since it may be the only one.
    """
    text = re.sub(rf'\s*<script defer src="[^"]*{re.escape(ICON_SCRIPT)}(?:\?[^"]*)?"></script>', "", text)
    seen: set[str] = set()

    def once(found: re.Match[str]) -> str:
        again = found[0] in seen
        seen.add(found[0])
        return "" if again else found[0]

    return OWN.sub(once, text)


def used_rules(css: str, words: Container[str]) -> str:
    """The style sheet without the selectors that ask for a class that is not among the words of any page or script."""
    return "".join(_used(css, words))


def _used(css: str, words: Container[str]) -> Iterator[str]:
    for head, body in _blocks(css):
        if body is None:
            yield head
        elif head.lstrip().startswith(OF_RULES):
            if inner := used_rules(body, words):
                yield f"{head}{{{inner}}}"
        elif head.lstrip().startswith("@"):
            yield f"{head}{{{body}}}"
        elif kept := [selector for selector in _selectors(head) if _may_match(selector, words)]:
            yield f"{','.join(kept)}{{{body}}}"


def _blocks(css: str) -> Iterator[tuple[str, str | None]]:
    """Each statement as what stands before its braces and what stands in them, None for one without."""
    css = re.sub(r"/\*(?!!).*?\*/", "", css, flags=re.DOTALL)
    start = opened = depth = 0
    for mark in re.finditer(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|/\*.*?\*/|url\([^"\')]*\)|[{};]', css, re.DOTALL):
        if mark[0] == "{":
            opened = opened if depth else mark.start()
            depth += 1
        elif mark[0] == "}":
            depth -= 1
            if depth == 0:
                yield css[start:opened], css[opened + 1 : mark.start()]
                start = mark.end()
        elif depth == 0 and (mark[0] == ";" or mark[0].startswith("/*")):  # a licence is no part of a selector
            yield css[start : mark.end()], None
            start = mark.end()
    if depth:
        raise ExtensionError(f"a style sheet has a block that does not end: {css[opened : opened + 80]!r}")
    yield css[start:], None


def _selectors(head: str) -> list[str]:
    parts, depth = [""], 0
    for character in head:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _may_match(selector: str, words: Container[str]) -> bool:
    """Whether all classes are known that an element must have; what stands in parentheses may be a choice."""
    while (bare := re.sub(r"\([^()]*\)|\[[^\]]*\]", "", selector)) != selector:
        selector = bare
    classes = re.findall(r"\.((?:[\w-]|\\.)+)", selector)
    return all(name.replace("\\", "") in words or "\\" in name for name in classes)


def icons_in(css: str, words: Container[str]) -> set[int]:
    """Code points of the icons that are asked for by name."""
    found = {int(code, 16): re.findall(r"\.(fa-[\w-]+):before", names) for names, code in ICON.findall(css)}
    return {code for code, names in found.items() if any(name in words for name in names)}


def with_glyphs(font: Path, codes: Iterable[int]) -> None:
    """Leave these characters in a font, and no others."""
    options = subset.Options(flavor="woff2", hinting=False)
    with subset.load_font(font, options, lazy=False) as opened:
        chosen = subset.Subsetter(options)
        chosen.populate(unicodes=codes)
        chosen.subset(opened)
        subset.save_font(opened, font, options)


def lighten(app: Sphinx, failure: Exception | None) -> None:
    """Take out of the finished pages, and of what lies beside them, whatever none of them uses."""
    if failure is not None or app.builder.format != "html":
        return
    out, static = Path(app.outdir), Path(app.outdir, "_static")
    words: set[str] = set()
    for file in sorted(path for path in out.rglob("*.html") if static not in path.parents):
        written = file.read_text(encoding="utf-8")
        text = light_page(written)
        words.update(WORD.findall(text))
        if text != written:
            file.write_text(text, encoding="utf-8")
    for pattern in UNUSED:
        for file in static.rglob(pattern) if pattern.startswith("*") else static.glob(pattern):
            file.unlink()
    words.update(word for file in static.rglob("*.js") for word in WORD.findall(file.read_text(encoding="utf-8")))
    sheets = {file: file.read_text(encoding="utf-8") for file in static.rglob("*.css")}
    codes = set().union(*(icons_in(css, words) for css in sheets.values()))
    for font in (static / ICON_FONTS).glob("*.woff2"):
        with_glyphs(font, codes)
    for file, css in sheets.items():
        file.write_text(used_rules(css, words), encoding="utf-8")


logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells each table of each font


def setup(app: Sphinx) -> dict[str, Any]:
    """Lighten the pages when they are done."""
    app.connect("build-finished", lighten, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
