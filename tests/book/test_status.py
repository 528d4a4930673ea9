"""The page on the state of the chapters names them by their titles, and says in words when they ran."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from status import table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("seconds", "words"), [(19.7, "20~s"), (59.6, "1~min 0~s"), (196.9, "3~min 17~s"), (3601.0, "60~min 1~s")]
)
def test_a_row_says_when_a_chapter_ran_and_how_long_it_took(seconds: float, words: str) -> None:
    lines = table({"chapters/02_method": {"seconds": seconds, "finished": "2026-03-09T07:05:01.5"}})
    kept = lines[2].replace("\N{NO-BREAK SPACE}", "~")
    assert kept == f"| {{doc}}`/chapters/02_method` | 9~March 2026, 07:05 | {words} |"


def test_the_page_has_a_link_with_its_title_for_every_chapter(book: Path) -> None:
    page = BeautifulSoup((book / "reference" / "status.html").read_text(), "html.parser")
    rows = page.select("article.bd-article table tbody tr")
    ran = json.loads((ROOT / "_build" / "execution.json").read_text())
    assert len(rows) == len(ran)
    for name, row in zip(ran, rows, strict=True):
        (link,) = row.select("a")
        assert link["href"].split("/")[-1] == f"{name.split('/')[-1]}.html"
        heading = BeautifulSoup((book / f"{name}.html").read_text(), "html.parser").select_one("h1")
        assert heading.find(string=True, recursive=False).strip() in row.get_text()
