"""The eight points: the page has the weights of l2rw_core, and computes its sentence from where the points are."""

import math
from pathlib import Path

import pytest
import torch
from in_node import in_node
from torch import nn

from l2rw_core import interactive, to_weights
from l2rw_core.interactive import eight_points
from l2rw_core.interactive.eight import BIAS, opening
from l2rw_core.scoring import alignment

SCRIPT = Path(interactive.__file__).with_name("eight.js")


@pytest.fixture(scope="module")
def node():
    return in_node(SCRIPT, "e")


def scored(training, clean):
    """Losses and weights by the package."""
    model = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)).double()
    nn.init.zeros_(model[0].weight)
    nn.init.constant_(model[0].bias, BIAS)
    batches = (
        [
            torch.tensor(column, dtype=torch.float64)
            for column in ([[p["x"]] for p in points], [p["label"] for p in points])
        ]
        for points in (training, clean)
    )
    losses, u = alignment(model, nn.BCEWithLogitsLoss(reduction="none"), *batches)
    return losses.tolist(), to_weights(u).tolist()


def moved(seed):
    """The ten points somewhere else, some with another label."""
    draw = torch.Generator().manual_seed(seed)
    points = opening()
    for point in (*points["training"], *points["clean"]):
        point["x"] = round(float(4 * torch.rand((), generator=draw) - 2), 1)
        point["label"] = int(torch.randint(2, (), generator=draw))
    return points


@pytest.mark.parametrize("points", [opening(), *map(moved, range(5))])
def test_weights_and_losses_are_those_of_the_package(node, points):
    losses, weights = scored(points["training"], points["clean"])
    assert node("e.weights(p.training, p.clean, p.bias)", p=points) == pytest.approx(weights, abs=1e-12)
    found = node("p.training.map((point) => e.loss(point.label, p.bias))", p=points)
    assert found == pytest.approx(losses, abs=1e-12)


def test_points_that_all_disagree_with_the_clean_ones_get_no_weight(node):
    points = opening()
    points["training"] = [{"x": 0.0, "label": 0, "name": "A"}, {"x": 0.0, "label": 0, "name": "B"}]
    points["clean"] = [{"x": 0.0, "label": 1}]
    assert node("e.weights(p.training, p.clean, p.bias)", p=points) == [0, 0]
    assert "no weight at all" in node("e.sentence(p)", p=points)


def test_at_the_opening_the_loss_is_the_same_and_the_weight_is_not(node):
    _, weights = scored(opening()["training"], opening()["clean"])
    told = node("e.sentence(p)", p=opening())
    assert told == (
        "A and B have the same loss, 2.13, so a rule that reads losses must give both the same weight. "
        f"L2RW gives A {math.floor(100 * weights[6] + 0.5)}% of the weight and B 0%."
    )
    assert weights[6] > 0.8
    assert weights[7] == 0


def test_another_label_makes_another_sentence(node):
    points = opening()
    points["training"][-1]["label"] = 1
    assert node("e.sentence(p)", p=points).startswith("A has loss 2.13 and B 0.13: now")


def test_keys_move_in_tenths_and_stop_at_the_ends(node):
    found = node("keys.map((key) => e.afterKey(key, 1.9))", keys=["ArrowRight", "ArrowLeft", "PageUp", "Home", "q"])
    assert found == [2, 1.8, 2, -2, None]


def test_without_its_script_the_page_shows_the_first_picture():
    shown = eight_points()
    before = shown.html[: shown.html.index('<script type="module">')]
    assert "<svg" in before
    assert "Loss 2.13 of the rare example A and 2.13 of the wrong one B; weight 0.88 and 0.00." in before


@pytest.mark.parametrize(
    ("x", "label", "wrong"),
    [(1.0, 0, True), (1.0, 1, False), (-0.1, 1, True), (-0.1, 0, False), (0.0, 0, False), (0.0, 1, False)],
)
def test_a_label_is_wrong_on_the_other_side_of_zero(node, x, label, wrong):
    assert node("e.isWrong(p)", p={"x": x, "label": label}) is wrong
