"""The notebooks that readers open: what the pages say, in Markdown that every program shows."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import build_book
import make_notebooks
import nbformat
import papermill
import pytest
from bookmaking import ROOT
from bs4 import BeautifulSoup, Tag
from markdown_it import MarkdownIt

FOLDER = ROOT / make_notebooks.FOLDER
DOCUMENTS = build_book.chapter_documents(ROOT)
CHAPTERS = [name for name in DOCUMENTS if name.startswith("chapters/")]
QUICKEST = "chapters/05_convergence"
ADDRESS = make_notebooks.book_address(ROOT)
# In a text without its formulas and code.
MYST = re.compile(r":::|`{3,}\{|\{[\w:+-]+\}`|^:[\w-]+:|^\([\w-]+\)=$|\{\{|^\+\+\+|^%", re.MULTILINE)
LABEL = re.compile(r"^:label: (\S+)$|^\(([\w-]+)\)=$", re.MULTILINE)
ASIDE = "div.admonition:not(.exercise, .solution, .proof, .l2rw-in-short) > .admonition-title"
SAFE = {"image/png", "text/plain", "text/markdown"}
"""What is shown of a notebook that nobody trusts yet; of HTML each program leaves out something else."""
every_notebook = pytest.mark.parametrize("document", DOCUMENTS)
every_chapter = pytest.mark.parametrize("document", CHAPTERS)


@pytest.fixture(scope="module")
def made(book: Path) -> dict[str, nbformat.NotebookNode]:
    """The notebooks as the build left them."""
    return {name: nbformat.read(FOLDER / f"{name}.ipynb", as_version=nbformat.NO_CONVERT) for name in DOCUMENTS}


@cache
def soup(file: Path) -> BeautifulSoup:
    """A built page, read once."""
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


def source(document: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / f"{document}.ipynb", as_version=4)


def text_of(notebook: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def shown(notebook: nbformat.NotebookNode) -> BeautifulSoup:
    """The text as a program without MyST shows it."""
    return BeautifulSoup(MarkdownIt("gfm-like", {"linkify": False}).render(text_of(notebook)), "html.parser")


def article(book: Path, document: str) -> Tag:
    return soup(book / f"{document}.html").article


def words(element: Tag) -> str:
    return " ".join(element.get_text().split()).replace(" )", ")").removesuffix("#").strip()


def links(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, str]]:
    """Text and address of each link."""
    return ((words(link), link["href"]) for link in shown(notebook).select("a[href]"))


@every_notebook
def test_it_is_the_source_with_other_text(made: dict[str, nbformat.NotebookNode], document: str) -> None:
    """Cells, their ids, folds and tags stay, so that papermill and Colab find what they look for."""
    notebook, written = made[document], source(document)
    nbformat.validate(notebook)
    assert [(c.id, c.cell_type, c.metadata) for c in notebook.cells] == [
        (c.id, c.cell_type, c.metadata) for c in written.cells
    ]
    code = [(a.source, b.source) for a, b in zip(notebook.cells, written.cells, strict=True) if a.cell_type == "code"]
    assert [ours for ours, theirs in code if ours != theirs] == []
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.colab.name == f"{document.split('/')[-1]}.ipynb"


@every_notebook
def test_no_myst_is_left(made: dict[str, nbformat.NotebookNode], document: str) -> None:
    bare = shown(made[document])
    for element in bare.select("code, pre"):
        element.extract()
    assert MYST.findall(bare.get_text()) == []
    assert not re.search(r":::|`{3,}\{", text_of(made[document]))
    assert MYST.search(text_of(source(document))), "the expression finds it where it is"


@every_notebook
def test_every_link_leads_to_a_place_in_the_book(
    made: dict[str, nbformat.NotebookNode], book: Path, document: str
) -> None:
    addresses = [address for _, address in links(made[document])]
    assert f"{ADDRESS}/{document}.html" == addresses[0]
    assert [address for address in addresses if not address.startswith("http")] == []
    for address in addresses:
        if address.startswith(ADDRESS):
            page, _, anchor = address.removeprefix(f"{ADDRESS}/").partition("#")
            assert (book / page).is_file(), address
            assert not anchor or soup(book / page).find(id=anchor), address


@every_notebook
def test_links_read_as_on_the_page(made: dict[str, nbformat.NotebookNode], book: Path, document: str) -> None:
    page, found = article(book, document), list(links(made[document]))
    cited = [words(a) for a in page.select(".bibtex-citation a")]
    assert [text for text, address in found if address.endswith("references.html")] == cited
    to_pages = [words(a) for a in page.select("a.internal:has(> .doc), a.sd-btn")]
    ours = [text for text, address in found[1:] if address.endswith(".html") and "references.html" not in address]
    assert ours == to_pages
    known = {a or b for name in DOCUMENTS for a, b in LABEL.findall(text_of(source(name)))}
    to_labels = [words(a) for a in page.select("p a.internal") if a["href"].partition("#")[2] in known]
    assert [text for text, address in found if "#" in address] == to_labels


@every_chapter
def test_titles_and_boxes_have_the_numbers_of_the_page(
    made: dict[str, nbformat.NotebookNode], book: Path, document: str
) -> None:
    page, text = article(book, document), shown(made[document])
    assert words(text.h1) == words(page.h1)
    on_page = [words(title) for title in page.select(".exercise > .admonition-title")]
    assert len(on_page) >= 3
    assert [words(h) for h in text.select("h3") if h.get_text().startswith("Exercise")] == on_page
    stated = [words(title) for title in page.select(".proof > .admonition-title")]
    bold = [words(first) for first in text.select("blockquote > p:first-child > strong:only-child")]
    assert [name for name in bold if re.match(r"[A-Z]\w+ \d+\.\d+", name)] == stated
    asides = [
        words(t)
        for t in page.select("div.admonition:not(.exercise, .solution, .proof, .l2rw-in-short) > .admonition-title")
    ]
    assert [name for name in bold if name not in stated] == asides


@every_chapter
def test_solutions_are_closed_and_set(made: dict[str, nbformat.NotebookNode], document: str) -> None:
    """Below the line that opens one an empty line has to follow: else programs show its formulas and marks raw."""
    text = text_of(made[document])
    solutions = re.findall(r"^<details>\n<summary>Solution</summary>\n\n(.+?)\n\n</details>$", text, re.M | re.S)
    assert len(solutions) == len(re.findall(r"\{solution\}", text_of(source(document)))) >= 3
    assert text.count("<details") == text.count("</details>") == len(solutions)


@every_notebook
def test_a_formula_in_a_quotation_stands_on_one_line(made: dict[str, nbformat.NotebookNode], document: str) -> None:
    """Notebook programs take formulas out before they read quotations, and would set the mark of the quotation."""
    quoted = [line for line in text_of(made[document]).splitlines() if line.startswith(">") and "$$" in line]
    assert [line for line in quoted if line.count("$$") % 2] == []
    assert text_of(made[document]).count("$$") == text_of(source(document)).count("$$")


@every_notebook
def test_how_long_it_runs_is_said_as_on_the_page(
    made: dict[str, nbformat.NotebookNode], book: Path, document: str
) -> None:
    [line] = article(book, document).select(".l2rw-line")
    minutes = re.search(r"(\d+) min to run on 2 cores", line.text)[1]
    assert re.search(rf"^About {minutes} minutes? to run on two cores\.", text_of(made[document]), re.MULTILINE)


@every_chapter
def test_where_to_begin_after_a_restart_is_said_at_the_top(
    made: dict[str, nbformat.NotebookNode], document: str
) -> None:
    assert make_notebooks.AFTER_RESTART in made[document].cells[0].source
    assert "\n# @title Setup\n" in "\n".join(["", *(cell.source for cell in made[document].cells)])


@every_notebook
def test_the_first_picture_is_stored_and_nothing_else(
    made: dict[str, nbformat.NotebookNode], book: Path, document: str
) -> None:
    notebook = made[document]
    stored = [(cell.id, cell.outputs) for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert {cell.get("execution_count") for cell in notebook.cells} == {None}
    pictures = article(book, document).select("figure.l2rw-figure > svg")
    assert len(stored) == bool(pictures)
    assert not stored or {kind for output in stored[0][1] for kind in output.data} <= SAFE
    for _, [picture, *caption] in stored:
        alt, box = pictures[0]["aria-label"], pictures[0]["viewbox"].split()
        assert alt in picture.data["text/plain"]
        assert [c.data["text/markdown"] for c in caption] == [words(c) for c in pictures[0].parent.select("figcaption")]
        png = base64.b64decode(picture.data["image/png"])
        assert png.startswith(b"\x89PNG")
        assert int.from_bytes(png[16:20]) == round(float(box[2]) * make_notebooks.DENSITY)


def test_chapters_have_a_picture(made: dict[str, nbformat.NotebookNode]) -> None:
    assert [name for name in CHAPTERS if not any(cell.get("outputs") for cell in made[name].cells)] == []


@every_notebook
def test_the_page_offers_it(made: dict[str, nbformat.NotebookNode], book: Path, document: str) -> None:
    offered = {
        (book / document).parent.joinpath(link["href"]).resolve()
        for link in soup(book / f"{document}.html").select("a[href$='.ipynb']")
    }
    assert {file.read_bytes() for file in offered} == {(FOLDER / f"{document}.ipynb").read_bytes()}


def test_binder_installs_the_package_from_its_address(made: dict[str, nbformat.NotebookNode]) -> None:
    """The branch of the notebooks has no package beside them."""
    wanted = (FOLDER / ".binder" / "requirements.txt").read_text()
    first = next(cell for cell in made["chapters/02_method"].cells if cell.cell_type == "code")
    assert re.fullmatch(r"l2rw-core\[chapters[\w,]*\] @ git\+https?://\S+\n", wanted)
    assert wanted.split("@ ")[1].strip() in first.source


# --- what cannot be made ---------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The least that a notebook is made from."""
    for name in ("pyproject.toml", "_config.yml", "reference/references.bib"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: one\n")
    (tmp_path / "_build").mkdir()
    (tmp_path / "_build" / "execution.json").write_text("{}")
    return tmp_path


def notebook_with(text: str) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_markdown_cell(text, id="first")
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("# One\n\n:::{tip}\nx\n:::", r"one, cell first: the directive \{tip\} is unknown"),
        ("x\n\n# One", "one has to begin with its heading, '# One'"),
    ],
)
def test_what_cannot_be_written_plainly_stops_the_build_and_keeps_the_last_ones(
    small: Path, text: str, what: str
) -> None:
    build_book.write_notebooks(small, {"one": notebook_with("# One\n\nKept.")})
    with pytest.raises(build_book.BuildError, match=f"a notebook cannot be made: {what}"):
        build_book.write_notebooks(small, {"one": notebook_with(text)})
    assert "Kept." in (small / make_notebooks.FOLDER / "one.ipynb").read_text()


def test_links_need_to_know_where_the_book_is_read(small: Path) -> None:
    given = (small / "pyproject.toml").read_text()

    def address(urls: str) -> str:
        (small / "pyproject.toml").write_text(re.sub(r'Repository = "[^"]*"', urls, given))
        return make_notebooks.book_address(small)

    assert address('Repository = "https://github.com/Some/book"') == "https://some.github.io/book"
    elsewhere = 'Repository = "https://git.some.org/a/book"'
    assert address(f'{elsewhere}\nDocumentation = "https://some.org/book/"') == "https://some.org/book"
    with pytest.raises(make_notebooks.NotebookError, match=r"Add `Documentation` to \[project.urls\]"):
        address(elsewhere)


@pytest.mark.apart
def test_it_runs_to_its_end_in_an_empty_folder_and_leaves_nothing_there(
    made: dict[str, nbformat.NotebookNode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L2RW_PROGRESS", "0")
    monkeypatch.delenv("L2RW_DATA", raising=False)
    (work := tmp_path / "work").mkdir()
    done = papermill.execute_notebook(
        FOLDER / f"{QUICKEST}.ipynb",
        tmp_path / "done.ipynb",
        {"seed": 0},
        cwd=work,
        progress_bar=False,
        execution_timeout=600,
    )
    (table,) = done.cells[-1].outputs
    assert all(line.startswith("holds: ") for line in table.data["text/plain"].splitlines())
    assert list(work.iterdir()) == []
