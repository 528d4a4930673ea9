"""The build, on a book of one page and one chapter: what makes it run again, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[2]
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


class TinyBook:
    """A project that has everything the build reads, and nothing slow."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "reference").mkdir()
        shutil.copytree(ROOT / "tools" / "pages" / "static", root / "tools" / "pages" / "static")
        for name in ("_config.yml", "constraints.txt", "pyproject.toml", "reference/references.bib"):
            shutil.copy(ROOT / name, root / name)
        (root / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters:\n  - file: chapters/01_tiny\n")
        (root / "intro.md").write_text("# Intro\n\nMade with {{ build_versions }}.\n\n```{nb-exec-table}\n```\n")
        (root / "data" / "results").mkdir(parents=True)
        (root / "chapters").mkdir()
        for name in ("interactive/address.js", "interactive/explore.js", "figures/tables.css", "figures/tables.js"):
            (root / "l2rw_core" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "l2rw_core" / name, root / "l2rw_core" / name)
        self.write_package("one")
        self.write_chapter("import l2rw_core", "print('the answer is', l2rw_core.answer())")

    def write_package(self, answer: str) -> None:
        """Put a package in place whose one function returns `answer`."""
        (self.root / "l2rw_core" / "__init__.py").write_text(f"def answer():\n    return {answer!r}\n")

    def write_chapter(self, *cells: str) -> None:
        """Put the chapter in place, with these code cells."""
        notebook = new_notebook(metadata={"kernelspec": KERNEL})
        notebook.cells = [new_markdown_cell("# Tiny"), *map(new_code_cell, cells)]
        nbformat.write(notebook, self.root / "chapters" / "01_tiny.ipynb")

    def build(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the build as `make book` does, with this project's package before the installed one."""
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        environment.pop("L2RW_DATA", None)
        command = [sys.executable, ROOT / "tools" / "build_book.py", self.root, *options]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def page(self) -> str:
        """The chapter as published."""
        return (self.root / "_build" / "html" / "chapters" / "01_tiny.html").read_text()


@pytest.fixture
def tiny(tmp_path: Path) -> TinyBook:
    return TinyBook(tmp_path)


def test_chapter_runs_again_when_the_package_changes_and_only_then(tiny: TinyBook) -> None:
    first = tiny.build()
    assert first.returncode == 0, first.stdout + first.stderr
    assert "1 to execute" in first.stdout
    assert "cell 2 of 2" in first.stdout
    assert "the answer is one" in tiny.page()
    timings = json.loads((tiny.root / "_build" / "execution.json").read_text())
    assert timings["chapters/01_tiny"]["seconds"] > 0

    unchanged = tiny.build()
    assert unchanged.returncode == 0, unchanged.stdout + unchanged.stderr
    assert "cell 2 of 2" not in unchanged.stdout

    tiny.write_package("two")
    edited = tiny.build()
    assert edited.returncode == 0, edited.stdout + edited.stderr
    assert "cell 2 of 2" in edited.stdout
    assert "the answer is two" in tiny.page()
    assert "the answer is one" not in tiny.page()


def test_preview_runs_one_chapter_and_leaves_the_book_alone(tiny: TinyBook) -> None:
    shutil.copy(tiny.root / "chapters" / "01_tiny.ipynb", tiny.root / "chapters" / "02_other.ipynb")
    tiny.write_chapter("import os", "print('made with', os.environ['OMP_NUM_THREADS'])")
    toc = tiny.root / "_toc.yml"
    toc.write_text(f"{toc.read_text()}  - file: chapters/02_other\n")

    done = tiny.build("--page", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = tiny.root / "_build" / "preview" / "_build" / "html" / "chapters"
    assert f"{pages / '01_tiny.html'}" in done.stdout
    cores = os.cpu_count() or 1
    threads = cores // min(cores, 2)  # as in a build of both: other numbers of threads round differently
    assert f"made with {threads}\n" in (pages / "01_tiny.html").read_text()
    other = (pages / "02_other.html").read_text()
    assert "l2rw_core.answer()" in re.sub("<[^>]*>", "", other)
    assert "the answer is one" not in other
    assert not (tiny.root / "_build" / "html").exists()

    unclear = tiny.build("--page", "0")
    assert unclear.returncode == 1
    assert "2 pages are named like '0'; name one of\n  chapters/01_tiny\n  chapters/02_other" in unclear.stderr
    assert "no pages are named like 'nothing'" in tiny.build("--page", "nothing").stderr


def test_failing_cell_fails_the_build_and_is_shown(tiny: TinyBook) -> None:
    tiny.write_chapter("numerator = 1", "ratio = numerator / 0")
    done = tiny.build()
    assert done.returncode == 1
    assert "chapters/01_tiny, cell 2 of 2" in done.stderr
    assert "ratio = numerator / 0" in done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert not (tiny.root / "_build" / "html").exists()


TQDM_WIDGET = """
import ipywidgets
ipywidgets.HBox([ipywidgets.Label("training"), ipywidgets.FloatProgress()])
"""


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("print(' 40%|####      | 4/10 [00:01<00:02,  3.1it/s]')", "progress bar"),
        (TQDM_WIDGET, "a widget, which shows nothing on a page"),
        ("import sys; print('careful', file=sys.stderr)", "writes to stderr: careful"),
    ],
    ids=["text", "widget", "stderr"],
)
def test_output_that_must_not_be_published_is_refused_also_from_the_cache(
    tiny: TinyBook, cell: str, reason: str
) -> None:
    tiny.write_chapter("quiet = True", cell)
    for done in (tiny.build(), tiny.build()):
        assert done.returncode == 1
        assert "chapters/01_tiny, cell 2 of 2" in done.stderr
        assert reason in done.stderr
    assert not (tiny.root / "_build" / "html").exists()


def test_chapter_whose_stored_run_was_cut_off_runs_again(tiny: TinyBook) -> None:
    assert tiny.build().returncode == 0
    (stored,) = (tiny.root / "_build" / ".jupyter_cache").rglob("base.ipynb")
    stored.write_text("")
    again = tiny.build()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "1 to execute" in again.stdout
    assert "the answer is one" in tiny.page()


def test_chapter_that_is_edited_during_the_build_is_named(tiny: TinyBook) -> None:
    chapter = tiny.root / "chapters" / "01_tiny.ipynb"
    edit = f"text = open({str(chapter)!r}).read()\nopen({str(chapter)!r}, 'w').write(text.replace('before', 'after'))"
    tiny.write_chapter("print('before')", edit)
    done = tiny.build()
    assert done.returncode == 1
    assert "edited while the book was built, so build it again: chapters/01_tiny" in done.stderr
    assert "Traceback" not in done.stderr


def test_warning_of_a_page_fails_every_build_until_it_is_mended(tiny: TinyBook) -> None:
    intro = tiny.root / "intro.md"
    text = intro.read_text()
    intro.write_text(f"{text}\n[](nowhere-at-all)\n")
    assert tiny.build().returncode == 1
    assert tiny.build().returncode == 1
    intro.write_text(text)
    assert tiny.build().returncode == 0


def test_chapter_outside_the_table_of_contents_is_an_error(tiny: TinyBook) -> None:
    shutil.copy(tiny.root / "chapters" / "01_tiny.ipynb", tiny.root / "chapters" / "02_forgotten.ipynb")
    done = tiny.build()
    assert done.returncode == 1
    assert "not in _toc.yml: chapters/02_forgotten" in done.stderr
