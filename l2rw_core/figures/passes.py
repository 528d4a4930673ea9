"""The three passes of a reweighted step, as a drawing."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from l2rw_core.figures.style import COLOURS, Drawing, figure, show

PASSES = (
    ("Clean batch, m examples: forward, backward", "v, the gradient of the clean loss", "minority"),
    ("Training batch, n examples: forward, slopes along v", "losses f and alignments u, so weights w", "l2rw"),
    ("The same graph of losses: backward from Σ w f", "the step of the optimizer", "baseline"),
)
"""What is done, what comes out, and whose colour it has."""


def three_passes() -> Drawing:
    """What each pass of the engine ``forward`` goes through, and what it hands to the next."""
    fig, ax = figure(height=3.8)
    ax.set(xlim=(0, 10), ylim=(0, 9))
    ax.axis("off")
    for k, (does, out, role) in enumerate(PASSES):
        top = 8.9 - 3 * k
        box = {"boxstyle": "round,pad=0.1", "facecolor": "none", "edgecolor": COLOURS[role], "linewidth": 2}
        ax.add_patch(FancyBboxPatch((0.15, top - 1.2), 9.7, 1.0, **box))
        ax.text(5, top - 0.7, does, ha="center", va="center")
        _arrow(ax, (1, top - 1.4), (1, top - 2.9))
        ax.text(1.6, top - 2.1, out, va="center")
    summary = "; ".join(f"{does}, which gives {out}" for does, out, _ in PASSES)
    return show(
        fig,
        alt=f"Three passes, one below the other. {summary}.",
        caption="One reweighted step by forward is three passes. The second goes through the training batch once and "
        "gives losses and alignments together.",
    )


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "lw": 1.5})
