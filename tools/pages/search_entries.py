"""What the book's search finds: one entry a section, with its text, so that an excerpt needs no second page.

A Sphinx extension, which `build_book.py` adds to the book's settings. It writes `_static/search_entries.js`, which the
search page loads as a script: that works from a folder too, where a page may not read files.
`tools/pages/static/search.js` does the searching.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cross_references import TAG, chapter_number
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

SILENT = (nodes.title, nodes.literal_block, nodes.raw, nodes.comment, nodes.target, nodes.system_message)
"""What adds no words to a section: headings stand beside its text, and code, printed text and figures are not read."""


def sections(document: nodes.document) -> Iterator[tuple[str, list[str], str, list[int]]]:
    """Anchor, headings from the page's title down, own text, and numbered equations of each section of a page."""
    for section in document.findall(nodes.section):
        above = [section, *_sections_around(section)]
        headings = [title.astext() for one in reversed(above) if (title := one.next_node(nodes.title))]
        if not headings:
            continue
        text, equations = section_text(section)
        yield ("" if len(above) == 1 else section["ids"][0]), headings, text, equations
    for description in document.findall(addnodes.desc):
        signature = description.next_node(addnodes.desc_signature)
        if signature is not None and signature.get("ids"):
            name = signature["ids"][0].removeprefix("l2rw_core.")
            yield signature["ids"][0], [name], " ".join(words_of(description)), []


def _sections_around(node: nodes.Element) -> Iterator[nodes.section]:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, nodes.section):
            yield node


def section_text(section: nodes.section) -> tuple[str, list[int]]:
    """What a section says between its heading and its first subsection, and the equations that it numbers."""
    own = [child for child in section.children if not isinstance(child, nodes.section)]
    equations = [
        int(tag) for child in own for math in child.findall(nodes.math_block) for tag in TAG.findall(math.astext())
    ]
    return " ".join(word for child in own for word in words_of(child)), equations


def words_of(node: nodes.Node) -> Iterator[str]:
    """The running text of a node, piece by piece, each with single spaces."""
    if isinstance(node, (*SILENT, nodes.math_block, addnodes.index)):
        return
    if isinstance(node, nodes.TextElement):
        text = re.sub(r"\s+", " ", "".join(_plain(child) for child in node.children)).strip()
        if text:
            yield text
        return
    for child in node.children:
        yield from words_of(child)


def _plain(node: nodes.Node) -> str:
    if isinstance(node, nodes.math):
        return re.sub(r"\\[a-zA-Z]+|[{}\\]", "", node.astext())
    if isinstance(node, addnodes.pending_xref) and node.get("refdomain") == "cite":
        return ""
    if isinstance(node, (nodes.Text, nodes.literal)):
        return node.astext()
    return "".join(_plain(child) for child in node.children)


def spell_out_pages(app: Sphinx, document: nodes.document, page: str) -> None:
    """Put the titles of pages where a text mentions them, in place of their addresses."""
    for mention in document.findall(addnodes.pending_xref):
        if mention.get("reftype") == "doc" and not mention.get("refexplicit"):
            name, _ = app.env.relfn2path(mention["reftarget"], page)
            title = app.env.titles.get(name)
            mention.children = [nodes.Text(title.astext() if title else "")]


def entries(app: Sphinx) -> list[dict[str, Any]]:
    """All that can be found, page by page in the order of the book."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for page in sorted(app.env.found_docs):
        number = chapter_number(app.env, page)
        document = app.env.get_doctree(page)
        spell_out_pages(app, document, page)
        for anchor, headings, text, equations in sections(document):
            titles = [f"{number}. {headings[0]}", *headings[1:]] if number is not None else headings
            entry = {"page": page, "anchor": anchor, "titles": titles, "text": text, "equations": equations}
            found.setdefault((page, anchor), entry)
    return list(found.values())


def write_entries(app: Sphinx, failure: Exception | None) -> None:
    """Write what the search page loads."""
    if failure is None and app.builder.format == "html":
        listed = json.dumps(entries(app), ensure_ascii=False, separators=(",", ":"))
        Path(app.outdir, "_static", "search_entries.js").write_text(f"searchEntries={listed}\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hook."""
    app.connect("build-finished", write_entries)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
