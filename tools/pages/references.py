"""The list of references, each under the name that the text calls it by, and what the rows of the tables cite.

A Sphinx extension, which `build_book.py` adds to the book's settings. The setting `bibtex_default_style` names its
style, and `bibtex_cite_id` the anchors that the rows lead to.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

STYLE = "as_in_text"
PAGE = "reference/references"
ROW = re.compile(r'(<th scope="row(?:group)?"[^>]*>)([^<]+)(?=</th>)')
"""The name of a row, or of a group of rows, as the package's tables have it."""


# --- the list --------------------------------------------------------------------------------------------------------


def label(entry: Entry) -> str:
    """Family names, up to two of them, and the year, as a citation in the text has them."""
    names = [" ".join(map(str, person.rich_last_names)) for person in entry.persons["author"]]
    authors = " and ".join(names) if len(names) <= 2 else f"{names[0]} et al."
    return f"{authors}, {entry.fields['year']}"


class AuthorYear(BaseLabelStyle):
    """Labels by author and year."""

    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        """Yield each entry's label.

        Raises:
            ValueError: two entries have the same, and a reader could not tell them apart.
        """
        taken: dict[str, str] = {}
        for entry in sorted_entries:
            name = label(entry)
            if name in taken:
                raise ValueError(f"'{name}' would be {taken[name]} as well as {entry.key}: give one year a letter.")
            taken[name] = entry.key
            yield name


class AsInText(Style):
    """The usual style, in the order of the labels; addresses become links."""

    default_sorting_style = "author_year_title"
    default_label_style = AuthorYear


# --- the tables ------------------------------------------------------------------------------------------------------


def published() -> dict[str, str]:
    """Title of a method or a data set, as tables have it -> key of its publication."""
    # Late: most pages need nothing of the package.
    from l2rw_core import datasets
    from l2rw_core.figures.methods import METHODS

    methods = {method.title: method.reference for method in METHODS.values() if method.reference}
    return methods | {datasets.title_of(name): datasets.reference_of(name) for name in datasets.names()}


def with_links(body: str, works: Mapping[str, str], to_list: str) -> str:
    """The HTML of a page in which a row that is named after a published work leads to it in the list.

    Args:
        works: title -> key in the bibliography.
        to_list: address of the list, as seen from the page.
    """
    titles = sorted(works, key=len, reverse=True)
    begins = re.compile(rf"({'|'.join(map(re.escape, titles))})(?=$| \+|,)")

    def linked(row: re.Match[str]) -> str:
        if not (title := begins.match(html.unescape(row[2]))):
            return row[0]
        rest = row[2].removeprefix(title[1])
        return f'{row[1]}<a class="l2rw-cited" href="{to_list}#cite-{works[title[1]]}">{title[1]}</a>{rest}'

    return ROW.sub(linked, body)


def link_rows(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Let the rows of a page's tables lead to what they are named after."""
    if PAGE in app.env.found_docs and ROW.search(context.get("body", "")):
        to_list = app.builder.get_relative_uri(page, PAGE)
        context["body"] = with_links(context["body"], published(), to_list)


def cited(works: Mapping[str, str]) -> list[str]:
    """Lines of a table in Markdown: a row for each title."""
    rows = [f"| {title} | {{cite:t}}`{key}` |" for title, key in works.items()]
    return ["| in the tables | published as |", "| :-- | :-- |", *rows]


class CitedWorks(SphinxDirective):
    """The methods and the data sets of the book's tables, and who published them."""

    def run(self) -> list[nodes.Node]:
        place = nodes.container()
        self.state.nested_parse(StringList(cited(published()), source=__file__), self.content_offset, place)
        return place.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Register style, directive and hook."""
    register_plugin("pybtex.style.formatting", STYLE, AsInText)
    app.add_directive("cited-works", CitedWorks)
    app.connect("env-before-read-docs", _read_again)
    app.connect("html-page-context", link_rows, priority=800)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _read_again(app: Sphinx, env: object, documents: list[str]) -> None:
    """Have the list read at every build: it shows what other files of the book and of the package say."""
    if PAGE in app.env.found_docs and PAGE not in documents:
        documents.append(PAGE)
