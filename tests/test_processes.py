"""How the tests themselves are shared out."""

import pytest


def test_a_file_of_tests_stays_with_one_process(request):
    if not request.config.getoption("loadgroup", False):
        pytest.skip("this process runs every test")
    assert request.node.nodeid.endswith("@test_processes"), "pytest-xdist did not see the groups"
