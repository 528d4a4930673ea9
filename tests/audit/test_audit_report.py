"""The page needs nothing and runs nothing, whatever the data hold; the table is what other tools read."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from samples import FORMULA, HOSTILE, folders, frames, sample

from l2rw_core.audit import REPORT, TABLE, Options, audit, read_pair, to_csv, to_html, write_report
from l2rw_core.audit.report import _short, neutral

VOID = {"meta", "img", "br", "link", "path", "use", "rect", "input"}


class Reader(HTMLParser):
    """Elements with their attributes, and the text that is shown."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.inside = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass

    def handle_data(self, data):
        if "style" not in self.inside:
            self.text.append(data)

    @property
    def shown(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    """An audit of a table with HTML and formulas in labels, values and names of columns."""
    root = tmp_path_factory.mktemp("wine")
    for name, frame in zip(("data", "clean"), frames(sample("wine"), (HOSTILE, FORMULA, "-3.5")), strict=True):
        frame["cellar"] = np.where(frame["cellar"] == "north", HOSTILE, FORMULA)
        frame = frame[["cellar", *(column for column in frame.columns if column != "cellar")]]
        frame.rename(columns={"a1": "<b>bold</b>"}).to_csv(root / f"{name}.csv", index=False)
    return audit(*read_pair(root / "data.csv", root / "clean.csv"), progress=False)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """An audit of images in folders of which one is named in HTML."""
    pair = folders(sample("digits", most=90), tmp_path_factory.mktemp("digits"), ("nought", HOSTILE, "two"))
    return audit(*read_pair(*pair), Options(batch_size=50, clean_batch_size=9), progress=False)


@pytest.mark.parametrize("name", ["wine", "digits"])
def test_the_page_holds_all_it_needs_and_no_script(name, request):
    page = to_html(request.getfixturevalue(name), HOSTILE, shown=20)
    read = Reader(page)
    assert not {tag for tag, _ in read.elements} & {"script", "iframe", "object", "embed", "link", "base", "form"}
    for tag, attributes in read.elements:
        assert not [key for key in attributes if key.startswith("on")], tag
        for key in ("src", "href", "srcset", "action", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:image/png;base64,")), (tag, key)
    styles = "".join(re.findall(r"<style.*?</style>", page, flags=re.DOTALL))
    assert "@import" not in styles
    assert re.findall(r"url\((?!#)", styles) == []
    policy = {a.get("http-equiv"): a.get("content") for tag, a in read.elements if tag == "meta"}
    assert policy["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("name", ["wine", "digits"])
def test_html_in_the_data_is_shown_as_text(name, request):
    done = request.getfixturevalue(name)
    read = Reader(to_html(done, HOSTILE, shown=20))
    assert f"Label audit of {HOSTILE}" in read.shown
    assert f"given {HOSTILE}" in read.shown
    assert not [a for tag, a in read.elements if tag == "img" and a["src"] == "x"]
    if name == "wine":
        assert "<b>bold</b>" in read.shown
        assert "b" not in {tag for tag, _ in read.elements}


def test_pictures_say_what_they_are_and_rows_show_their_values(wine, digits):
    pictures = [a for tag, a in Reader(to_html(digits, shown=7)).elements if tag == "img"]
    assert len(pictures) == 7
    assert all(
        a["alt"].startswith(digits.train.names[i]) for a, i in zip(pictures, digits.suspects.index, strict=False)
    )
    first = wine.suspects.index[0]
    shown = Reader(to_html(wine, shown=1)).shown
    assert f"row {first + 1} (id {first})" in shown
    assert f"{wine.train.frame['a0'][first]:.4g}" in shown


def test_the_numbers_of_the_page_are_those_of_the_table(wine):
    shown, issues = Reader(to_html(wine)).shown, int(wine.suspects["is_label_issue"].sum())
    assert issues > 0
    assert f"{issues} of {len(wine.train)} labels" in shown
    table = wine.suspects
    for name, part in table.groupby("given_label"):
        share = part["is_label_issue"].mean()
        assert f"{name} {len(part)} 6 {part['is_label_issue'].sum()} {share:.1%}" in shown


def test_the_table_has_the_columns_that_others_read_in_the_order_of_the_data(wine, tmp_path):
    (tmp_path / TABLE).write_text(to_csv(wine), newline="")
    table = pd.read_csv(tmp_path / TABLE, index_col="id")
    assert {"given_label", "predicted_label", "label_score", "is_label_issue"} <= set(table.columns)
    assert table.index.tolist() == list(range(len(wine.train)))
    assert table["is_label_issue"].dtype == bool
    assert table["label_score"].between(0, 1).all()
    plain = [label.removeprefix("'") for label in table["given_label"]]
    assert plain == wine.train.labels.tolist()
    np.testing.assert_allclose(table["label_score"], wine.suspects.sort_index()["label_score"], rtol=1e-5)


def test_formulas_are_neutralised_and_numbers_are_not(wine):
    text = to_csv(wine)
    table = pd.read_csv(pd.io.common.StringIO(text), dtype=str)
    assert set(table["given_label"]) == {HOSTILE, "'" + FORMULA, "-3.5"}
    assert not [cell for cell in table.to_numpy().ravel() if str(cell).startswith(("=", "+", "@"))]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "cat"),
        ("", ""),
        ("-3.5", "-3.5"),
        ("+1e-4", "+1e-4"),
        ("=1+1", "'=1+1"),
        ("  =1+1", "'  =1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tcmd", "'\tcmd"),
        ("＝1+1", "'＝1+1"),
        ("a=b", "a=b"),
    ],
)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text, shown):
    assert neutral(text) == shown


def test_files_appear_whole_or_not_at_all(wine, tmp_path):
    (tmp_path / TABLE).mkdir()
    with pytest.raises(OSError, match=TABLE):
        write_report(wine, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((REPORT, TABLE))
    assert (tmp_path / REPORT).read_text().rstrip().endswith("</html>")


@pytest.fixture(scope="module")
def chromium():
    """The system's Chromium, with nothing to reach."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is in the extra `dev`")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on this machine")
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("name", ["wine", "digits"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 360)])
def test_a_browser_runs_nothing_asks_for_nothing_and_shows_all(name, scheme, width, request, chromium, tmp_path):
    page_path, _ = write_report(request.getfixturevalue(name), tmp_path, HOSTILE, shown=15)
    page = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()
    asked, said = [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("console", lambda m: said.append(m.text))
    page.on("dialog", lambda d: (said.append("dialog"), d.dismiss()))
    page.goto(page_path.as_uri())
    assert [url for url in asked if not url.startswith(("data:image/png", page_path.as_uri()))] == []
    assert said == []
    assert page.locator("h1").inner_text() == f"Label audit of {HOSTILE}"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    red, *_ = map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor")))
    assert (red > 200) == (scheme == "light")
    page.context.close()


@pytest.mark.parametrize(
    ("value", "shown"), [("2020-03-01", "2020-03-01"), ("2020-03-01 12:30", "2020-03-01 12:30:00")]
)
def test_a_date_without_an_hour_is_shown_without_one(value, shown):
    assert _short(pd.Timestamp(value)) == shown


def test_the_suspects_come_first_with_the_columns_that_are_no_features_and_what_to_do_next(tmp_path):
    for name, frame in zip(("data", "clean"), frames(sample("wine")), strict=True):
        named = frame.assign(patient=[f"P{number:04}" for number in range(len(frame))])
        named.to_csv(tmp_path / f"{name}.csv", index=False)
    pair = read_pair(tmp_path / "data.csv", tmp_path / "clean.csv", ignore=("patient",))
    done = audit(*pair, Options(by="loss"), progress=False)
    shown = Reader(to_html(done, shown=3)).shown
    parts = ["Look at these first", "What next", "l2rw audit apply", "By class", "How this was made"]
    assert [shown.index(part) for part in parts] == sorted(shown.index(part) for part in parts)
    assert f"P{done.suspects.index[0]:04}" in shown.partition("What next")[0]
    assert "4 more columns are left out here" in shown
    assert "speaks against this label" in shown
    assert "speaks for this label" not in shown
    assert "layer" not in shown
    assert "patient" not in done.train.frame
