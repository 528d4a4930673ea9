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
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """On several cores a file stays with one process, which makes its fixtures once; `apart` tests need not.

    What looks at the book makes nothing but a browser, so there a test stays with one process, for all pages.
    """
    for item in items:
        if not item.get_closest_marker("apart"):
            of_pages = item.path.parent.name == "browser"
            group = f"{item.path.stem}, {item.originalname}" if of_pages else item.path.stem
            item.add_marker(pytest.mark.xdist_group(group))
        if "book" in item.fixturenames:
            item.add_marker(pytest.mark.of_the_book)
    if config.getoption("loadgroup", False):
        put_in_turn(items)
    return (yield)


def put_in_turn(items: list[pytest.Item]) -> None:
    """One process builds the book at once, and nobody waits for it; what can run anywhere fills up the end."""
    of_the_book = {item.path: None for item in items if "book" in item.fixturenames}
    builder = next(iter(of_the_book), None)

    def turn(item: pytest.Item) -> int:
        if item.get_closest_marker("apart"):
            return 3
        return 0 if item.path == builder else 2 if item.path in of_the_book else 1

    items.sort(key=turn)


@pytest.fixture(scope="session")
def book() -> Path:
    """The HTML folder, brought up to date; nothing runs again when nothing changed."""
    return built_book()
