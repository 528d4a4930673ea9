"""The wheel alone is enough for the README's loop."""

import bare_wheel
import pytest


@pytest.mark.apart
def test_the_wheel_alone_runs_the_loop_and_names_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    """Packages come from the cache that the tests' environment was made from, or else from the network."""
    status = bare_wheel.main(["--offline"]) and bare_wheel.main([])
    said = capsys.readouterr()
    if status and "dns error" in said.err.lower():
        pytest.skip("neither uv's cache nor a network")
    assert status == 0, said.err
    assert "the README's loop: Step(" in said.out
    assert said.out.count("l2rw-core[experiments]") == 2


def test_the_loop_is_the_readmes_after_the_change() -> None:
    loop = bare_wheel.loop_of_the_readme()
    assert "reweighter.step((images, labels), clean_batch)" in loop
    assert "optimizer.zero_grad()" not in loop
