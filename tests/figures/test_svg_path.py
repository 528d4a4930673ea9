"""Shortened paths lead where the long ones did."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path

from l2rw_core.figures.svg_path import as_circle, segments, shortened

COORDINATES = st.floats(-500, 500).map(lambda value: round(value, 4))
PAIRS = {"M": 1, "L": 1, "Q": 2, "C": 3, "z": 0}
NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")


@st.composite
def paths(draw):
    """Path data as matplotlib writes it: subpaths of straight and curved segments, closed or not."""
    written = []
    for _ in range(draw(st.integers(1, 3))):
        commands = [
            "M",
            *draw(st.lists(st.sampled_from("LQC"), min_size=1, max_size=6)),
            *draw(st.sampled_from(["", "z"])),
        ]
        for command in commands:
            numbers = draw(st.lists(COORDINATES, min_size=2 * PAIRS[command], max_size=2 * PAIRS[command]))
            written.append(command + " ".join(map(str, numbers)))
    return " ".join(written)


def followed(data):
    """Absolute points of relative path data, by the rules of SVG."""
    at, start, result = np.zeros(2), np.zeros(2), []
    for command, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
        values = np.array(NUMBER.findall(numbers), dtype=float).reshape(-1, 2)
        assert "".join(NUMBER.findall(numbers)).replace(" ", "") == numbers.replace(" ", "")
        if command == "z":
            at = start
            continue
        for part in np.split(values, len(values) // PAIRS[command.upper()]):
            part = part if command == "M" else part + at
            result.append((command.upper(), part))
            at = part[-1]
            start = at if command in "Mm" else start
    return result


@given(paths(), st.sampled_from([1, 2]))
def test_every_point_lies_where_it_lay(data, decimals):
    expected = [(command, points) for command, points in segments(data) if command != "z"]
    found = followed(shortened(data, decimals))
    assert [command for command, _ in found] == [command for command, _ in expected]
    for (_, drawn), (_, meant) in zip(found, expected, strict=True):
        np.testing.assert_allclose(drawn, meant, atol=0.5 * 10**-decimals + 1e-9)


@given(paths())
def test_closed_paths_stay_closed(data):
    assert shortened(data, 1).count("z") == data.count("z")


def test_a_long_curve_takes_half_the_characters():
    x = np.linspace(0, 400, 200)
    data = "M " + " L ".join(f"{a:.2f} {b:.2f}" for a, b in zip(x, 100 + 50 * np.sin(x / 40), strict=True))
    assert len(shortened(data, 1)) < len(data) / 2


def circle(x, y, r, squeeze=1.0):
    points = [
        " ".join(f"{x + r * px:.6f} {y + r * squeeze * py:.6f}" for px, py in vertices.reshape(-1, 2))
        for vertices, code in Path.unit_circle().iter_segments()
        if code != Path.CLOSEPOLY
    ]
    return f"M {points[0]} " + " ".join(f"C {point}" for point in points[1:]) + " z"


@pytest.mark.parametrize("drawn", [(0, 0, 3), (120.5, 33.25, 0.7), (-4, 300, 80)])
def test_a_circle_is_recognised(drawn):
    np.testing.assert_allclose(as_circle(circle(*drawn)), drawn, atol=1e-4)


@pytest.mark.parametrize("data", [circle(0, 0, 3, squeeze=1.1), "M 0 0 L 1 1", "M 0 0 C 1 1 2 2 3 3 z"])
def test_nothing_else_is_a_circle(data):
    assert as_circle(data) is None


def test_commands_that_matplotlib_does_not_write_are_refused():
    with pytest.raises(ValueError, match="'A'"):
        segments("M 0 0 A 1 1")
