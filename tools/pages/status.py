"""When each chapter last ran and how long it took, as a table of titles: what `{chapter-times}` stands for on a page.

A Sphinx extension, which `build_book.py` adds to the book's settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TIMINGS = Path("_build", "execution.json")
"""Where the build writes them, below the folder of the book."""


def table(timings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of a table in Markdown: a row a chapter, in their order.

    Args:
        timings: document -> `seconds`, and when it `finished`, as ISO 8601 has it.
    """
    rows = [
        f"| {{doc}}`/{name}` | {_day(str(one['finished']))} | {_duration(float(one['seconds']))} |"
        for name, one in timings.items()
    ]
    return ["| page | last run | took |", "| :-- | :-- | --: |", *rows]


def _day(finished: str) -> str:
    moment = datetime.fromisoformat(finished)
    return f"{moment.day}\N{NO-BREAK SPACE}{moment:%B %Y, %H:%M}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    kept = "\N{NO-BREAK SPACE}"
    return f"{minutes}{kept}min {rest}{kept}s" if minutes else f"{rest}{kept}s"


class ChapterTimes(SphinxDirective):
    """The table; its page is made again whenever the times change."""

    def run(self) -> list[nodes.Node]:
        file = Path(self.env.srcdir) / TIMINGS
        self.env.note_dependency(str(file))
        timings = json.loads(file.read_text()) if file.is_file() else {}
        place = nodes.container()
        self.state.nested_parse(StringList(table(timings), source=str(file)), self.content_offset, place)
        return place.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("chapter-times", ChapterTimes)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
