"""A knob that is turned all the way back gives the exact weights."""

import pytest

from benchmarks.knobs import (
    WINDOW,
    Knob,
    Study,
    one_sided_difference,
    smaller_clean_batch,
    some_layers,
    stale_clean_gradient,
)

TURNED_BACK = (
    Knob("all clean examples", "", smaller_clean_batch(20)),
    Knob("every step", "", stale_clean_gradient(1)),
    Knob("all layers", "", some_layers("")),
    Knob("every second step", "", stale_clean_gradient(2)),
    Knob("output layer", "", some_layers("output.")),
    Knob("difference", "", one_sided_difference(0.001)),
)


@pytest.fixture(scope="module")
def study():
    return Study("digits", seed=0, n=20, clean_size=20, train_size=200)


@pytest.fixture(scope="module")
def errors(study):
    return study.errors(WINDOW + 2, 100, TURNED_BACK)


@pytest.mark.parametrize("name", ["all clean examples", "every step", "all layers"])
def test_turned_back_it_is_exact(errors, name):
    assert len(errors[name]["distances"]) == WINDOW
    assert max(errors[name]["distances"]) < 1e-3
    assert min(errors[name]["same_signs"]) > 0.99


def test_a_stale_gradient_is_wrong_only_while_it_is_stale(errors):
    distances = errors["every second step"]["distances"]
    assert max(distances[::2]) < 1e-3
    assert min(distances[1::2]) > 1e-3


def test_scores_of_one_layer_and_differences_are_off_by_what_they_leave_out(errors):
    assert min(errors["output layer"]["distances"]) > 0.01
    assert 0 < max(errors["difference"]["distances"]) < 0.3


def test_costs_are_in_plain_steps(study):
    costs = study.costs(1, TURNED_BACK[:1])
    assert costs["plain"] == {"ratios": [1.0], "memory_ratio": 1.0}
    assert set(costs) == {"plain", "exact", "all clean examples"}
