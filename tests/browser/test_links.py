"""Every link inside the book leads to a page, a file, and a place in it that exist."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from test_book import DOCUMENTS
from visiting import soup

ADDRESSES = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src", "form": "action"}
# Read by scripts: `#:~:text=` marks words of a page, and these names stand for places that always exist.
ALWAYS_THERE = {"", "top"}


def built_pages(book: Path) -> list[Path]:
    """Every page of the book, those included that Sphinx makes by itself."""
    return [file for file in sorted(book.rglob("*.html")) if not file.relative_to(book).parts[0].startswith("_")]


@cache
def anchors(file: Path) -> set[str]:
    """Names in a page that a link can lead to."""
    return {tag.get("id") or tag.get("name") for tag in soup(file).select("[id], a[name]")} | ALWAYS_THERE


def addresses(file: Path) -> Iterator[str]:
    for tag in soup(file).find_all(list(ADDRESSES)):
        if address := tag.get(ADDRESSES[tag.name]):
            yield address


def fault(book: Path, page: Path, address: str) -> str | None:
    """What is wrong with an address on a page, if it should lead somewhere in the book."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(book) or not target.is_file():
        return f"{page.relative_to(book)}: {address} leads nowhere"
    if target.suffix == ".html" and unquote(parts.fragment) not in anchors(target):
        return f"{page.relative_to(book)}: {address} names no place in {target.relative_to(book)}"
    return None


def test_links_inside_the_book_lead_somewhere(book: Path) -> None:
    pages = built_pages(book)
    assert len(pages) > 10
    faults = [fault(book, page, address) for page in pages for address in addresses(page)]
    assert [found for found in faults if found] == []


def test_pages_are_chained_in_the_order_of_the_contents(book: Path) -> None:
    for before, after in pairwise(DOCUMENTS):
        onward = soup(book / f"{before}.html").select_one(".prev-next-area a.right-next")
        back = soup(book / f"{after}.html").select_one(".prev-next-area a.left-prev")
        assert (book / before).parent.joinpath(onward["href"]).resolve() == book / f"{after}.html"
        assert (book / after).parent.joinpath(back["href"]).resolve() == book / f"{before}.html"
