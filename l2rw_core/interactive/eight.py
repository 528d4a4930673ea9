"""Eight training points and two clean ones, to be dragged: what the loss says of each, and what L2RW says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import float64, nn, tensor

from l2rw_core.figures.style import COLOURS, Drawing, figure, show
from l2rw_core.scoring import alignment
from l2rw_core.weights import to_weights

_SCRIPT = Path(__file__).with_name("eight.js")
_STYLE = Path(__file__).with_name("eight.css")

BIAS = 2.0
"""The model's output everywhere: it answers 1, with a probability of 0.88."""

SIX = (0.5, 0.7, 0.9, 1.1, 1.3, 1.5)
"""Inputs of the six examples with label 1, which is right."""

RARE, WRONG = -1.0, 1.0
"""Inputs of the two examples with label 0: A, the only one of a rare class, and B, whose label is wrong."""


@dataclass(frozen=True)
class EightPoints:
    """A board on which readers drag ten points; a notebook shows it when it is the last value of a cell.

    Attributes:
        drawing: the first picture, which stands where no script runs.
    """

    drawing: Drawing

    @property
    def html(self) -> str:
        """The first picture, the points, and the script that makes a board of them."""
        return (
            f'<div class="l2rw-eight"><style>{_STYLE.read_text()}</style>'
            f'<script type="application/json">{json.dumps(opening())}</script>'
            f'<div class="first">{self.drawing.html}</div></div>'
            f'<script type="module">\n{_SCRIPT.read_text()}</script>'
        )

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"[Eight points to drag: {self.drawing.alt}]"


def opening() -> dict[str, Any]:
    """The points before anybody moves one: places, labels, and names of two."""
    training: list[dict[str, Any]] = [{"x": x, "label": 1} for x in SIX]
    training += [{"x": RARE, "label": 0, "name": "A"}, {"x": WRONG, "label": 0, "name": "B"}]
    return {"training": training, "clean": [{"x": -1.0, "label": 0}, {"x": 1.0, "label": 1}], "bias": BIAS}


def eight_points() -> EightPoints:
    """Return the board; its first picture has losses and weights from `l2rw_core` itself."""
    losses, weights = _scored()
    told = (
        f"Loss {losses[6]:.2f} of the rare example A and {losses[7]:.2f} of the wrong one B; "
        f"weight {weights[6]:.2f} and {weights[7]:.2f}."
    )
    fig, axes = figure(ncols=2, height=2.8)
    colours = [COLOURS[role] for role in (*["majority"] * 6, "minority", "noisy")]
    for ax, values, name in ((axes[0], losses, "loss"), (axes[1], weights, "weight by L2RW")):
        ax.bar(range(8), values, color=colours, hatch=[*[""] * 7, "///"])
        ax.set_xticks([2.5, 6, 7], ["six right", "A", "B"])
        ax.set_ylabel(name)
    return EightPoints(show(fig, alt=f"Bars for eight examples. {told}", caption=told))


def _scored() -> tuple[list[float], list[float]]:
    """Losses and weights of the eight examples at the opening."""
    model = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)).double()
    nn.init.zeros_(model[0].weight)
    nn.init.constant_(model[0].bias, BIAS)
    training, clean = (
        tuple(tensor(column, dtype=float64) for column in ([[p["x"]] for p in points], [p["label"] for p in points]))
        for points in (opening()["training"], opening()["clean"])
    )
    losses, u = alignment(model, nn.BCEWithLogitsLoss(reduction="none"), training, clean)
    return losses.tolist(), to_weights(u).tolist()
