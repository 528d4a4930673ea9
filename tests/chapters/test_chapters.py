"""Every chapter runs from an empty folder, in the quick profile, with and without real data."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import papermill
import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
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


@every_chapter
def test_chapter_has_one_parameters_cell_in_the_quick_profile(chapter: Path) -> None:
    notebook = nbformat.read(chapter, as_version=4)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert 'profile = "quick"' in tagged[0].source


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
    assert last.metadata.tags == ["claims"]
    assert "assert held" in last.source


@every_chapter
def test_chapter_runs_without_data_and_network(chapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no-data").mkdir()
    monkeypatch.setenv("L2RW_DATA", str(tmp_path / "no-data"))
    # Nothing listens there, so a download is refused at once instead of timing out or going through.
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    run(chapter, tmp_path, monkeypatch)


@every_chapter
@pytest.mark.skipif(not os.environ.get("L2RW_DATA"), reason="L2RW_DATA names no folder with real data")
def test_chapter_runs_on_real_data(chapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2RW_DATA", str(Path(os.environ["L2RW_DATA"]).absolute()))
    run(chapter, tmp_path, monkeypatch)


def run(chapter: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Execute a chapter in an empty folder, and require that nothing went to stderr."""
    work = folder / "work"
    work.mkdir()
    monkeypatch.setenv("L2RW_PROGRESS", "0")
    executed = papermill.execute_notebook(
        chapter, folder / "out.ipynb", {"profile": "quick"}, cwd=work, progress_bar=False, execution_timeout=600
    )
    outputs = [(cell.id, output) for cell in executed.cells for output in cell.get("outputs", [])]
    assert [(cell, output.text) for cell, output in outputs if output.get("name") == "stderr"] == []
