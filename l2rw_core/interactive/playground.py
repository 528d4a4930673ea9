"""L2RW in the reader's browser: it trains in JavaScript; a widget where there is a kernel, plain HTML on a page."""

from __future__ import annotations

import html
import json
import math
import re
from pathlib import Path
from typing import Any

import anywidget
import traitlets

RANGES: dict[str, tuple[float, float]] = {
    "noise": (0, 0.9),
    "imbalance": (1, 50),
    "clean_size": (2, 40),
    "learning_rate": (0.01, 10),
    "seed": (0, 9999),
    "n": (20, 400),
}
"""Setting -> its least and greatest value; `playground.js` has the same."""

MODELS = ("logistic", "mlp")
"""Logistic regression, and a network of one hidden layer with 8 tanh units."""

DATA = ("clouds", "rings")
"""Two round clouds side by side, or a ring of common points around a disc of rare ones."""

_NAME = r"[A-Za-z][A-Za-z0-9-]*"
_SCRIPT = Path(__file__).with_name("playground.js")
_TRAITS = ("name", *RANGES, "model", "data")
# As tall as the playground will be, so that nothing moves when it appears: sliders beside, two columns of pictures,
# the same with a long sentence, one column.
_PLACE = """<style>
.l2rw-playground-place { container-type: inline-size; }
.l2rw-playground-host { min-height: 765px; }
@container (max-width: 859px) { .l2rw-playground-host { min-height: 1050px; } }
@container (max-width: 639px) { .l2rw-playground-host { min-height: 1320px; } }
@container (max-width: 555px) { .l2rw-playground-host { min-height: calc(1300px + 228cqw); } }
</style>"""


class Playground(anywidget.AnyWidget):
    """L2RW beside plain training and training on the clean points alone, on two classes of points in the plane.

        Playground(noise=0.5, imbalance=5)

    The reader paints wrong labels and lets all three run. All arithmetic happens in the browser, in double precision,
    and agrees with `l2rw_core`. The figure opens after 100 steps on clouds, and after 200 on rings. On a published page
    what the reader changes is kept in the address, under the playground's name.

    Attributes:
        name: key in the address of a published page; two playgrounds of one page need two names.
        noise: share of the rare class (triangles) whose label says the common class (circles).
        imbalance: points of the common class to one of the rare class.
        clean_size: number of clean points, half of them of each class.
        learning_rate: of every method.
        model: `"logistic"` or `"mlp"`.
        data: `"clouds"`, which a few clean points outline, or `"rings"`, which they do not.
        seed: of points, initial parameters and batches. The one given shows a gain in the middle of those of ten seeds.
        n: number of training points.

    Raises:
        traitlets.TraitError: a setting is out of its range; the message names the range.
    """

    _esm = _SCRIPT

    name = traitlets.Unicode("playground").tag(sync=True)
    noise = traitlets.Float(0.5).tag(sync=True)
    imbalance = traitlets.Float(5.0).tag(sync=True)
    clean_size = traitlets.Int(20).tag(sync=True)
    learning_rate = traitlets.Float(0.5).tag(sync=True)
    model = traitlets.Unicode("logistic").tag(sync=True)
    data = traitlets.Unicode("clouds").tag(sync=True)
    seed = traitlets.Int(3).tag(sync=True)
    n = traitlets.Int(200).tag(sync=True)

    @traitlets.validate(*RANGES)
    def _check_range(self, proposal: Any) -> float:
        low, high = RANGES[proposal.trait.name]
        if not (math.isfinite(proposal.value) and low <= proposal.value <= high):
            raise traitlets.TraitError(f"{proposal.trait.name} must be from {low} to {high}, got {proposal.value!r}")
        return proposal.value

    @traitlets.validate("model", "data")
    def _check_choice(self, proposal: Any) -> str:
        choices = MODELS if proposal.trait.name == "model" else DATA
        if proposal.value not in choices:
            wanted = " or ".join(map(repr, choices))
            raise traitlets.TraitError(f"{proposal.trait.name} must be {wanted}, got {proposal.value!r}")
        return proposal.value

    @traitlets.validate("name")
    def _check_name(self, proposal: Any) -> str:
        if not re.fullmatch(_NAME, proposal.value):
            raise traitlets.TraitError(
                f"name must be letters, digits and hyphens, a letter first, since it becomes part of the page's "
                f"address; got {proposal.value!r}"
            )
        return proposal.value

    @property
    def html(self) -> str:
        """The playground without a kernel: its settings, and the module that makes a playground of them."""
        settings = html.escape(json.dumps({name: getattr(self, name) for name in _TRAITS}))
        return (
            f'<div class="l2rw-playground-place" id="explore-{self.name}">{_PLACE}'
            f'<div class="l2rw-playground-host" data-settings="{settings}"></div></div>'
            f'<script type="module">\n{_SCRIPT.read_text()}</script>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both views: who shows it takes the widget where there is a kernel, and the HTML where there is none."""
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/html": self.html}, metadata
