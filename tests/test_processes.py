"""How the tests themselves are shared out."""

import pytest


def test_a_file_of_tests_stays_with_one_process(request):
    if not request.config.getoption("loadgroup", False):
        pytest.skip("this process runs every test")
    assert request.node.nodeid.endswith("@test_processes"), "pytest-xdist did not see the groups"


def test_one_process_builds_the_book_while_the_others_need_none(request):
    if not request.config.getoption("loadgroup", False):
        pytest.skip("this process runs every test")
    of_the_book = {item.path for item in request.session.items if "book" in item.fixturenames}
    files = dict.fromkeys(item.path for item in request.session.items if not item.get_closest_marker("apart"))
    first, *later = (path in of_the_book for path in files)
    assert first == bool(of_the_book)
    assert later == sorted(later)
