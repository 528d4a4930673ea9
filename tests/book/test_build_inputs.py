"""What the execution cache is named after, and what pages load."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCES = (
    "l2rw_core/core.py",
    "l2rw_core/interactive/play.js",
    "data/results/run.jsonl",
    "data/embedded/sheet.webp",
    "data/reported.csv",
    "constraints.txt",
)


@pytest.fixture(scope="module")
def build_book() -> ModuleType:
    """The build tool, which is a script and not part of the package."""
    spec = importlib.util.spec_from_file_location("build_book", ROOT / "tools" / "build_book.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_book"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    return tmp_path


@pytest.mark.parametrize("changed", [*SOURCES, "l2rw_core/new.py"])
def test_every_source_of_an_output_counts(build_book: ModuleType, project: Path, changed: str) -> None:
    before = build_book.source_hash(project)
    (project / changed).write_text("two")
    assert build_book.source_hash(project) != before


def test_python_version_counts(build_book: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_book.source_hash(project)
    monkeypatch.setattr(build_book.platform, "python_version", lambda: "3.99.0")
    assert build_book.source_hash(project) != before


def test_what_no_output_depends_on_does_not_count(build_book: ModuleType, project: Path) -> None:
    before = build_book.source_hash(project)
    (project / "l2rw_core" / "__pycache__").mkdir()
    (project / "l2rw_core" / "__pycache__" / "core.cpython-311.pyc").write_bytes(b"x")
    (project / "README.md").write_text("x")
    assert build_book.source_hash(project) == before


def test_chapters_find_no_data_but_those_of_the_repository(
    build_book: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real" / "MNIST" / "raw").mkdir(parents=True)
    monkeypatch.setenv("L2RW_DATA", str(tmp_path / "real"))
    seen = Path(build_book.kernel_environment(project, 1)["L2RW_DATA"])
    assert seen.is_absolute()
    assert not seen.exists()


def test_only_the_newest_caches_are_kept(build_book: ModuleType, tmp_path: Path) -> None:
    for number in range(5):
        build_book.prune_caches(tmp_path / f"cache-{number}")
        build_book.os.utime(tmp_path / f"cache-{number}", (number, number))
    build_book.prune_caches(tmp_path / "cache-2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache-2", "cache-3", "cache-4"]


def test_launch_buttons_lead_to_github_or_are_left_out(build_book: ModuleType) -> None:
    config = {"launch_buttons": {"colab_url": "c"}, "repository": {"branch": "main"}, "html": {"use_issues_button": 1}}
    there = build_book.repository_settings(config, "https://github.com/someone/book")
    assert there["repository"] == {"branch": "main", "url": "https://github.com/someone/book"}
    assert there["launch_buttons"] == {"colab_url": "c"}
    elsewhere = build_book.repository_settings(config, "https://example.org/book")
    assert elsewhere == {"html": {}}


def test_pages_are_written_again_when_what_stands_around_their_text_changes(
    build_book: ModuleType, project: Path
) -> None:
    (project / "CITATION.cff").write_text("one")
    before = build_book.page_inputs_hash(project)
    (project / "CITATION.cff").write_text("two")
    assert build_book.page_inputs_hash(project) != before


@pytest.mark.parametrize("listed", [{}, {"extensions": ["myst_nb"]}])
def test_the_books_own_extensions_are_loaded_whether_or_not_it_lists_those_of_others(
    build_book: ModuleType, listed: dict[str, list[str]]
) -> None:
    settings = build_book.with_own_extensions({"config": listed}, "abc")
    own = list(build_book.OWN_EXTENSIONS)
    assert {f"{name}.py" for name in own} <= {path.name for path in (ROOT / "tools" / "pages").iterdir()}
    assert settings["local_extensions"] == dict.fromkeys(own, str(ROOT / "tools" / "pages"))
    assert settings["config"].get("extensions", own)[-len(own) :] == own
    assert settings["config"]["book_pages_made_from"] == "abc"
    assert listed in ({}, {"extensions": ["myst_nb"]}), "the caller's settings stay as they are"


def test_every_style_and_script_of_the_pages_is_loaded_by_them() -> None:
    """Jupyter Book loads by itself only what lies in a folder `_static` of the root."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    static = ROOT / "tools" / "pages" / "static"
    for kind in ("css", "js"):
        own = {file.name for file in static.glob(f"*.{kind}")}
        others = {Path(path).name for path in settings["html_static_path"] if path.endswith(f".{kind}")}
        assert set(settings[f"html_{kind}_files"]) == own | others
