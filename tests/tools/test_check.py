"""`make check` runs the quick tests of what was changed."""

import subprocess
from pathlib import Path

import check
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ("l2rw_core/experiments/sweep.py", {"tests/experiments/test_sweep.py", "tests/experiments/test_cluster.py"}),
        ("l2rw_core/theory.py", {"tests/test_theory.py"}),
        ("l2rw_core/methods/by_loss.py", {"tests/test_methods.py"}),
        ("tools/repository.py", {"tests/tools/test_repository.py"}),
        ("tools/make_notebooks.py", {"tests/book/test_notebooks.py", "tests/tools/test_colab.py"}),
        ("tools/pages/symbols.py", {"tests/book/test_symbols.py"}),
        ("benchmarks/growth.py", {"tests/benchmarks/test_growth.py"}),
        ("tests/bookmaking.py", set()),
        ("tests/test_models.py", {"tests/test_models.py"}),
        ("chapters/02_method.ipynb", {"tests/chapters/test_chapters.py"}),
        ("README.md", {"tests/test_readme.py"}),
        ("CHANGELOG.md", set()),
    ],
)
def test_a_change_brings_its_tests(changed: str, wanted: set[str]) -> None:
    assert wanted <= set(check.tests_of([changed]))


def test_a_module_brings_few_of_the_others() -> None:
    assert len(check.tests_of(["l2rw_core/theory.py"])) <= 5
    assert check.tests_of(["tests/test_theory.py"]) == ["tests/test_theory.py"]
    assert check.tests_of(["docs/no_such_page.txt"]) == []


def test_a_package_in_the_hand_is_all_of_its_modules() -> None:
    assert check.needs("l2rw_core.methods", "l2rw_core.methods.by_loss")
    assert not check.needs("l2rw_core.methods.get", "l2rw_core.methods.by_loss")
    assert check.needs("l2rw_core.methods.get", "l2rw_core.methods")
    assert not check.needs("l2rw_core.theory", "l2rw_core.theory_of_more")


def test_modules_are_named_as_they_are_imported() -> None:
    names = [check.module_of(f) for f in ("l2rw_core/audit/__init__.py", "tests/audit/samples.py", "_config.yml")]
    assert names == ["l2rw_core.audit", "samples", None]


def test_imports_count_wherever_they_stand() -> None:
    assert check.imported("def f():\n    from a.b import c\n    import d.e\n") == {"a.b.c", "d.e"}


def test_what_git_does_not_know_yet_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "one")):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "ä.py").write_text("")
    monkeypatch.setattr(check, "ROOT", tmp_path)
    assert check.changed_files("HEAD") == ["ä.py"]


def test_what_takes_long_is_left_out_and_nothing_is_nothing() -> None:
    words = check.command(["tests/browser/test_book.py", "tests/test_theory.py"])
    assert words[-1] == "tests/test_theory.py"
    assert "not apart and not of_the_book" in words
    assert check.command(["tests/browser/test_book.py"]) == []
