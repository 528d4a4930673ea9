"""What a page says of itself, to who shares its address and to who looks below its title."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_book import CHAPTERS, DOCUMENTS
from visiting import soup

every_page = pytest.mark.parametrize("document", DOCUMENTS)


@every_page
def test_a_shared_page_is_described_and_has_a_picture(book: Path, document: str) -> None:
    page = soup(book / f"{document}.html")
    said = {tag.get("property") or tag.get("name"): tag["content"] for tag in page.select("head meta[content]")}
    assert len(page.select("head meta[name=viewport]")) == 1
    assert 20 <= len(said["description"]) <= 200
    assert said["og:description"] == said["description"]
    assert said["og:title"] in page.title.text
    picture = said["og:image"]
    assert picture.startswith("http") or (book / document).parent.joinpath(picture).resolve().is_file()


@every_page
def test_a_page_says_its_version_its_date_and_its_minutes(book: Path, document: str) -> None:
    [line] = soup(book / f"{document}.html").select("article .l2rw-line")
    assert re.match(r"Version \d+\.\d+\.\d+ · \d{1,2} \w+ \d{4} · \d+ min to read", line.text)
    assert ("min to run" in line.text) == ((book / "_sources" / f"{document}.ipynb").is_file())


@pytest.mark.parametrize("document", CHAPTERS)
def test_a_chapter_says_once_how_long_it_takes_as_it_was_measured(book: Path, document: str) -> None:
    article = soup(book / f"{document}.html").article
    [line] = article.select(".l2rw-line")
    assert re.search(r"\d+ min to read · \d+ min to run on 2 cores$", line.text)
    line.extract()
    assert re.findall(r"Time:|\bminutes? to (?:read|run)", article.text) == []


@pytest.mark.parametrize("document", CHAPTERS)
def test_what_can_be_assigned_has_the_number_of_its_chapter(book: Path, document: str) -> None:
    page, number = soup(book / f"{document}.html"), int(document.split("/")[1][:2])
    assert page.select_one("article h1").text.startswith(f"{number}. ")
    titles = [title.text for title in page.select(".exercise > .admonition-title, .proof > .admonition-title")]
    boxes = [title for title in titles if not title.startswith("Proof")]
    assert len(boxes) >= 3
    assert [title for title in boxes if not re.match(rf"\w+ {number}\.\d+\b", title)] == []
    assert {title.text for title in page.select(".solution > .admonition-title")} == {"Solution"}


def test_mentions_of_equations_lead_to_them(book: Path) -> None:
    links = [
        (document, link["href"])
        for document in DOCUMENTS
        for link in soup(book / f"{document}.html").select("a.l2rw-equation")
    ]
    assert len(links) > 20
    for document, address in links:
        file, anchor = address.split("#")
        target = (book / document).parent / file if file else book / f"{document}.html"
        place = soup(target.resolve()).find(id=anchor)
        assert place is not None, address
        assert place.find_next(class_="math").text.endswith(f"({anchor.removeprefix('equation-')})")


def test_every_chapter_explains_its_words_once(book: Path) -> None:
    for document in CHAPTERS:
        terms = [link["href"] for link in soup(book / f"{document}.html").select("article a.l2rw-term")]
        assert terms, document
        assert len(set(terms)) == len(terms), document
        for address in terms:
            target = (book / document).parent.joinpath(address.split("#")[0]).resolve()
            assert soup(target).find(id=address.split("#")[1]) is not None, address
