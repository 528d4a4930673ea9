"""The repository's address stands in one place, and every notebook can install the package from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import make_notebooks
import pytest
import repository
import yaml

ROOT = Path(__file__).parents[2]
ELSEWHERE = "https://github.com/someone/reweight"
PUSHES = "peaceiris/actions-gh-pages"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What names the address, in a folder of its own."""
    (tmp_path / "chapters").mkdir()
    for path in [ROOT / "pyproject.toml", *repository.texts(ROOT), *repository.notebooks(ROOT)]:
        to = tmp_path / path.relative_to(ROOT)
        to.parent.mkdir(exist_ok=True)
        shutil.copy(path, to)
    return tmp_path


def test_everything_agrees_with_pyproject() -> None:
    assert repository.main(["--check"]) == 0, "run `make repository`"


def test_the_address_is_found_where_readers_and_tools_look_for_it() -> None:
    address = repository.current_address(ROOT)
    for name in ("CITATION.cff", "CONTRIBUTING.md", "chapters/01_two_biases.ipynb", "intro.ipynb"):
        text = (ROOT / name).read_text()
        assert [found["address"] for found in repository.PLACES.finditer(text)], name
        assert address in text, name


def test_the_address_is_nowhere_the_tool_does_not_reach(copy: Path) -> None:
    """After a change no tracked file names the old one."""
    assert repository.main([ELSEWHERE, "--root", str(copy)]) == 0
    old = repository.current_address(ROOT)
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    names = [name for name in tracked.split("\0") if name and not name.startswith("tests/")]
    if not names:
        pytest.skip("not a git checkout")
    left = [n for n in names if old.encode() in ((copy if (copy / n).exists() else ROOT) / n).read_bytes()]
    assert left == []


def test_a_new_address_goes_everywhere_and_back_again(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*.*")}
    assert repository.main([f"{ELSEWHERE}.git/", "--root", str(copy)]) == 0
    assert repository.current_address(copy) == ELSEWHERE
    assert "written: CITATION.cff" in capsys.readouterr().out
    assert repository.main(["--check", "--root", str(copy)]) == 0
    for path in repository.notebooks(copy):
        assert f"git+{ELSEWHERE}" in path.read_text()
    badge = f"[![Tests]({ELSEWHERE}/actions/workflows/test.yml/badge.svg)]({ELSEWHERE}/actions/workflows/test.yml)"
    assert badge in (copy / "README.md").read_text()
    assert repository.main([repository.current_address(ROOT), "--root", str(copy)]) == 0
    assert {path: path.read_bytes() for path in copy.rglob("*.*")} == before


@pytest.mark.parametrize("name", ["CITATION.cff", "chapters/02_method.ipynb"])
def test_one_that_disagrees_is_named(copy: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / name
    path.write_text(path.read_text().replace(repository.current_address(copy), ELSEWHERE))
    assert repository.main(["--check", "--root", str(copy)]) == 1
    assert capsys.readouterr().out.splitlines() == [f"out of line: {name}"]


def test_a_chapter_without_its_first_cell_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "chapters" / "14_new.ipynb"
    notebook = json.loads((copy / "chapters" / "02_method.ipynb").read_text())
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != repository.CELL_ID]
    path.write_text(json.dumps(notebook))
    assert repository.main(["--check", "--root", str(copy)]) == 1
    assert capsys.readouterr().out.splitlines() == ["out of line: chapters/14_new.ipynb"]


@pytest.mark.parametrize("url", ["example.org/x", "https://example.org", "git@host:a/b", "https://a.b/c d", "x"])
def test_what_nobody_could_clone_is_refused(copy: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*.*")}
    assert repository.main([url, "--root", str(copy)]) == 2
    assert "is no address of a repository" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in copy.rglob("*.*")} == before


def test_nothing_is_published_under_a_placeholder(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repository.main(["https://example.org/l2rw-core", "--root", str(copy)]) == 0
    assert repository.main(["--public", "--root", str(copy)]) == 2
    assert "https://example.org/l2rw-core is a placeholder: `make repository URL=...`" in capsys.readouterr().err
    assert repository.main([ELSEWHERE, "--root", str(copy)]) == 0
    assert repository.main(["--public", "--root", str(copy)]) == 0
    (publish,) = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text())["jobs"].values()
    assert "public: ##" in (makefile := (ROOT / "Makefile").read_text())
    assert "tools/repository.py --public" in makefile
    runs = [step["run"] for step in publish["steps"] if "run" in step]
    assert runs.index("make public") < runs.index("make book")


def test_the_branch_that_the_launch_buttons_name_is_filled_with_the_notebooks() -> None:
    """Before the pages are published, and by nobody else."""
    branch = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["branch"]
    (job,) = (flow := yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text()))["jobs"].values()
    assert flow["permissions"]["contents"] == "write"
    steps = [step.get("uses", step.get("run", "")).partition("@")[0] for step in job["steps"]]
    assert steps.index("make book") < steps.index(PUSHES) < steps.index("actions/deploy-pages")
    given = job["steps"][steps.index(PUSHES)]["with"]
    assert (given["publish_branch"], given["publish_dir"]) == (branch, make_notebooks.FOLDER.as_posix())


# --- the cell --------------------------------------------------------------------------------------------------------


def run_cell(
    source: str, folder: Path, *without: str, pip_works: bool = True, own_pip: bool = False
) -> subprocess.CompletedProcess[str]:
    """A cell in a process that lacks these modules until pip is asked for something; prints what it asked.

    With `own_pip` pip itself runs, as in a notebook.
    """
    (folder / "cell.ipy").write_text(source)
    program = f"""
import importlib.util, sys
from IPython.core.interactiveshell import InteractiveShell
find, given = importlib.util.find_spec, []
importlib.util.find_spec = lambda name: None if name in {without} and not (given and {pip_works}) else find(name)
shell = InteractiveShell.instance()
{own_pip} or shell.register_magic_function(given.append, magic_name="pip")
shell.run_cell(open("cell.ipy").read()).raise_error()
for command in given:
    print(command)
"""
    environment = os.environ | {"IPYTHONDIR": str(folder / "ipython"), "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_cell_installs_only_what_is_missing(tmp_path: Path) -> None:
    source = repository.bootstrap_source(ROOT)
    requirement = f'install --quiet "l2rw-core[chapters] @ git+{repository.current_address(ROOT)}"'
    for without, given in [((), ""), (("l2rw_core",), f"{requirement}\n"), (("anywidget",), f"{requirement}\n")]:
        done = run_cell(source, tmp_path, *without)
        assert (done.returncode, done.stdout) == (0, given), without


def test_the_cell_stops_and_says_why_when_pip_has_not_installed_it(tmp_path: Path) -> None:
    """pip itself raises nothing, and the next cells would fail for a reason that nobody sees."""
    done = run_cell(repository.bootstrap_source(ROOT, ("smote",)), tmp_path, "l2rw_core", "imblearn", pip_works=False)
    assert done.returncode != 0
    said = done.stderr.splitlines()[-1]
    assert said.startswith("ModuleNotFoundError: l2rw_core and imblearn could not be installed; pip says above why.")
    assert "`pip install '.[chapters,smote]'`" in said


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("https://example.org/l2rw-core", "stands for an address that is not decided yet."),
        (ELSEWHERE, f"Are there a network, git, and a public repository at `git+{ELSEWHERE}`?"),
    ],
)
def test_the_cell_names_the_cause(url: str, cause: str, copy: Path) -> None:
    assert repository.main([url, "--root", str(copy)]) == 0
    cells = json.loads((copy / "chapters" / "01_two_biases.ipynb").read_text())["cells"]
    source = "".join(next(cell["source"] for cell in cells if cell["id"] == repository.CELL_ID))
    assert cause in run_cell(source, copy, "l2rw_core", pip_works=False).stderr.splitlines()[-1]


class Unauthorised(BaseHTTPRequestHandler):
    """Asks whoever comes for a name and a password."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="here"')
        self.end_headers()


def test_the_cell_stops_where_a_host_asks_who_is_there(tmp_path: Path) -> None:
    """As GitHub does for a repository that does not exist. git would ask for a name, and nobody could answer."""
    asked = ThreadingHTTPServer(("127.0.0.1", 0), Unauthorised)
    Thread(target=asked.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{asked.server_port}/someone/reweight"
    with asked:
        source = repository.bootstrap_source(ROOT, url=url)
        done = run_cell(source, tmp_path, "l2rw_core", pip_works=False, own_pip=True)
        asked.shutdown()
    assert "could not read Username" in done.stdout
    assert f"a public repository at `git+{url}`?" in done.stderr.splitlines()[-1]


def test_a_tag_makes_the_cell_install_an_extra_too(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "id": "a", "metadata": {"tags": ["hide-input", "needs-smote"]}, "source": []}
    assert repository.extras_of({"cells": [cell, {**cell, "metadata": {}}]}) == ("smote",)
    source = repository.bootstrap_source(ROOT, ("smote",))
    assert "l2rw-core[chapters,smote] @ git+" in run_cell(source, tmp_path, "imblearn").stdout


def test_an_extra_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no extra smoke; choose from .*smote, .*book"):
        repository.bootstrap_source(ROOT, ("smoke",))


@pytest.mark.parametrize("path", repository.notebooks(ROOT), ids=lambda path: path.stem)
def test_it_is_the_first_code_of_every_notebook_and_not_on_the_page(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    assert first["id"] == repository.CELL_ID
    assert first["metadata"]["tags"] == ["remove-cell"]


def test_putting_it_there_twice_changes_nothing() -> None:
    notebook = json.loads((ROOT / "chapters" / "01_two_biases.ipynb").read_text())
    source = repository.bootstrap_source(ROOT)
    assert repository.with_bootstrap(notebook, source) == notebook


def test_the_citation_names_the_package_as_it_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["repository-code"] == repository.current_address(ROOT)
    assert citation["authors"]
    paper = citation["preferred-citation"]
    assert (paper["year"], paper["authors"][0]["family-names"]) == (2018, "Ren")
