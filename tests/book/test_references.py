"""The list of references: every entry can be found, and what the tables show is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pybtex.database import Entry, Person, parse_file, parse_string
from references import AuthorYear, label, published, with_links

from l2rw_core import datasets
from l2rw_core.figures.methods import METHODS

ENTRIES = parse_file(Path(__file__).parents[2] / "reference" / "references.bib").entries
ADDRESSES = {"doi": r"10\.\d{4,5}/[^\s_]+", "eprint": r"\d{4}\.\d{4,5}", "url": r"https://[\w.-]+/[^\s_]*"}
OURS = {
    "baseline",
    "clean-only",
    "clean-mixed",
    "clean-stopped",
    "weighted",
    "momentum-ahead",
    "adam-ahead",
    "l2rw-unskipped",
    "inverse-frequency",
}
"""Plain training and the controls of this book: nobody published them as methods."""


@pytest.mark.parametrize("key", ENTRIES)
def test_every_entry_has_an_address(key: str) -> None:
    fields = ENTRIES[key].fields
    given = {name: fields[name] for name in ADDRESSES if name in fields}
    assert given
    for name, value in given.items():
        assert re.fullmatch(ADDRESSES[name], value), f"{name} = {value}"


def test_no_two_entries_lead_to_the_same_place() -> None:
    given = [entry.fields[name] for entry in ENTRIES.values() for name in ADDRESSES if name in entry.fields]
    assert len(set(given)) == len(given)


def test_every_method_of_the_tables_is_in_the_list() -> None:
    assert {name for name, method in METHODS.items() if method.reference is None} == OURS
    assert {method.reference for method in METHODS.values()} - {None} <= ENTRIES.keys()


def test_every_data_set_is_in_the_list() -> None:
    assert {datasets.reference_of(name) for name in datasets.names()} <= ENTRIES.keys()
    assert datasets.reference_of("fashion_small") == "xiao2017fashion"


def test_what_is_published_is_found_by_the_name_that_a_table_has() -> None:
    works = published()
    assert works["SMOTE"] == "chawla2002smote"
    assert works["CIFAR-10"] == "krizhevsky2009learning"
    assert "plain training" not in works


@pytest.mark.parametrize(
    ("authors", "words"),
    [
        ("Krizhevsky, Alex", "Krizhevsky, 2009"),
        ("Zhang, Zhilu and Sabuncu, Mert R.", "Zhang and Sabuncu, 2009"),
        (r"LeCun, Yann and Bottou, L{\'e}on and Bengio, Yoshua", "LeCun et al., 2009"),
        (r"Doll{\'a}r, Piotr and Erven, Tim", "Dollár and Erven, 2009"),
    ],
)
def test_a_label_is_what_the_text_says(authors: str, words: str) -> None:
    entry = parse_string(f"@misc{{one, author = {{{authors}}}, year = {{2009}}}}", "bibtex").entries["one"]
    assert label(entry) == words


def test_two_entries_of_one_label_are_refused() -> None:
    same = [Entry("misc", {"year": "2020"}, {"author": [Person("Ren, A."), Person(p), Person("C")]}) for p in "AB"]
    for entry, key in zip(same, ("first", "second"), strict=True):
        entry.key = key
    with pytest.raises(ValueError, match=r"'Ren et al\., 2020' would be first as well as second"):
        list(AuthorYear().format_labels(same))


def test_a_row_leads_to_what_it_is_named_after() -> None:
    row = '<tr><th scope="row">{}</th><td>MNIST</td></tr>'
    works = {"MNIST": "lecun", "MNIST, four digits": "four", "Reed, soft": "reed"}
    names = ["MNIST, 5,000 images", "MNIST, four digits", "Reed, soft + early stop", "MNISTs", "Reed"]
    body = "".join(map(row.format, names)) + '<th scope="col">MNIST</th>'
    made = BeautifulSoup(with_links(body, works, "list.html"), "html.parser")
    assert [cell.get_text() for cell in made.select("th[scope=row]")] == names
    links = [(link.get_text(), link["href"]) for link in made.select("a")]
    assert links == [
        ("MNIST", "list.html#cite-lecun"),
        ("MNIST, four digits", "list.html#cite-four"),
        ("Reed, soft", "list.html#cite-reed"),
    ]


def test_the_page_names_an_entry_as_the_text_does_and_leads_to_it(book: Path) -> None:
    page = BeautifulSoup((book / "reference" / "references.html").read_text(), "html.parser")
    listed = {entry["id"].removeprefix("cite-"): entry for entry in page.select(".citation")}
    assert listed.keys() == ENTRIES.keys(), "an entry that nothing cites, or one twice"
    for key, entry in listed.items():
        assert label(ENTRIES[key]) in entry.select_one(".label").get_text()
        assert entry.select("p a[href^='https://']"), key
    chapter = BeautifulSoup((book / "chapters" / "01_two_biases.html").read_text(), "html.parser")
    named = {link["href"].split("#cite-")[1]: link.get_text() for link in chapter.select("a[href*='#cite-']")}
    assert named["kumar2010self"] == label(ENTRIES["kumar2010self"])


def test_rows_lead_to_the_list(book: Path) -> None:
    for name in ("chapters/08_background_flips", "reference/reproduction"):
        page = BeautifulSoup((book / f"{name}.html").read_text(), "html.parser")
        rows = {row.get_text().split(" + ")[0]: row for row in page.select("th[scope=row]")}
        assert {"S-model", "self-paced"} <= rows.keys(), name
        for title, key in published().items():
            if title in rows:
                assert rows[title].a["href"].endswith(f"references.html#cite-{key}"), f"{name}, {title}"
