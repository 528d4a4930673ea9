"""What is said about training by approximate weights follows from the lines on record."""

import pytest

from l2rw_core.figures.approximations import (
    EXACT,
    TrainedAccuracy,
    accuracy_lost,
    approximation_table,
    approximations_in_words,
    at_chance,
    data_of,
    distance_of,
    title_of_variant,
    variants_of,
)
from l2rw_core.figures.benchmarks import load_benchmark

MACHINE = {"device": "CPU, made up", "threads": 1, "commit": "0123456789"}
MADE_UP = [
    {
        "started": "2026-01-01T00:00:00+00:00",
        "machine": MACHINE,
        "case": f"{data} {variant} {seed}",
        "variant": variant,
        "data": data,
        "steps": 2000,
        "seed": seed,
        "accuracy": accuracy + 0.01 * seed,
        "distance": distance + seed,
    }
    for data in ("mnist", "fashion_mnist")
    for seed in (0, 1, 2)
    for variant, accuracy, distance in (
        (EXACT, 0.90, 0.0),
        ("forward, every 5", 0.08, 1.0),
        ("difference", 0.88, 0.1),
    )
]


def test_variants_stand_in_order_under_names_for_a_reader():
    assert variants_of(MADE_UP) == [EXACT, "difference", "forward, every 5"]
    names = [title_of_variant(name) for name in variants_of(MADE_UP)]
    assert names == ["exact", "by difference", "clean gradient every 5 steps"]


def test_a_difference_is_taken_between_trials_with_the_same_seed():
    assert accuracy_lost(MADE_UP, "mnist", "difference") == pytest.approx([2, 2, 2])
    without = [line for line in MADE_UP if (line["variant"], line["seed"]) != (EXACT, 1)]
    assert len(accuracy_lost(without, "mnist", "difference")) == 2
    assert str(TrainedAccuracy(MADE_UP, "mnist", "difference", difference=True)) == "−2.0 ± 0.0"
    assert str(TrainedAccuracy(MADE_UP, "mnist", EXACT)).startswith("91.0 ± 2.5")
    assert distance_of(MADE_UP, "mnist", "difference") == pytest.approx(1.1)


def test_a_number_opens_its_trials():
    text = TrainedAccuracy(MADE_UP, "mnist", "difference").html
    assert "seed 0: 88.00, seed 1: 89.00, seed 2: 90.00" in text
    assert "python -m benchmarks.approximate --trials 3" in text


def test_the_table_has_a_row_a_variant_and_says_what_was_not_run():
    short = [line for line in MADE_UP if (line["data"], line["variant"]) != ("fashion_mnist", "difference")]
    table = approximation_table(short)
    assert [row[0] for row in table.rows] == ["exact", "by difference", "clean gradient every 5 steps"]
    assert [*table.rows[1]][4:] == ["not run"] * 3
    assert len(table.columns) == 7
    assert table.rows[0][2] == ""


def test_trials_that_have_not_learned_are_counted_in_place_of_a_mean():
    words = approximations_in_words(MADE_UP)
    assert "By difference: −2.0 ± 0.0 points on MNIST, −2.0 ± 0.0 points on Fashion-MNIST." in words
    assert "every 5 steps: 3 of 3 trials end at chance on MNIST, 3 of 3 trials" in words


def test_trials_far_apart_are_a_range():
    apart = [{**line, "accuracy": 0.1 if line["seed"] == 1 else line["accuracy"]} for line in MADE_UP]
    assert str(TrainedAccuracy(apart, "mnist", EXACT)) == "10.0 to 92.0%"
    assert at_chance(apart, "mnist", EXACT) == 1
    assert "By difference: 1 of 3 trials ends at chance on MNIST" in approximations_in_words(apart)


def test_what_is_on_record_compares_every_variant_on_two_data_sets():
    lines = load_benchmark("approximate")
    assert data_of(lines) == ["fashion_mnist", "mnist"]
    for data in data_of(lines):
        for variant in variants_of(lines):
            assert len(accuracy_lost(lines, data, variant)) >= 5
    assert all(distance_of(lines, data, EXACT) < 1e-6 for data in data_of(lines))
