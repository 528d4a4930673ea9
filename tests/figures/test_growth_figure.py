"""The figure of growth says what the recorded lines say."""

import numpy as np
import pytest

from l2rw_core.figures.benchmarks import load_benchmark
from l2rw_core.figures.growth import AXES, along, growth, slope
from l2rw_core.numerals import typeset

LINES = load_benchmark("growth")


def test_every_axis_is_on_record_for_both_kinds_of_step():
    for axis in ("n", "m", "width", "depth"):
        sizes = [[line["size"] for line in along(LINES, axis, system)] for system in ("plain", "forward")]
        assert sizes[0] == sizes[1]
        assert len(sizes[0]) >= 5
    assert [line["size"] for line in along(LINES, "examples")] == [10**3, 10**4, 10**5, 10**6]


@pytest.mark.parametrize("power", [0, 1, 2])
def test_a_slope_is_the_power_towards_the_largest_sizes(power):
    lines = [{"size": s, "ratios": [7.0 + s**power] * 3, "memory_ratio": s**power} for s in (1, 2, 1e4, 1e5, 1e6)]
    assert slope(lines) == pytest.approx(power, abs=1e-3)
    assert slope(lines, "memory") == pytest.approx(power)


def test_the_sentence_comes_from_the_lines():
    drawing = growth(LINES)
    for axis, title in AXES.items():
        steps = along(LINES, axis)[-3:]
        x, y = np.log([line["size"] for line in steps]), np.log([line["memory_ratio"] for line in steps])
        assert typeset(f"{title} {slope(steps):.2f} and {np.polyfit(x, y, 1)[0]:.2f}") in drawing.alt
    assert LINES[0]["started"][:10] in drawing.caption
