"""Every chapter runs from an empty folder in the quick profile, by papermill, with the data of the repository alone.

The build runs them so for the book, and keeps what came out; what is asked here is asked of that.
"""

from __future__ import annotations

import ast
import re
import statistics
import tomllib
from collections.abc import Iterator
from pathlib import Path

import build_book
import nbformat
import papermill
import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
NOTEBOOKS = [*CHAPTERS, ROOT / "intro.ipynb", *sorted((ROOT / "reference").glob("*.ipynb"))]
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
LONGEST, MEDIAN = 14, 8
"""Lines with something on them, of a cell that is shown and of the middle one of a chapter."""
BY_HAND = {"figure", "show", "explore", "pen", "dots", "COLOURS", "DASHES", "MARKERS"}
"""What a cell needs that draws by itself. One that calls a figure of the package needs none of them."""
WIDE = 8.4
"""Inches of a figure that takes the whole column; all others have the width that `figure` gives them."""
OWN_DATA = "12_your_own_data"
"""It has no findings to open with: what comes out there is the reader's."""
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


def test_there_are_chapters() -> None:
    assert CHAPTERS, "no chapters/*.ipynb: the tests below would pass without testing anything"


@every_chapter
def test_chapter_is_stored_clean(chapter: Path) -> None:
    notebook = nbformat.read(chapter, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5), "cell ids came with format 4.5"
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    assert all(cell.id for cell in notebook.cells)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []


def code_of(chapter: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(chapter, as_version=4).cells if cell.cell_type == "code"]


def is_folded(cell: nbformat.NotebookNode) -> bool:
    return bool(FOLDED & set(cell.metadata.get("tags", [])))


def shown_of(chapter: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in code_of(chapter) if not is_folded(cell)]


def lines_of(cell: nbformat.NotebookNode) -> int:
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def python_of(chapter: Path) -> Iterator[tuple[nbformat.NotebookNode, ast.Module]]:
    """Code cells as Python, all but the one that installs the package."""
    return ((cell, ast.parse(cell.source)) for cell in code_of(chapter) if cell.id != "bootstrap")


@every_chapter
def test_chapter_has_one_parameters_cell_in_the_quick_profile(chapter: Path) -> None:
    tagged = [cell for cell in code_of(chapter) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert 'profile = "quick"' in tagged[0].source


@every_chapter
def test_imports_and_parameters_are_one_folded_cell_named_setup(chapter: Path) -> None:
    """After it papermill sets other parameters, so it computes nothing from them. Colab shows them beside the fold."""
    bootstrap, setup, *_ = code_of(chapter)
    assert (bootstrap.id, setup.id) == ("bootstrap", "setup")
    assert setup.metadata.tags == ["hide-input", "parameters"]
    assert (setup.metadata.jupyter.source_hidden, setup.metadata.cellView) == (True, "form")
    assert setup.metadata.mystnb == {"code_prompt_show": "Setup", "code_prompt_hide": "Setup"}
    assert setup.source.startswith("# @title Setup\n")
    importing = {
        cell.id
        for cell, tree in python_of(chapter)
        if any(isinstance(n, ast.Import | ast.ImportFrom) for n in tree.body)
    }
    assert importing == {"setup"}
    values = [node for node in ast.parse(setup.source).body if isinstance(node, ast.Assign)]
    assert all(isinstance(node.value, ast.Constant) for node in values)
    lines = setup.source.splitlines()
    assert all(re.search(r"  # @param [\[{].*[\]}]$", lines[node.lineno - 1]) for node in values)
    assert {"profile", "seed"} <= {node.targets[0].id for node in values}


@every_chapter
def test_parameters_are_checked_in_their_own_cell_right_after_they_are_set(chapter: Path) -> None:
    """All of them: the names that the check is given are those that papermill may set."""
    _, setup, checked, *_ = code_of(chapter)
    assert (checked.id, checked.metadata.tags) == ("checked", ["remove-cell"])
    given = [n.targets[0].id for n in ast.parse(setup.source).body if isinstance(n, ast.Assign)]
    call = ast.parse(checked.source).body[-1].value
    assert ast.unparse(call).startswith("check_parameters(")
    named = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg != "limits"}
    assert named == {name: name for name in given}


@pytest.mark.parametrize("stem", ["01", "02", "06", "07", "08", "09", "10", "11"])
def test_a_chapter_that_trains_has_noise_and_the_clean_set_as_parameters(stem: str) -> None:
    """The imbalance too, where its data can have one: not in the two chapters that are about other things."""
    (chapter,) = (path for path in CHAPTERS if path.stem.startswith(stem))
    _, setup, *_ = code_of(chapter)
    given = {n.targets[0].id for n in ast.parse(setup.source).body if isinstance(n, ast.Assign)}
    assert given >= {"noise", "clean"}
    assert ("imbalance" in given) == (stem not in ("02", "10"))


@every_chapter
def test_cells_that_are_shown_are_short(chapter: Path) -> None:
    lengths = {cell.id: lines_of(cell) for cell in shown_of(chapter)}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
    assert statistics.median(lengths.values()) <= MEDIAN, lengths


@every_chapter
def test_a_cell_that_draws_is_one_call_or_folded(chapter: Path) -> None:
    by_hand = {
        cell.id: names
        for cell, tree in python_of(chapter)
        if (names := BY_HAND & {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
    }
    assert by_hand
    assert {cell.id for cell in shown_of(chapter)} & set(by_hand) == set()


@every_chapter
def test_a_figure_has_the_one_width_or_that_of_the_column(chapter: Path) -> None:
    calls = [node for _, tree in python_of(chapter) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    widths = {
        ast.literal_eval(keyword.value)
        for call in calls
        if ast.unparse(call.func) == "figure"
        for keyword in call.keywords
        if keyword.arg == "width"
    }
    assert widths <= {WIDE}


@every_chapter
def test_a_chapter_hands_its_own_methods_over(chapter: Path) -> None:
    """What others look up by name stays what it was."""
    assert [cell.id for cell in code_of(chapter) if "METHODS" in cell.source] == []


@every_chapter
def test_chapter_refuses_a_profile_that_it_does_not_have(chapter: Path) -> None:
    """The profile goes to a function that refuses unknown ones; `tests/test_bad_input.py` has those."""
    code = "\n".join(c.source for c in nbformat.read(chapter, as_version=4).cells if c.cell_type == "code")
    assert re.search(r"by_profile\(profile,|grid\([^()]*profile\)|scale=profile", code)
    assert not re.search(r'if profile == "quick" else "', code)


@every_chapter
def test_chapter_has_the_parts_that_readers_rely_on(chapter: Path) -> None:
    notebook = nbformat.read(chapter, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for part in ("{admonition} The question", "Paper: ", "## Exercises", "## What would show this wrong"):
        assert part in text, part
    exercises = set(re.findall(r":label: (ex-\S+)", text))
    assert len(exercises) >= 3
    assert set(re.findall(r"\{solution\} (\S+)", text)) == exercises
    last = notebook.cells[-1]
    assert last.metadata.tags == ["claims", "hide-input"]


@every_chapter
def test_how_long_a_chapter_takes_is_measured_and_not_typed(chapter: Path) -> None:
    """The line under its title says both on the page, and the notebook the time to run."""
    text = "\n".join(cell.source for cell in nbformat.read(chapter, as_version=4).cells)
    assert re.findall(r"^.*\bTime\b.*\b(?:minutes?|hours?|to run)\b.*$", text, re.MULTILINE) == []


@every_chapter
def test_claims_are_asserted_under_the_chapters_own_parameters_and_no_others(chapter: Path) -> None:
    """The last line compares every parameter with the value that *Setup* gives it; for other values nothing raises."""
    _, setup, *_, last = code_of(chapter)
    given = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(setup.source).body
        if isinstance(node, ast.Assign)
    }
    closing = ast.parse(last.source).body[-1]
    assert isinstance(closing, ast.Expr)
    assert ast.unparse(closing.value).startswith("hold(claims, own=")
    (own,) = (ast.unparse(keyword.value) for keyword in closing.value.keywords if keyword.arg == "own")
    assert eval(own, dict(given)) is False
    for name, value in given.items():
        changed = {**given, name: value + 1 if isinstance(value, int | float) else f"not {value}"}
        assert eval(own, changed) is True, f"{name} can be changed, and the chapter still asserts its claims"


@pytest.mark.apart
@pytest.mark.parametrize(("stem", "parameters"), [("02_method", {"seed": 42})])
def test_a_readers_own_parameters_end_in_a_table_that_says_what_holds(
    stem: str, parameters: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With this seed plain training does not fail, so that the chapter's claim about it does."""
    monkeypatch.setenv("L2RW_PROGRESS", "0")
    executed = papermill.execute_notebook(
        ROOT / "chapters" / f"{stem}.ipynb",
        tmp_path / "out.ipynb",
        {"profile": "quick", **parameters},
        cwd=tmp_path,
        progress_bar=False,
        execution_timeout=600,
    )
    (table,) = executed.cells[-1].outputs
    lines = table.data["text/plain"].splitlines()
    assert len(lines) >= 5
    assert all(line.startswith(("holds: ", "does not hold: ")) for line in lines)


@pytest.mark.parametrize("chapter", [c for c in CHAPTERS if c.stem != OWN_DATA], ids=lambda path: path.stem)
def test_chapter_opens_with_what_it_found_and_a_picture(chapter: Path) -> None:
    """Right after *Setup* and the check of its parameters, both without their code."""
    notebook = nbformat.read(chapter, as_version=4)
    _, _, _, _, box, picture, *_ = notebook.cells
    assert (box.id, box.metadata.tags) == ("in-short", ["remove-input"])
    last = ast.parse(box.source).body[-1]
    assert ast.unparse(last).startswith("InShort(")
    assert {keyword.arg for keyword in last.value.keywords} == {"paper", "here", "scale", "believe"}
    assert is_folded(picture)
    assert re.search(
        r"\bshow\(|^(against|beside_the_paper|lead_map|score_chart|explore|eight_points)\("
        r"|partial\(\n +(against|score_chart),",
        picture.source,
        re.MULTILINE,
    )


@every_notebook
def test_what_is_folded_on_the_page_is_folded_in_jupyterlab_and_in_colab_too(notebook: Path) -> None:
    for cell in nbformat.read(notebook, as_version=4).cells:
        folded = FOLDED & set(cell.metadata.get("tags", []))
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        assert bool(folded) == hidden == (cell.metadata.get("cellView") == "form"), cell.id


@every_chapter
def test_code_that_is_shown_fits_the_column(chapter: Path) -> None:
    """The formatter breaks what it can; words it cannot."""
    width = tomllib.loads((ROOT / "chapters" / "ruff.toml").read_text())["line-length"]
    lines = [line for cell in shown_of(chapter) for line in cell.source.splitlines()]
    assert lines
    assert [line for line in lines if len(line) > width] == []


@pytest.fixture(scope="module")
def executed(book: Path) -> dict[str, nbformat.NotebookNode]:
    """The chapters as they ran for the book: from an empty folder, with the data of the repository alone."""
    cache = build_book.cache_folder(ROOT, build_book.source_hash(ROOT))
    return build_book.executed_chapters(ROOT, cache, [f"chapters/{path.stem}" for path in CHAPTERS])


@every_chapter
def test_chapter_holds_in_the_book(chapter: Path, executed: dict[str, nbformat.NotebookNode]) -> None:
    require_claims(executed[f"chapters/{chapter.stem}"])


def require_claims(executed: nbformat.NotebookNode) -> None:
    """Require that nothing went to stderr, and that the last cell ended with what held."""
    outputs = [(cell.id, output) for cell in executed.cells for output in cell.get("outputs", [])]
    assert [(cell, output.text) for cell, output in outputs if output.get("name") == "stderr"] == []
    (table,) = executed.cells[-1].outputs
    assert all(line.startswith("holds: ") for line in table.data["text/plain"].splitlines())
    assert "<td>holds</td>" in table.data["text/html"]
