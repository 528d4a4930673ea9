"""What `make colab-check` holds the package to, as far as it can be seen without Colab's versions."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

import colab_check
import make_notebooks
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COLAB = dict(
    line.split("==") for line in (ROOT / "tools" / "colab.txt").read_text().splitlines() if not line.startswith("#")
)


def test_the_package_takes_what_colab_has() -> None:
    """Else the first cell would replace packages of a running kernel."""
    extras = PROJECT["optional-dependencies"]
    of_chapters = (extras[name] for name in ("audit", "experiments", "chapters"))
    needed = [Requirement(text) for text in chain(PROJECT["dependencies"], *of_chapters)]
    there = [r for r in needed if r.name in COLAB]
    assert len(there) >= 6
    assert [f"{r} but Colab has {COLAB[r.name]}" for r in there if COLAB[r.name] not in r.specifier] == []


def test_colabs_python_is_the_one_in_the_workflows_and_allowed() -> None:
    assert tuple(map(int, colab_check.PYTHON.split("."))) >= (3, 11)
    assert f"COLAB_PYTHON ?= {colab_check.PYTHON}\n" in (ROOT / "Makefile").read_text()
    weekly = (ROOT / ".github" / "workflows" / "weekly.yml").read_text()
    job = weekly[weekly.index("  colab:") :]
    assert f'python-version: "{colab_check.PYTHON}"' in job
    assert "make colab-check" in job


def test_an_unknown_notebook_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        colab_check.main(["no_such_chapter", "--keep", str(tmp_path / "environment")])
    assert "no notebook is named like no_such_chapter; `make notebooks` makes them" in capsys.readouterr().err
    assert not (tmp_path / "environment").exists()


def test_the_kernel_sees_neither_the_working_tree_nor_a_network(tmp_path: Path) -> None:
    colab_check.register_kernel(Path("/somewhere/bin/python"), tmp_path)
    spec = (tmp_path / "kernels" / colab_check.KERNEL / "kernel.json").read_text()
    assert re.search(r'"argv": \["/somewhere/bin/python"', spec)
    assert '"PYTHONPATH": ""' in spec
    assert spec.count(colab_check.CLOSED_PORT) == 4


def test_what_is_run_is_what_readers_open() -> None:
    assert colab_check.NOTEBOOKS == ROOT / make_notebooks.FOLDER
    assert re.search(r"^colab-check: notebooks\b", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("print('quiet')", ""),
        ("open('left.txt', 'w').close()", "left behind: left.txt"),
        ("import sys; print('careful', file=sys.stderr)", "wrote to stderr: careful"),
        ("import time; time.sleep(60)", "timed out"),
        ("import os; os._exit(1)", "Kernel died"),
    ],
)
def test_a_notebook_is_to_end_leave_its_folder_empty_and_say_nothing_on_stderr(
    cell: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(colab_check, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(colab_check, "KERNEL", "python3")
    monkeypatch.delenv("L2RW_DATA", raising=False)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=[new_code_cell(cell)], metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "one.ipynb")
    (tmp_path / "runs").mkdir()
    assert colab_check.run(tmp_path / "one.ipynb", tmp_path / "runs", timeout=10) == bool(fault)
    said = capsys.readouterr()
    assert re.match(r"(FAILED|ok    ) one\.ipynb  \d", said.out)
    assert fault in said.err


def test_the_tests_of_the_method_are_there() -> None:
    for name in colab_check.METHOD:
        assert (ROOT / "tests" / name).exists(), name
