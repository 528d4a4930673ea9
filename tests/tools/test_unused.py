"""`make lint` names what nothing uses."""

import fnmatch
import json
from pathlib import Path

import pytest
import unused

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A package with a function that a notebook uses, one that tests alone use, and one that nothing uses."""
    (tmp_path / "l2rw_core").mkdir()
    (tmp_path / "l2rw_core" / "a.py").write_text(
        "".join(f"def {name}():\n    pass\n" for name in ("shown", "tested", "left"))
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("from l2rw_core.a import tested\ntested()\n")
    (tmp_path / "chapters").mkdir()
    cells = [{"cell_type": "code", "source": [line]} for line in ("%pip install something", "shown()")]
    (tmp_path / "chapters" / "1.ipynb").write_text(json.dumps({"cells": cells}))
    return tmp_path


def test_nothing_here_is_unused() -> None:
    assert unused.unused(ROOT) == []


def test_what_tests_alone_use_is_unused(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert unused.main(["--root", str(checkout)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "unused: l2rw_core/a.py:3: function 'tested'",
        "unused: l2rw_core/a.py:5: function 'left'",
    ]


def test_every_exception_is_needed() -> None:
    names = [line.split("'")[1] for line in unused.unused(ROOT, ())]
    assert [name for name in unused.CALLED_BY_OTHERS if not fnmatch.filter(names, name)] == []
