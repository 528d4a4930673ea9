"""The page for lecturers: courses with the minutes of their pages, and the exercises of all chapters by level.

A Sphinx extension, which `build_book.py` adds to the book's settings. Minutes are those under the titles of the pages,
known once every page has been read; levels stand in ``reference/exercise_levels.yml``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cross_references import chapter_number
from docutils import nodes
from docutils.statemachine import StringList
from head import minutes_to_read, minutes_to_run
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, SphinxRole

PAGE = "reference/teaching"
LEVELS = Path("reference", "exercise_levels.yml")
EXERCISE = re.compile(r"^`{3,}\{exercise\} (?P<title>.+)\n:label: (?P<label>ex-\d+-\d+)$", re.M)
SOLUTION = re.compile(r"^(`{3,})\{solution\} (ex-\d+-\d+)\n(.*?)^\1$", re.M | re.S)


# --- exercises -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exercise:
    """An exercise of a chapter."""

    label: str
    title: str
    programs: bool
    """Whether its solution has code; else paper will do."""


def exercises(root: Path) -> Iterator[Exercise]:
    """Those of all chapters, in their order."""
    for chapter in sorted((root / "chapters").glob("*.ipynb")):
        cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        solved = {found[2]: "```python" in found[3] for found in SOLUTION.finditer(text)}
        for found in EXERCISE.finditer(text):
            yield Exercise(found["label"], found["title"], solved.get(found["label"], False))


def levels(root: Path) -> dict[str, list[str]]:
    """What a level asks for, in words -> labels of its exercises; empty where the book has no such file."""
    file = root / LEVELS
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}


def by_level(root: Path) -> list[str]:
    """Lines in Markdown: under each level a list of its exercises, each with a link."""
    known = {one.label: one for one in exercises(root)}
    lines = []
    for level, labels in levels(root).items():
        lines += ["", f"**{level}**", ""]
        for one in (known[label] for label in labels if label in known):
            lines.append(f"- {{ref}}`{one.label}`, *{one.title}*{', with code' if one.programs else ''}")
    return lines


class ExercisesByLevel(SphinxDirective):
    """The exercises of the book."""

    def run(self) -> list[nodes.Node]:
        place = nodes.container()
        lines = by_level(Path(self.env.srcdir))
        self.state.nested_parse(StringList(lines, source=str(LEVELS)), self.content_offset, place)
        return place.children


# --- courses ---------------------------------------------------------------------------------------------------------


class course_minutes(nodes.Inline, nodes.TextElement):  # noqa: N801 - docutils names its nodes so
    """Stands for a sum of minutes until all pages have been read."""


class Minutes(SphinxRole):
    """``{minutes-to-read}`` or ``{minutes-to-run}``, of the pages that it names, between spaces.

    ``{minutes-left}`` names the minutes of a course before them, and is what reading leaves of these.
    """

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        words, kind = self.text.split(), self.name.removeprefix("minutes-to-")
        if kind == "minutes-left":
            return [course_minutes(kind="read", pages=words[1:], of=int(words[0]))], []
        return [course_minutes(kind=kind, pages=words)], []


class course_page(nodes.Inline, nodes.TextElement):  # noqa: N801
    """Stands for a page's number and title."""


class Title(SphinxRole):
    """``{page-title}`` of the page that it names, as a link."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [course_page(page=self.text)], []


class Course(SphinxDirective):
    """A table of pages, with their minutes, the sums, and what is left of the minutes that its argument says."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        pages = [line.strip() for line in self.content if line.strip()]
        place = nodes.container()
        lines = course(pages, int(self.arguments[0]))
        self.state.nested_parse(StringList(lines, source=__file__), self.content_offset, place)
        return place.children


def course(pages: list[str], minutes: int) -> list[str]:
    """Lines of a table in Markdown: a row a page, the sums, and what is left of a course of so many minutes."""
    rows = [(f"{{page-title}}`{page}`", page) for page in pages] + [("together", " ".join(pages))]
    lines = [f"| {name} | {{minutes-to-read}}`{named}` | {{minutes-to-run}}`{named}` |" for name, named in rows]
    left = f"| left for questions and sliders | {{minutes-left}}`{minutes} {' '.join(pages)}` | |"
    return ["| page | minutes to read | minutes to run |", "| :-- | --: | --: |", *lines, left]


def minutes_of(app: Sphinx, page: str) -> dict[str, int]:
    """Those of a page, as they stand under its title: counted with the words that its links get."""
    document = app.env.get_and_resolve_doctree(page, app.builder)
    return {"read": minutes_to_read(document), "run": minutes_to_run(Path(app.srcdir), page)}


def fill_in(app: Sphinx, document: nodes.document, page: str) -> None:
    """Put numbers in place of what stands for them."""
    known: dict[str, Mapping[str, int]] = {}
    for place in list(document.findall(course_minutes)):
        for name in place["pages"]:
            if name not in known:
                known[name] = minutes_of(app, name)
        total = sum(known[name][place["kind"]] for name in place["pages"])
        place.replace_self(nodes.Text(str(place["of"] - total if "of" in place else total)))
    for place in list(document.findall(course_page)):
        place.replace_self(link_to(app, place["page"], page))


def link_to(app: Sphinx, name: str, page: str) -> nodes.reference:
    """A link from `page` to another, with number and title."""
    number = chapter_number(app.env, name)
    words = f"{number}. {app.env.titles[name].astext()}" if number else app.env.titles[name].astext()
    return nodes.reference("", words, internal=True, refuri=app.builder.get_relative_uri(page, name))


def _read_again(app: Sphinx, env: BuildEnvironment, documents: list[str]) -> None:
    """Have the page read at every build: it shows what other files say."""
    if PAGE in env.found_docs and PAGE not in documents:
        documents.append(PAGE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register directives, roles and hooks."""
    app.add_node(course_minutes)
    app.add_node(course_page)
    app.add_role("page-title", Title())
    app.add_directive("course", Course)
    app.add_directive("exercises-by-level", ExercisesByLevel)
    for name in ("minutes-to-read", "minutes-to-run", "minutes-left"):
        app.add_role(name, Minutes())
    app.connect("env-before-read-docs", _read_again)
    app.connect("doctree-resolved", fill_in)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
