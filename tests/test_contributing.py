"""CONTRIBUTING.md works as it stands: its worked examples are done step by step in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".*cache", ".hypothesis", "_build", "build", "dist", "cache", "*.egg-info", "__pycache__"
)
EXAMPLES = ("A chapter", "A method", "A data set", "A figure")


class Step(NamedTuple):
    kind: str
    text: str


def steps_of(section: str) -> list[Step]:
    body = TEXT.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return [Step(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```$", body, flags=re.MULTILINE | re.DOTALL)]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository as a contributor has it, with this environment as its own."""
    project = tmp_path / "project"
    shutil.copytree(ROOT, project, ignore=LEFT_OUT)
    (project / ".venv").symlink_to(sys.prefix)
    return project


def name_and_body(step: Step) -> tuple[str, str]:
    first, body = step.text.split("\n", 1)
    name = re.fullmatch(r"# (\S+\.py)", first)
    assert name, f"the block says of no file that it is: {first}"
    return name[1], body


def follow(step: Step, project: Path) -> None:
    if step.kind == "bash":
        run(step.text, project)
        return
    name, body = name_and_body(step)
    path = project / name
    if step.kind == "python":
        assert not path.exists(), f"{name} exists: the example would overwrite it"
        path.write_text(body)
        return
    assert step.kind == "diff", step.kind
    lines = body.splitlines()
    before = "\n".join(line[1:] for line in lines if line[0] in " -")
    after = "\n".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text()
    assert text.count(before) == 1, f"{name} has not once what the example changes:\n{before}"
    path.write_text(text.replace(before, after))


def run(script: str, project: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_")) and k != "L2RW_DATA"}
    environment = kept | {"PYTHONPATH": str(project), "TMPDIR": str(project.parent), "L2RW_PROGRESS": "0"}
    script = script.replace("/tmp/", f"{project.parent}/")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=project, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    if "pytest" in script:
        assert re.search(r"\b[1-9]\d* passed", done.stdout), done.stdout


@pytest.mark.apart
@pytest.mark.parametrize("section", EXAMPLES)
def test_the_worked_example_works(section: str, copy: Path) -> None:
    steps = steps_of(section)
    assert steps[-1].kind == "bash", "an example ends by running something"
    for step in steps:
        follow(step, copy)


def test_there_is_an_example_of_each_kind_and_no_other_block() -> None:
    assert sum(len(steps_of(section)) for section in EXAMPLES) == len(re.findall(r"^```\w+$", TEXT, re.MULTILINE))


def test_the_make_targets_it_names_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`make ([a-z-]+)", TEXT))
    assert targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []
