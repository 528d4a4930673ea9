"""The book, built once for all processes that test it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT_FOR = ROOT / "_build" / "built_for_tests"


@contextmanager
def alone(at: str) -> Iterator[None]:
    """Keep those of the other test processes of this checkout waiting that want to do the same work."""
    (ROOT / "_build").mkdir(exist_ok=True)
    with (ROOT / "_build" / f".{at}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def built_book() -> Path:
    """The HTML folder of the book as the sources now are; one of the processes builds it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    with alone("book"):
        if not (run and BUILT_FOR.is_file() and BUILT_FOR.read_text() == run):
            done = subprocess.run(
                [sys.executable, ROOT / "tools" / "build_book.py"], capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.fail(f"the book does not build:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}", pytrace=False)
            BUILT_FOR.write_text(run)
    return ROOT / "_build" / "html"
