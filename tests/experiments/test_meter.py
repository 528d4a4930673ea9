"""What is recorded about weights is what they were."""

import pytest
import torch

from l2rw_core.experiments.meter import EDGES, WeightMeter

LABELS = torch.tensor([0, 0, 1, 1])
FLIPPED = torch.tensor([False, True, False, False])


def test_averages_are_of_shares_of_the_weight():
    meter = WeightMeter(LABELS, FLIPPED, 2, 10)
    meter.add(torch.tensor([0, 1]), torch.tensor([0.75, 0.25]), 0)
    meter.add(torch.tensor([2, 3]), torch.tensor([0.1, 0.1]), 1)  # weights that do not sum to 1
    meter.add(torch.tensor([1, 2]), torch.tensor([0.0, 0.0]), 2)
    found = meter.read()
    assert found["idle_steps"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["effective_examples"] == pytest.approx((1 / (0.75**2 + 0.25**2) + 2 + 0) / 3, abs=1e-3)
    assert found["weight_by_class"] == [pytest.approx(1 / 3, abs=1e-4)] * 2
    assert found["weight_on_flipped"] == pytest.approx(0.25 / 3, abs=1e-4)
    assert meter.read() == {}


def test_histograms_count_each_example_once_in_its_window():
    meter = WeightMeter(LABELS, FLIPPED, 2, 10)
    meter.add(torch.tensor([0, 1, 2]), torch.tensor([1.0, 0.0, 0.0]), 3)  # before the first window
    meter.add(torch.tensor([0, 1, 2]), torch.tensor([0.9, 0.0, 0.1]), 4)
    meter.add(torch.tensor([3]), torch.tensor([1.0]), 9)
    found = meter.histograms()
    bins = len(EDGES) + 1
    midway = {"right": [0] * bins, "wrong": [0] * bins}
    midway["wrong"][0] = 1  # exactly 0
    midway["right"][2] = 1  # 3 x 0.1: up to 0.3
    midway["right"][4] = 1  # 3 x 0.9: up to 3
    assert found["midway"] == midway
    assert sum(found["late"]["right"]) == 1
    assert WeightMeter(LABELS, FLIPPED, 2, 10).histograms() is None
