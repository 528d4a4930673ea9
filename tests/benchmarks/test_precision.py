"""What is said of bfloat16 is measured on the same parameters and batches."""

import pytest
from small_runs import SMALL

from benchmarks.precision import times, weights

RESIDUAL = SMALL.with_(
    method="l2rw", model="resnet14", steps=4, hold_out=100, statistics_batches=1, augment=True, lr=0.05
)


def test_bfloat16_is_nearer_to_float32_than_other_clean_images_are():
    lines = list(weights(RESIDUAL, (0, 2)))
    distance = {(line["step"], line["case"]): line["distance"] for line in lines}
    assert [step for step, _ in distance] == [0, 0, 2, 2]
    for step in (0, 2):
        assert 0 < distance[step, "weights, bfloat16"] < 0.5 * distance[step, "weights, other clean images"] < 1


def test_times_are_beside_the_count():
    lines = times(RESIDUAL, rounds=2)
    assert [(line["method"], line["precision"]) for line in lines] == [
        ("baseline", "float32"),
        ("l2rw", "float32"),
        ("baseline", "bfloat16"),
        ("l2rw", "bfloat16"),
    ]
    for line in lines:
        assert len(line["ratios"]) == 2
        assert line["seconds"] > 0
        assert line["bound"] == pytest.approx(1.0 if line["method"] == "baseline" else 8 / 3)
    assert lines[0]["ratios"] == lines[2]["ratios"] == [1.0, 1.0]
