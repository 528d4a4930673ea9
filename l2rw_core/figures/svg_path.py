"""Path data in few characters: relative steps of a fixed precision, and circles recognised as circles."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

_TOKEN = re.compile(r"[A-Za-z]|-?\d*\.?\d+(?:e-?\d+)?")
_POINTS = {"M": 1, "L": 1, "Q": 2, "C": 3}


class Circle(NamedTuple):
    """Centre and radius, in the units of the path."""

    x: float
    y: float
    r: float


def segments(data: str) -> list[tuple[str, np.ndarray]]:
    """Split path data into its commands.

    Args:
        data: absolute commands of the kinds M, L, Q, C and Z, as matplotlib writes them.

    Returns:
        Pairs of a command and its points, of shape (points of the command, 2); a closing Z has none.

    Raises:
        ValueError: for any other command.
    """
    result: list[tuple[str, np.ndarray]] = []
    for command, numbers in re.findall(r"([A-Za-z])([^A-DF-Za-df-z]*)", data):
        points = np.array(_TOKEN.findall(numbers), dtype=float).reshape(-1, 2)
        if command in "Zz":
            result.append(("z", points))
        elif len(points) % (size := _POINTS.get(command, 0) or 1) == 0 and command in _POINTS:
            result += [(command, part) for part in np.split(points, len(points) // size)]
        else:
            raise ValueError(f"path command {command!r} is not one that matplotlib writes")
    return result


def shortened(data: str, decimals: int) -> str:
    """The same path in relative steps. Every point is rounded where it lies, so errors do not add up.

    Args:
        data: as for `segments`.
        decimals: of every coordinate.
    """
    unit = 10**decimals
    path, last, at, start = "", "", np.zeros(2, dtype=int), np.zeros(2, dtype=int)
    for command, points in segments(data):
        places = np.rint(points * unit).astype(int)
        if command == "z":
            path, at = path + "z", start
        else:
            name = "M" if command == "M" and not path else command.lower()
            steps = [_number(step, unit) for step in (places - (0 if name == "M" else at)).ravel()]
            repeats = name == last and name != "m"
            path += _joined(([] if repeats else [name]) + steps, path[-1:])
            at = places[-1]
            start = at if command == "M" else start
            command = name
        last = command
    return path


def as_circle(data: str) -> Circle | None:
    """The circle that a path draws: matplotlib's, of eight curves; None for any other path."""
    parts = segments(data)
    if [command for command, _ in parts] != ["M", *"CCCCCCCC", "z"]:
        return None
    corners = np.array([points[-1] for _, points in parts[:-1]])
    centre = (corners.max(0) + corners.min(0)) / 2
    radius = np.linalg.norm(corners[0] - centre)
    round_ = np.allclose(np.linalg.norm(corners - centre, axis=1), radius, rtol=0.005)
    even = np.allclose(np.linalg.norm(np.diff(corners, axis=0), axis=1), 2 * radius * np.sin(np.pi / 8), rtol=0.02)
    if not (round_ and even):
        return None
    return Circle(float(centre[0]), float(centre[1]), float(radius))


def _number(value: int, unit: int) -> str:
    text = f"{value / unit:.{len(str(unit)) - 1}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return re.sub(r"^(-?)0(?=\.)", r"\1", text) if text != "-0" else "0"


def _joined(parts: list[str], before: str) -> str:
    """Numbers need a space between them, unless a sign or a letter separates them."""
    text = ""
    for part in parts:
        tight = part[0] == "-" or part.isalpha() or (text or before)[-1:].isalpha() or not (text or before)
        text += part if tight else f" {part}"
    return text
