"""Shared by all tests: helper modules beside the tests can be imported, and no test draws a progress bar.

Tests are small, so they run on one thread: sharing them out costs more than it saves, most of all on a busy machine.
`make test` runs them on every core instead.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("L2RW_PROGRESS", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from bookmaking import built_book
from hypothesis import settings

settings.register_profile("steady", deadline=None)  # a busy machine is not a failed test
settings.load_profile("steady")


@pytest.hookimpl(wrapper=True)  # a wrapper runs before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """On several cores a file stays with one process, which makes its fixtures once; `apart` tests need not."""
    for item in items:
        if not item.get_closest_marker("apart"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    return (yield)


@pytest.fixture(scope="session")
def book() -> Path:
    """The HTML folder, brought up to date; nothing runs again when nothing changed."""
    return built_book()
