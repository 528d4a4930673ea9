"""CIFAR-10 at a quarter of the paper's schedule: what is said before, between and after the runs."""

from dataclasses import replace

import pytest

from l2rw_core.experiments import Curve, Recorded, Results, fit, grid, reported_numbers
from l2rw_core.report.quarter import (
    WHAT_IT_TELLS,
    few_clean_images_in_words,
    figure_3_in_words,
    noise_table,
    precision_in_words,
    quarter_in_words,
    quarter_table,
    statistics_in_words,
)

QUARTER = grid("table2", "quarter")


@pytest.fixture(scope="module")
def template():
    small = grid("table2", "quick").cells[0].embedded.experiment
    return fit(small.with_(steps=2, lr_drops=(), evaluate_every=1), progress=False)


def results(template, of=QUARTER, place=None, **accuracies):
    """Trials of rows, each with its accuracy after 15,000 steps, at the end of training and after fine-tuning."""
    cells = {cell.row: cell for cell in of.cells if (place or {}).items() <= cell.place.items()}
    records = []
    for row, ends in accuracies.items():
        for seed, (stopped, end, tuned) in enumerate(ends):
            e = cells[row].trial(seed)
            curve = Curve()
            for step, accuracy in {0: 10.0, 15_000: stopped, e.steps: end, e.all_steps: tuned}.items():
                curve.add(step, accuracy=accuracy / 100)
            records.append(replace(template, experiment=e, curve=curve))
    return Results(of, Recorded(records))


def together(one, other):
    """The results of both."""
    parts = [(part, cell) for part in (one, other) for cell in part.grid.cells]
    return Results(one.grid, Recorded([record for part, cell in parts for record in part.recorded.trials(cell)]))


def test_nothing_is_on_record(template):
    nothing = results(template)
    missing = "plain training, random weights, plain training + fine-tuning, L2RW"
    assert f"{quarter_in_words(nothing)!r}" == f"Not run yet: {missing}. {WHAT_IT_TELLS}"
    rows = {line[0]: line[1:] for line in quarter_table(nothing).rows}
    assert rows["l2rw"][2:] == ["not run", "", ""]
    assert {"baseline", "baseline+ft", "baseline+es+ft", "random", "l2rw", "proportion", "clean-only"} <= rows.keys()
    assert "reed-hard+es" not in rows, "a row that no run is planned for"


def test_one_trial_of_plain_training_and_of_l2rw(template):
    some = results(template, **{"baseline+ft": [(60, 50, 70)], "l2rw": [(80, 79, 79)]})
    reported = {row: reported_numbers()["table2", row, "cifar10"].mean for row in ("baseline", "baseline+ft", "l2rw")}
    words = repr(quarter_in_words(some))
    assert words.startswith(
        f"Plain training: 50.0% after the last step; in the paper {reported['baseline']:.1f}%. "
        f"Plain training + fine-tuning: 70.0% after the last step; in the paper {reported['baseline+ft']:.1f}%. "
        f"L2RW: 79.0% after the last step; in the paper {reported['l2rw']:.1f}%. "
        f"L2RW minus plain training: +29.0 points; in the paper +{reported['l2rw'] - reported['baseline']:.1f}. "
        f"L2RW minus plain training + fine-tuning: +9.0 points; "
        f"in the paper +{reported['l2rw'] - reported['baseline+ft']:.1f}. Not run yet: random weights. "
    )
    rows = {line[0]: [str(entry) for entry in line[3:]] for line in quarter_table(some).rows}
    assert rows["baseline"] == ["50.0%", "60.0%", "1"]
    assert rows["baseline+ft"] == ["70.0%", "70.0%", "1"]
    assert rows["l2rw"] == ["79.0%", "80.0%", "1"]
    assert rows["random"] == ["not run", "", ""]


def test_the_lead_is_over_the_seeds_that_both_have(template):
    more = results(
        template, **{"baseline+ft": [(60, 50, 70), (60, 49.8, 70), (60, 10, 70)], "l2rw": [(80, 79, 79)] * 2}
    )
    assert "L2RW minus plain training: +29.1 ± 1.3 points" in repr(quarter_in_words(more))
    assert "Not run yet: random weights." in repr(quarter_in_words(more))


def test_trials_of_other_seeds_give_no_lead(template):
    one = results(template, **{"baseline+ft": [(60, 50, 70)]})
    other = results(template, l2rw=[(80, 79, 79), (80, 78, 78)])
    second = [record for record in other.recorded.trials(other.cells("l2rw")[0]) if record.experiment.seed == 1]
    apart = Results(QUARTER, Recorded([*one.cell("baseline").records, *second]))
    assert "minus plain training" not in repr(quarter_in_words(apart))


def test_the_table_by_flips_tells_what_is_run_from_what_is_planned_and_what_is_not(template):
    flips = grid("fig5", "quarter")
    usual = results(template, flips, {"noise": 0.4}, baseline=[(60, 50, 50)], l2rw=[(80, 79, 79)])
    none = results(template, flips, {"noise": 0.0}, l2rw=[(91, 90, 90)])
    table = noise_table(together(usual, none))
    assert list(table.columns) == ["method", "0% flips", "40% flips", "50% flips"]
    assert {line[0]: [str(entry) for entry in line[1:]] for line in table.rows} == {
        "baseline+ft": ["", "not run", ""],
        "baseline": ["not run", "50.0%", "not run"],
        "random": ["", "not run", ""],
        "l2rw": ["90.0%", "79.0%", "not run"],
    }
    assert table.caption.endswith("of 100 images. Empty: no run is planned.")


def test_fewer_clean_images_are_set_beside_a_hundred(template):
    sizes = grid("fig4", "quarter")
    usual = results(template, sizes, {"clean": 100}, l2rw=[(80, 79, 79)])
    few = results(template, sizes, {"clean": 15}, l2rw=[(80, 76.5, 76.5)])
    assert repr(few_clean_images_in_words(together(usual, few))) == (
        "L2RW with 100 clean images ends at 79.0%. With 15 it ends at 76.5%: \N{MINUS SIGN}2.5 points. " + WHAT_IT_TELLS
    )
    assert repr(few_clean_images_in_words(few)) == f"With 15 it ends at 76.5%. {WHAT_IT_TELLS}"
    later = results(template, sizes, {"clean": 15}, l2rw=[(80, 77, 77)] * 2).cell("l2rw", clean=15).records
    apart = Results(sizes, Recorded([*usual.cell("l2rw", clean=100).records, later[1]]))
    assert "With 15 it ends at 77.0%. A quarter" in repr(few_clean_images_in_words(apart)), "no seed is on both sides"
    assert "ends at 79.0%. Not run yet: L2RW with 15 clean images. A quarter" in repr(few_clean_images_in_words(usual))


def test_figure_3_counts_images_that_were_held_out(template):
    counts = {
        "edges": [0, 0.5],
        "random": {"right": [10, 0, 30], "wrong": [30, 10, 0]},
        "one_class": {"right": [0, 5, 5], "wrong": [9, 1, 0]},
    }
    ran = results(template, l2rw=[(80, 79, 79)] * 2).cell("l2rw")
    weighed = replace(ran, records=tuple(replace(record, held_out_weights=counts) for record in ran.records))
    words = repr(figure_3_in_words(weighed))
    assert "2 trials. In batches as they come, weight zero goes to 75% of the wrong labels and to 25% of" in words
    assert words.endswith("In batches of one class it goes to 90% and to 0%.")
    assert repr(figure_3_in_words(None)).startswith("Not run yet: ")


def test_precision_is_what_the_records_say():
    recorded = Results.load("precision", "quarter")
    apart = {}
    for row in ("baseline", "l2rw"):
        half, full = (recorded.cell(row, precision=kind).by_seed()[0] for kind in ("bfloat16", "float32"))
        apart[row] = f"{half - full:+.1f}".replace("-", "\N{MINUS SIGN}")
    assert repr(precision_in_words(recorded)) == (
        f"Training is in bfloat16. After 2,000 steps it ends {apart['baseline']} points above float32 with plain "
        f"training, and {apart['l2rw']} with L2RW."
    )
    nothing = Results(recorded.grid, Recorded([]))
    assert repr(precision_in_words(nothing)).count("(not run)") == 2


@pytest.mark.parametrize(
    ("re_estimated", "says"),
    [
        ([60, 70, 55, 66, 60], "So most of the zigzag is the training's own, but statistics that lag behind lower the"),
        ([30, 40, 25, 36, 30], "So most of the zigzag is the training's own."),
        ([60, 61, 60, 61, 60], "So most of the zigzag comes from statistics that lag behind."),
    ],
)
def test_what_statistics_that_lag_behind_change(template, re_estimated, says):
    of = grid("statistics", "reduced")
    records = []
    for cell, accuracies in zip(of.cells, ([40, 30, 45, 25, 35], re_estimated), strict=True):
        e, curve = cell.trial(0), Curve()
        for step, accuracy in zip(range(0, e.steps + 1, 1000), [1] * 6 + accuracies + [90] * 10, strict=True):
            curve.add(step, accuracy=accuracy / 100)
        records.append(replace(template, experiment=e, curve=curve))
    words = repr(statistics_in_words(Results(of, Recorded(records))))
    assert words.startswith(
        "Between steps 5,000 and 10,000, before the rate first drops, plain training is right on 35.0%"
    )
    assert "on 25.0% at worst by running statistics of training, and moves by 13.8 points from one" in words
    mean, least = sum(re_estimated) / 5, min(re_estimated)
    assert f"; it is right on {mean:.1f}% of the test images on average and on {least:.1f}% at worst" in words
    assert says in words
    one = Results(of, Recorded(records[:1]))
    assert repr(statistics_in_words(one)) == "Not run yet: plain training by running statistics re-estimated."
