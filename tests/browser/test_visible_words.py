"""What a reader sees has no names that only code knows, and no hyphen where a minus sign belongs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from build_book import toc_documents
from visiting import soup

from l2rw_core.datasets import names
from l2rw_core.figures.methods import STAGES, TITLES

ROOT = Path(__file__).parents[2]
PAGES = [name for name in toc_documents(ROOT) if not name.startswith("reference/api")]
# Code and its own output, what opens as a note, and how the page is cited.
UNSEEN = ".l2rw-record, pre, code, style, math, script, table.dataframe, .l2rw-page-end"

_OWN = {key for key, title in TITLES.items() if key != title and ("-" in key or key == "l2rw")}
_WHOLE = {key for key, title in TITLES.items() if key != title} - {"focal"}  # a rule of chapter 1 has this name
RAW = re.compile(
    "|".join(
        (
            rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted({*_OWN, *names()} - {'digits'})))})(?![\w-])",
            rf"[\w-]+\+(?:{'|'.join(STAGES)})\b",
            r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b",
            r"\b(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{7,40}\b",
            r"\b[\w/]+\.(?:py|jsonl|npz|ipynb)\b",
            r"(?<!the )\bbaseline (?=[+−-]?\d)",
            r"\de[+-]\d",
        )
    )
)
ADDRESS = re.compile(r"https?://\S+")
HYPHEN = re.compile(r"(?<![\w.)\]-])-(?=\.?\d)")


def strings_of(value: Any) -> Iterator[str]:
    """Every text inside of what JSON holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings_of(part)


def seen(article: Tag) -> Iterator[tuple[str, str]]:
    """Tag and text of all that is shown, in the other frames of a figure too."""
    for script in article.select("script[type='application/json']"):
        yield from (("caption", text) for text in strings_of(json.loads(script.get_text())))
    for script in article.select("script[type='text/plain']"):
        yield from ((e.name, e.get_text()) for e in BeautifulSoup(script.get_text(), "html.parser").select("text"))
    hidden = {id(element) for element in article.select(UNSEEN)}
    for text in article.find_all(string=True):
        if not any(id(parent) in hidden for parent in text.parents):
            yield text.parent.name, str(text)


def leaks(article: Tag) -> list[str]:
    """What of it is a name of the code."""
    found = []
    for tag, text in seen(article):
        said = ADDRESS.sub("", text)
        found += [f"{part[0]} in {text.strip()[:80]!r}" for part in RAW.finditer(said)]
        if tag in {"td", "th", "text", "tspan"} and text.strip() in _WHOLE:
            found.append(text.strip())
    return found


@pytest.mark.parametrize("document", PAGES)
def test_no_name_of_the_code_is_shown(book: Path, document: str) -> None:
    (article,) = soup(book / f"{document}.html").select("article.bd-article")
    assert leaks(article) == []


@pytest.mark.parametrize("document", PAGES)
def test_numbers_have_a_true_minus_sign(book: Path, document: str) -> None:
    (article,) = soup(book / f"{document}.html").select("article.bd-article")
    assert [text.strip()[:80] for _, text in seen(article) if HYPHEN.search(text)] == []


@pytest.mark.parametrize(
    "html",
    [
        "<td>fashion_mnist</td>",
        "<td>mnist</td>",
        "<text>baseline</text>",
        "<p>Above it: baseline -7.3, self-paced 4</p>",
        "<p>s-model+conf with 82%</p>",
        "<em>meta-weight-net</em>",
        "<figcaption>CPU; commit 41b3bad.</figcaption>",
        "<p>see fig2.jsonl</p>",
        "<p>deviation 0e+00</p>",
        '<script type="application/json">{"captions": ["l2rw has 3%"], "runs": [[-1]]}</script>',
        '<script type="text/plain"><g><text>hard-mining</text></g></script>',
    ],
)
def test_a_name_that_leaks_is_found(html: str) -> None:
    assert leaks(BeautifulSoup(html, "html.parser")) != []


@pytest.mark.parametrize(
    "html",
    [
        "<p>L2RW, Meta-Weight-Net, S-model; comparable with the baseline; self-paced learning on MNIST</p>",
        "<p><code>l2rw audit</code></p><pre>fashion_mnist -1</pre>",
        '<td><span class="l2rw-number"><button>3.8</button><span class="l2rw-record">l2rw on mnist</span></span></td>',
        '<script type="application/json">{"y": [-0.061099999999996]}</script>',
    ],
)
def test_words_of_a_reader_are_none(html: str) -> None:
    article = BeautifulSoup(html, "html.parser")
    assert leaks(article) == []
    assert not any(HYPHEN.search(text) for _, text in seen(article))


# A caption that begins small, or a sentence of it that does.
SMALL = re.compile(r"(?:^|(?<!al)\. )[a-z]")


@pytest.mark.parametrize("document", PAGES)
def test_sentences_below_and_above_pictures_begin_with_a_capital_letter(book: Path, document: str) -> None:
    (article,) = soup(book / f"{document}.html").select("article.bd-article")
    captions = [text.strip() for tag, text in seen(article) if tag in {"figcaption", "caption"} and " " in text.strip()]
    whole = [text for text in captions if text.endswith(".")]
    assert [text for text in whole if SMALL.search(text)] == []
