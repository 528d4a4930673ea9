"""Figures beside the paper say in words what they show, and compute it."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from l2rw_core.experiments import Interval, Recorded, Results, fit, grid, reported_numbers
from l2rw_core.figures.comparison import (
    _dots,
    beside_the_paper,
    confusions,
    table_beside_the_paper,
    weight_histograms,
)
from l2rw_core.figures.curves import accuracy_against_time, accuracy_curves
from l2rw_core.figures.style import figure

TABLE_2 = Results.load("table2")


@pytest.fixture(scope="module")
def live():
    """A short run of each kind on the embedded digits."""
    cells = {cell.row: cell.experiment for cell in grid("table2", "quick").cells}
    short = {"steps": 200, "lr_drops": (150,), "evaluate_every": 50}
    runs = {row: cells[row].with_(**short) for row in ("baseline", "l2rw")}
    runs["baseline+ft"] = runs["baseline"].with_(fine_tune_steps=100)
    return {row: fit(run, progress=False) for row, run in runs.items()}


def test_the_rank_correlation_is_that_of_the_numbers_shown():
    drawing = beside_the_paper(TABLE_2, ["fashion_mnist"])
    reported = reported_numbers()
    pairs = [
        (reported["table2", cell.row, "cifar10"].mean, result.last.mean)
        for cell, result in TABLE_2.items(data="fashion_mnist")
        if ("table2", cell.row, "cifar10") in reported
    ]
    expected = stats.spearmanr(*np.transpose(pairs)).statistic
    assert f"the order of {len(pairs)} methods agrees with the paper's with a rank correlation of {expected:.2f}" in (
        drawing.alt
    )


def test_without_records_the_paper_stands_alone():
    drawing = beside_the_paper(Results(grid("table1", "reduced"), Recorded([])), ["mnist"])
    assert "too few rows were run" in drawing.alt


def test_confusions_name_the_class_that_draws_the_errors(live):
    drawing = confusions({"baseline": [live["baseline"]]})
    counts = np.array(live["baseline"].confusion)
    shares = counts / counts.sum(1, keepdims=True)
    np.fill_diagonal(shares, 0)
    sink = int(shares.sum(0).argmax())
    share = shares.sum(0)[sink] / shares.sum()
    assert f"Plain training: {share:.0%} of the errors are taken for class {sink}" in drawing.alt


def test_confusions_call_that_class_by_its_name(live):
    names = [f"name {k}" for k in range(10)]
    alone, named = (confusions({"l2rw": [live["l2rw"]]}, classes=classes).caption for classes in (None, names))
    (sink,) = (k for k in range(10) if alone.endswith(f"for class {k}."))
    assert named == f"{alone[:-1]}, name {sink}."


def test_names_stand_above_their_rows_and_a_phone_need_not_scroll():
    drawing = beside_the_paper(TABLE_2, ["fashion_mnist", "mnist"])
    assert float(re.search(r"min-width:(\d+)px", drawing.svg)[1]) <= 358
    assert "S-model + confusions + early stop + fine-tuning" in drawing.svg


def test_confusions_are_those_before_fine_tuning(live):
    tuned, plain = live["baseline+ft"], live["baseline"]
    assert confusions({"x": [tuned]}).alt == confusions({"x": [plain]}).alt
    assert tuned.confusion != plain.confusion


def test_histograms_show_the_share_without_weight(live):
    counts = live["l2rw"].weight_histograms["midway"]
    wrong, right = (counts[kind][0] / sum(counts[kind]) for kind in ("wrong", "right"))
    drawing = weight_histograms([live["l2rw"]])
    assert drawing.alt == f"Weight 0 for {wrong:.0%} of the wrong labels and {right:.0%} of the right ones."


def test_histograms_of_held_out_images_are_those_of_figure_3(live):
    record = live["l2rw"]
    late = record.weight_histograms["late"]
    held_out = {"edges": record.weight_histograms["edges"], "random": late, "one_class": None}
    unseen = replace(record, held_out_weights=held_out)
    assert weight_histograms([unseen], "random").alt == weight_histograms([record], "late").alt
    assert "is called one_class" in weight_histograms([unseen], "one_class").alt
    assert "is called random" in weight_histograms([record], "random").alt


def test_accuracy_curves_mark_the_drops_and_tell_accuracies(live):
    drawing = accuracy_curves({"l2rw": [live["l2rw"]]})
    assert f"L2RW {live['l2rw'].last:.1%}" in drawing.alt
    record = live["l2rw"]
    undropped = replace(record, experiment=record.experiment.with_(lr_drops=()))
    assert (
        drawing.svg.count("stroke-dasharray")
        == accuracy_curves({"l2rw": [undropped]}).svg.count("stroke-dasharray") + 1
    )


def test_time_is_that_of_training_steps(live):
    record = live["l2rw"]
    drawing = accuracy_against_time({"l2rw": [record]})
    assert f"after {record.training_seconds:.2g} s" in drawing.alt
    with pytest.raises(ValueError, match="does not say how long"):
        accuracy_against_time({"l2rw": [replace(record, training_seconds=None)]})


def test_bars_end_where_an_accuracy_does():
    _, ax = figure()
    values = {"a": Interval(83.0, 49.0, 2), "b": Interval(10.0, 30.0, 2), "c": Interval(50.0, 5.0, 3)}
    values["d"] = Interval(60.0, float("nan"), 1)
    _dots(ax, list(values), values, "neutral")
    bars = [container.lines[2][0].get_segments()[0][:, 0].tolist() for container in ax.containers]
    assert bars == [[34, 100], [0, 40], [45, 55], [60, 60]]


def test_a_table_sets_the_paper_beside_our_last_and_best():
    table = table_beside_the_paper(TABLE_2, ["fashion_mnist", "mnist"])
    assert list(table.columns) == [
        "method", "sees clean labels", "CIFAR-10, paper", "Fashion-MNIST, last", "best", "MNIST, last", "best"
    ]  # fmt: skip
    assert [row[0] for row in table.rows] == TABLE_2.rows
    by_name = {row[0]: row for row in table.rows}
    ours = TABLE_2.cell("l2rw", data="mnist")
    assert by_name["l2rw"][2] == reported_numbers()["table2", "l2rw", "cifar10"]
    assert [entry.value.mean for entry in by_name["l2rw"][5:]] == [ours.last.mean, ours.best.mean]
    without = [row for row in TABLE_2.rows if ("table2", row, "cifar10") not in reported_numbers()]
    assert {by_name[row][2] for row in without} == {""}
    assert "reduced runs" in table.caption
