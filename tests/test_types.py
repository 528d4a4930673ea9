"""The annotations of the package fit the ways in which it is called, and say what is wrong with others."""

import subprocess
import sys
from pathlib import Path

USE = Path(__file__).with_name("typed_use.py")


def complaints(file: Path, cache: Path) -> list[str]:
    """What mypy says of a file, without what it says of what the file imports."""
    options = ["--follow-imports=silent", "--no-error-summary", f"--cache-dir={cache}"]
    done = subprocess.run([sys.executable, "-m", "mypy", *options, file], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_ways_of_calling_the_package_have_the_right_types(tmp_path: Path) -> None:
    assert complaints(USE, tmp_path / "cache") == []
    wrong = tmp_path / "wrong.py"
    wrong.write_text(USE.read_text() + "\nreweighter.step(x, (x, y))\nto_weights(7)\nstep.wieghts\n")
    said = complaints(wrong, tmp_path / "cache")
    assert [text for text in said if ": error:" in text] == said
    assert [text.rpartition("  [")[2] for text in said] == ["arg-type]", "arg-type]", "attr-defined]"]
