"""What a page refers to becomes a link: chapters by number, the paper's equations, and terms of the glossary.

A Sphinx extension, which `build_book.py` adds to the book's settings. Authors write ``{doc}`02_method```, ``(7)`` and
plain words; here they turn into "chapter 2 (From a nested loop to one step)" and links, once a page is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

TAG = re.compile(r"\\tag\{(\d+)\}")
MENTION = re.compile(r"(?<!\w)\((\d{1,2})\)")
SENTENCE_ENDS = re.compile(r"(?:^|[.!?:]\s+|\n)$")
GLOSSARY = "reference/glossary"
# Words that mean other things as well: a link at their first use would often explain what is not meant.
ORDINARY = frozenset({"grid", "profile", "record", "scale"})
# In these a link would be a fault, or out of place: names of things, and what is printed or typeset.
UNTOUCHED = (
    nodes.title,
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.term,
    nodes.caption,
    nodes.citation,
)


@dataclass(frozen=True)
class Span:
    """A stretch of a text that becomes a link."""

    start: int
    end: int
    address: str
    hint: str
    kind: str
    """Class of the link, for the book's style sheet."""


def open_texts(document: nodes.Element) -> list[nodes.Text]:
    """Running text of a page in reading order, without headings, code, formulas and links."""
    return [text for text in document.findall(nodes.Text) if not _within(text, UNTOUCHED)]


def _within(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> bool:
    parent = node.parent
    while parent is not None:
        if isinstance(parent, kinds):
            return True
        parent = parent.parent
    return False


def link_up(text: nodes.Text, spans: Iterable[Span]) -> None:
    """Replace stretches of a text by links; stretches that overlap an earlier one are left."""
    plain, done = text.astext(), 0
    pieces: list[nodes.Node] = []
    for span in sorted(spans, key=lambda span: span.start):
        if span.start < done:
            continue
        pieces += [nodes.Text(plain[done : span.start])] if span.start > done else []
        link = nodes.reference("", plain[span.start : span.end], internal=True, refuri=span.address)
        link["classes"].append(span.kind)
        if span.hint:
            link["reftitle"] = span.hint
        pieces.append(link)
        done = span.end
    if pieces:
        rest = [nodes.Text(plain[done:])] if plain[done:] else []
        text.parent.replace(text, [*pieces, *rest])


# --- chapters --------------------------------------------------------------------------------------------------------


def chapter_number(env: BuildEnvironment, document: str) -> int | None:
    """Number of a chapter in the table of contents; None for a page that bears none."""
    number = env.toc_secnumbers.get(document, {}).get("")
    return number[0] if number else None


def name_chapters(env: BuildEnvironment, document: nodes.document, page: str) -> None:
    """Links to chapters say their number, and their title too where a page names them first."""
    named: set[str] = set()
    for inner in document.findall(lambda n: isinstance(n, nodes.inline) and "doc" in n["classes"]):
        target = _document_of(env, page, inner.parent)
        if target is None or (number := chapter_number(env, target)) is None:
            continue
        title = env.titles[target].astext()
        if inner.astext() != title:  # the author's own words
            continue
        before = text_before(inner.parent)
        word = "Chapter" if SENTENCE_ENDS.search(before) else "chapter"
        inner.children = [nodes.Text(f"{word} {number}")]
        inner.parent["reftitle"] = title
        if target not in named and "(" not in before.rsplit(")")[-1]:
            parent = inner.parent.parent
            parent.insert(parent.index(inner.parent) + 1, nodes.Text(f" ({title})"))
        named.add(target)


def _document_of(env: BuildEnvironment, page: str, link: nodes.Node | None) -> str | None:
    if not isinstance(link, nodes.reference) or "refuri" not in link:
        return None
    address = link["refuri"].split("#")[0].removesuffix(".html")
    parts: list[str] = page.split("/")[:-1]
    for part in address.split("/"):
        parts = parts[:-1] if part == ".." else [*parts, part]
    name = "/".join(parts)
    return name if name in env.found_docs else None


def text_before(node: nodes.Node) -> str:
    """What its paragraph says before a node."""
    siblings = node.parent.children
    return "".join(sibling.astext() for sibling in siblings[: siblings.index(node)])


# --- equations -------------------------------------------------------------------------------------------------------


def tagged_equations(root: Path, documents: Iterable[str]) -> dict[int, str]:
    """Number of an equation, as the paper has it -> the document that sets it."""
    places: dict[int, str] = {}
    for name in sorted(documents):
        source = next((file for end in (".ipynb", ".md") if (file := root / f"{name}{end}").is_file()), None)
        written = source.read_text(encoding="utf-8").replace("\\\\", "\\") if source else ""
        for number in map(int, TAG.findall(written)):
            places.setdefault(number, name)
    return places


def anchor_equations(app: Sphinx, document: nodes.document) -> None:
    """Give every numbered formula of a page an address: ``#equation-7``."""
    del app
    for formula in list(document.findall(nodes.math_block)):
        for number in TAG.findall(formula.astext()):
            place = formula.parent
            place.insert(place.index(formula), nodes.target("", "", ids=[f"equation-{number}"]))


def equation_spans(text: str, places: dict[int, str], address_of: dict[str, str]) -> Iterator[Span]:
    """Mentions such as ``(7)`` of equations that the book sets."""
    for found in MENTION.finditer(text):
        number = int(found[1])
        if number in places:
            address = f"{address_of[places[number]]}#equation-{number}"
            yield Span(found.start(), found.end(), address, f"Equation {number} of the paper", "l2rw-equation")


# --- terms -----------------------------------------------------------------------------------------------------------


def glossary_terms(env: BuildEnvironment) -> dict[str, str]:
    """Term of the glossary, in small letters -> its anchor on the glossary's page."""
    objects = env.get_domain("std").data["objects"].items()
    return {
        name.lower(): anchor
        for (kind, name), (document, anchor) in objects
        if kind == "term" and document == GLOSSARY and name.lower() not in ORDINARY
    }


def first_uses(texts: Iterable[str], terms: Iterable[str]) -> list[tuple[int, int, int, str]]:
    """Where each term is first used: position of the text, start, end, and the term; the longest term wins."""
    left = set(terms)
    found = []
    for at, text in enumerate(texts):
        taken: list[tuple[int, int]] = []
        for term in sorted(left, key=lambda term: (-len(term), term)):
            words = r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", term)))
            match = re.search(rf"(?<![\w-]){words}(?:s|es)?(?![\w-])", text, re.IGNORECASE)
            if match and not any(start < match.end() and match.start() < end for start, end in taken):
                taken.append(match.span())
                left.discard(term)
                found.append((at, *match.span(), term))
    return found


# --- pages -----------------------------------------------------------------------------------------------------------


def refer(app: Sphinx, document: nodes.document, page: str) -> None:
    """Turn what a page mentions into links, for HTML."""
    if app.builder.format != "html":
        return
    env = app.env
    name_chapters(env, document, page)
    places = tagged_equations(Path(app.srcdir), env.found_docs)
    address_of = {place: "" if place == page else app.builder.get_relative_uri(page, place) for place in env.found_docs}
    texts = open_texts(document)
    spans = {at: list(equation_spans(text.astext(), places, address_of)) for at, text in enumerate(texts)}
    if chapter_number(env, page) is not None:
        terms = glossary_terms(env)
        for at, start, end, term in first_uses((text.astext() for text in texts), terms):
            address = f"{address_of[GLOSSARY]}#{terms[term]}"
            spans[at].append(Span(start, end, address, "In the glossary", "l2rw-term"))
    for at, text in enumerate(texts):
        link_up(text, spans[at])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks."""
    app.connect("doctree-read", anchor_equations)
    app.connect("doctree-resolved", refer, priority=800)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
