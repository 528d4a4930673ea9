"""The workflows name what is there, and nothing that has gone."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from l2rw_core.experiments import SCALES

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
MAKEFILE = (ROOT / "Makefile").read_text()
CHAPTERS = {path.stem: nbformat.read(path, as_version=4) for path in (ROOT / "chapters").glob("*.ipynb")}

BROUGHT_BY_THE_RUNNER = {"make"}
INSTALLED_BY_MAKE_VENV = {"uv", "pytest", "papermill", "l2rw", "python"}


def triggers(workflow: dict[str, Any]) -> dict[str, Any]:
    """YAML 1.1 reads the key `on` as true."""
    found = workflow[True]
    return found if isinstance(found, dict) else dict.fromkeys([found] if isinstance(found, str) else found)


def jobs() -> list[Any]:
    return [
        pytest.param(job, id=f"{name}-{key}") for name, flow in WORKFLOWS.items() for key, job in flow["jobs"].items()
    ]


def variants(job: dict[str, Any]) -> list[dict[str, Any]]:
    """What `matrix` stands for in each run of a job."""
    matrix = dict(job.get("strategy", {}).get("matrix", {}))
    included = matrix.pop("include", [])
    plain = [{name: value} for name, values in matrix.items() for value in values]
    return [*included, *plain] or [{}]


def commands(job: dict[str, Any]) -> list[list[str]]:
    """Every command of a job in every variant, in words."""
    scripts = [step["run"] for step in job["steps"] if "run" in step]
    filled = (
        re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda found, v=variant: str(v.get(found[1], found[0])), script)
        for script in scripts
        for variant in variants(job)
    )
    return [words for script in filled for line in script.splitlines() if (words := shlex.split(line))]


def test_the_workflows_that_the_book_needs_are_there() -> None:
    assert set(WORKFLOWS) >= {"test", "pages", "weekly", "scale"}
    assert {"push", "pull_request"} <= set(triggers(WORKFLOWS["test"]))
    assert triggers(WORKFLOWS["pages"])["push"]["branches"] == ["main"]
    for name in ("weekly", "scale"):
        (when,) = triggers(WORKFLOWS[name])["schedule"]
        assert len(when["cron"].split()) == 5
        assert "workflow_dispatch" in triggers(WORKFLOWS[name])


@pytest.mark.parametrize("job", jobs())
def test_a_job_ends_by_itself_and_uses_fixed_versions(job: dict[str, Any]) -> None:
    assert 0 < job["timeout-minutes"] <= 360
    actions = [step["uses"] for step in job["steps"] if "uses" in step]
    assert actions[0].startswith("actions/checkout@")
    assert [action for action in actions if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", action)] == []


@pytest.mark.parametrize("job", jobs())
def test_what_a_job_runs_exists(job: dict[str, Any]) -> None:
    lines = commands(job)
    assert lines
    for words in lines:
        program = words[0].removeprefix(".venv/bin/")
        assert program in (INSTALLED_BY_MAKE_VENV if words[0] != program else BROUGHT_BY_THE_RUNNER), words
        if program == "make":
            assert [w for w in words[1:] if "=" not in w and not re.search(rf"^{w}:", MAKEFILE, re.MULTILINE)] == []
        paths = [word for word in words[1:] if re.fullmatch(r"(tests|tools|chapters)/\S+", word)]
        assert [path for path in paths if not (ROOT / path).exists()] == [], words


def test_the_environment_is_made_before_it_is_used() -> None:
    for job in (param.values[0] for param in jobs()):
        names = [words[0] for words in commands(job)]
        assert names[0] == "make", names


def test_pythons_are_those_that_the_package_allows() -> None:
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    text = "\n".join(path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml"))
    named = set(re.findall(r'"(3\.\d+)"', text))
    assert lowest in named
    assert all(int(version.split(".")[1]) >= int(lowest.split(".")[1]) for version in named)
    assert (ROOT / ".binder" / "runtime.txt").read_text().strip().removeprefix("python-") in named


# --- the larger profiles ---------------------------------------------------------------------------------------------


def larger_profile(chapter: nbformat.NotebookNode) -> str | None:
    """The profile beyond the quick one that a chapter's setup offers."""
    (cell,) = [cell for cell in chapter.cells if "parameters" in cell.metadata.get("tags", [])]
    found = re.search(r'^profile = "quick"  # @param \["quick", "(\w+)"\]$', cell.source, flags=re.MULTILINE)
    return found and found[1]


def test_every_chapter_with_a_larger_profile_is_run_at_it_on_a_schedule() -> None:
    wanted = {name: profile for name, chapter in sorted(CHAPTERS.items()) if (profile := larger_profile(chapter))}
    assert set(wanted.values()) <= set(SCALES) - {"quick"}
    assert wanted
    assert WORKFLOWS["scale"]["jobs"]["chapter"]["strategy"]["matrix"] == {
        "include": [{"chapter": name, "profile": profile} for name, profile in wanted.items()]
    }, "scale.yml has to list the chapters that offer a larger profile in their setup"


# --- what git keeps --------------------------------------------------------------------------------------------------


def test_no_notebook_in_git_has_outputs() -> None:
    """Also of notebooks that are no chapters; the staged contents count, not the files that lie there."""
    git = ["git", "-C", ROOT]
    listed = subprocess.run([*git, "ls-files", "-z", "*.ipynb"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.split("\0") if name]
    assert {"intro.ipynb", "chapters/01_two_biases.ipynb"} <= set(names)
    kept = {n: subprocess.run([*git, "show", f":{n}"], capture_output=True, check=True).stdout for n in names}
    dirty = [name for name, content in kept.items() if has_outputs(nbformat.reads(content.decode(), as_version=4))]
    assert dirty == [], f"run: jupyter nbconvert --clear-output --inplace {' '.join(dirty)}"


def has_outputs(notebook: nbformat.NotebookNode) -> bool:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return "widgets" in notebook.metadata or any(c.outputs or c.execution_count is not None for c in code)


def test_a_notebook_that_has_been_run_is_seen_to_be() -> None:
    cell = nbformat.v4.new_code_cell("1 + 1")
    assert not has_outputs(nbformat.v4.new_notebook(cells=[cell]))
    ran = nbformat.v4.new_code_cell("1 + 1", execution_count=1)
    assert has_outputs(nbformat.v4.new_notebook(cells=[cell, ran]))
    printed = nbformat.v4.new_code_cell("1 + 1", outputs=[nbformat.v4.new_output("stream", text="2")])
    assert has_outputs(nbformat.v4.new_notebook(cells=[printed]))
    assert has_outputs(nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {}}))
