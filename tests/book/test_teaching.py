"""The page for lecturers: every exercise has a level, and the minutes are those of the pages."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from teaching import by_level, course, exercises, levels

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A book with two exercises, one of them with code in its solution."""
    text = (
        "```{exercise} On paper\n:label: ex-1-1\nShow.\n```\n\n```{solution} ex-1-1\n:class: dropdown\nSo.\n```\n\n"
        "```{exercise} With a loop\n:label: ex-1-2\nTry.\n```\n\n"
        "````{solution} ex-1-2\n:class: dropdown\n```python\n1 + 1\n```\n````\n"
    )
    cell = {"cell_type": "markdown", "source": text.splitlines(keepends=True)}
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "01_one.ipynb").write_text(json.dumps({"cells": [cell]}))
    return tmp_path


def test_every_exercise_has_one_level() -> None:
    given = list(chain.from_iterable(levels(ROOT).values()))
    assert sorted(given) == sorted(one.label for one in exercises(ROOT)), "name it in reference/exercise_levels.yml"


def test_an_exercise_is_known_by_label_title_and_whether_it_takes_code(root: Path) -> None:
    assert [(one.label, one.title, one.programs) for one in exercises(root)] == [
        ("ex-1-1", "On paper", False),
        ("ex-1-2", "With a loop", True),
    ]


def test_a_level_lists_its_exercises_and_no_others(root: Path) -> None:
    assert by_level(root) == []
    (root / "reference").mkdir()
    (root / "reference" / "exercise_levels.yml").write_text("Hard:\n  [ex-1-2, ex-9-9]\n")
    assert by_level(root) == ["", "**Hard**", "", "- {ref}`ex-1-2`, *With a loop*, with code"]


def test_a_course_ends_with_the_sums_of_its_pages() -> None:
    lines = course(["chapters/01_one", "reference/faq"], 60)
    assert (
        lines[2]
        == "| {page-title}`chapters/01_one` | {minutes-to-read}`chapters/01_one` | {minutes-to-run}`chapters/01_one` |"
    )
    assert lines[-2].startswith("| together | {minutes-to-read}`chapters/01_one reference/faq` |")
    assert lines[-1] == "| left for questions and sliders | {minutes-left}`60 chapters/01_one reference/faq` | |"


def test_the_minutes_are_those_below_the_titles(book: Path) -> None:
    page = BeautifulSoup((book / "reference" / "teaching.html").read_text(), "html.parser")
    tables = page.select("article.bd-article table")
    hours = [60, 120, 240]
    assert len(tables) == len(hours)
    for table, given in zip(tables, hours, strict=True):
        *rows, total, left = [[cell.get_text() for cell in row.select("td")] for row in table.select("tbody tr")]
        links = [link["href"] for link in table.select("tbody a")]
        assert len(links) == len(rows) >= 3
        for address, (_, read, run) in zip(links, rows, strict=True):
            line = BeautifulSoup((book / "reference" / address).read_text(), "html.parser").select_one(".l2rw-line")
            found = re.search(r"(\d+) min to read · (\d+) min to run", line.get_text())
            assert found is not None
            assert (read, run) == (found[1], found[2]), address
        assert rows[0][0] == "1. Two biases, opposite cures"
        assert [int(total[k]) for k in (1, 2)] == [sum(int(row[k]) for row in rows) for k in (1, 2)]
        assert int(left[1]) == given - int(total[1]) >= given / 12, "time for questions"


def test_every_exercise_of_the_list_leads_to_its_place(book: Path) -> None:
    page = BeautifulSoup((book / "reference" / "teaching.html").read_text(), "html.parser")
    links = [link["href"] for link in page.select("#exercises-by-level a[href*='#ex-']")]
    assert len(links) == len(list(exercises(ROOT)))
    for address in links:
        file, anchor = address.split("#")
        assert f'id="{anchor}"' in (book / "reference" / file).read_text(), address
