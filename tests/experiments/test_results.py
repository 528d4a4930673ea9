"""The records answer by row and place, and pair trials by their seed."""

from dataclasses import replace

import pytest
from small_runs import SMALL

from l2rw_core.experiments import (
    QUANTITIES,
    BySeed,
    Cell,
    Curve,
    NotRun,
    Recorded,
    Results,
    fit,
    grid,
    interval,
    quantity,
    reported_numbers,
)


@pytest.fixture(scope="module")
def template():
    """A record of a short run, whose experiment and accuracies are replaced."""
    return fit(SMALL.with_(steps=2, lr_drops=(), evaluate_every=1), progress=False)


@pytest.fixture(scope="module")
def results(template):
    """Figure 5 on the embedded digits: three rows, two trials at 40% flips and one without."""
    accuracies = {"baseline": 60.0, "baseline+ft": 70.0, "l2rw": 80.0}
    records = [
        record_of(template, cell, seed, accuracies[cell.row] + seed, seed)
        for cell in grid("fig5", "quick").cells
        if cell.row in ("baseline+ft", "l2rw")
        for seed in ((0, 1) if cell.place["noise"] == 0.4 else (0,))
    ]
    return Results(grid("fig5", "quick"), Recorded(records))


def record_of(template, cell, seed, last, before=0.0):
    """A trial of `cell` that ends at `last` percent, and has 50 and `before` more at the end of training."""
    e = cell.trial(seed)
    curve = Curve()
    for step, accuracy in {0: 10.0, e.steps: 50 + before, e.all_steps: last}.items():
        curve.add(step, accuracy=accuracy / 100)
    return replace(template, experiment=e, curve=curve)


def test_a_line_has_every_value_and_none_where_nothing_was_run(results):
    line = results.line("l2rw", "noise", data="digits")
    assert list(line) == results.values("noise") == [0.0, 0.4]
    assert [len(result.records) for result in line.values()] == [1, 2]
    empty = Results(results.grid, Recorded([]))
    assert empty.line("l2rw", "noise", data="digits") == {0.0: None, 0.4: None}
    assert results.cell("l2rw", data="digits", noise=0.4).last == line[0.4].last
    assert (results.on_record(data="digits"), results.on_record(data="digits", noise=0.4)) == (6, 3)


def test_all_rows_at_one_place(results):
    by_row = results.by_row(noise=0.4)
    assert list(by_row) == results.rows == ["baseline+ft", "baseline", "random", "l2rw"]
    assert by_row["random"] is None
    assert by_row["l2rw"] == results.cell("l2rw", noise=0.4)
    assert [(cell.row, result) for cell, result in results.items(noise=0.4)] == [*by_row.items()]


def test_a_cell_reads_a_longer_run_before_its_fine_tuning(results):
    assert results.cell("baseline+ft", noise=0.4).of_trials() == pytest.approx([70, 71])
    assert results.cell("baseline", noise=0.4).of_trials() == pytest.approx([50, 51])


def test_differences_are_taken_seed_by_seed(results):
    ours, tuned = (results.cell(row, noise=0.4) for row in ("l2rw", "baseline+ft"))
    alone = replace(tuned, records=tuned.records[1:])
    assert ours.by_seed() - alone.by_seed() == pytest.approx({1: 10.0})
    difference = results.difference("l2rw", "baseline", noise=0.4)
    assert difference == pytest.approx({0: 30.0, 1: 30.0})
    assert difference.interval == pytest.approx(interval([30.0, 30.0]))
    assert results.difference("l2rw", "baseline", "error", noise=0.4) == pytest.approx({0: -30.0, 1: -30.0})
    with pytest.raises(NotRun, match="no record of random"):
        results.difference("l2rw", "random", noise=0.4)
    with pytest.raises(NotRun, match="1 of at least 2 trials"):
        results.difference("l2rw", "baseline", noise=0.0).interval  # noqa: B018


def test_shares_of_trials_do_not_depend_on_how_many_there_are():
    few, many = BySeed({0: -1.0, 1: 2.0}), BySeed({seed: -1.0 if seed % 2 else 2.0 for seed in range(10)})
    assert few.share_above(0) == many.share_above(0) == 0.5
    assert (2 * few).share_above(3) == 0.5
    assert few.share_above(2.0) == 0, "a trial at the limit is not above it"
    with pytest.raises(NotRun):
        BySeed().share_above(0)


def test_quantities_say_which_way_is_better(results):
    result = results.cell("l2rw", noise=0.4)
    assert set(QUANTITIES) == {"last", "best", "error"}
    assert result.error.mean == pytest.approx(100 - result.last.mean)
    assert result.interval("best") == result.best
    for name, kind in QUANTITIES.items():
        assert kind.higher_is_better == (result.interval(name).mean > 50), name
    with pytest.raises(ValueError, match="unknown kind of number 'loss'; choose one of last, best, error"):
        quantity("loss")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.line("l2rv", "noise", data="digits"), "no row 'l2rv' along 'noise'"),
        (lambda r: r.line("l2rw", "clean", data="digits"), "along 'clean'"),
        (lambda r: r.line("l2rw", "data"), "several cells of l2rw at data digits: say also noise"),
        (lambda r: r.cell("l2rw"), "several cells of l2rw: say also noise"),
        (lambda r: r.cell("l2rw", data="digits", noise=0.3), r"no noise 0.3; choose one of \[0.0, 0.4\]"),
        (lambda r: r.cell("l2rv", noise=0.4), "no row 'l2rv'; choose one of baseline"),
    ],
)
def test_places_that_there_are_not(results, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(results)


def test_the_records_of_a_grid_are_those_of_all_its_files():
    """Figure 4 shares a run with Table 2."""
    results = Results.load("fig4")
    files = {record.experiment.name for _, result in results.items("l2rw") if result for record in result.records}
    assert files == {"fig4", "table2"}


def test_a_place_is_the_column_by_name():
    cell = Cell("l2rw", (("data", "mnist"), ("clean noise", 0.1)), SMALL)
    assert cell.place == {"data": "mnist", "clean noise": 0.1}
    with pytest.raises(TypeError):
        cell.place["data"] = "cifar10"


def test_the_papers_numbers_are_in_percent():
    reported = reported_numbers()
    assert reported["table2", "l2rw", "cifar10"].trials == 5
    assert all(50 > value.half_width >= 0 or value.half_width != value.half_width for value in reported.values())
    assert all(0 < value.mean < 100 for value in reported.values())


def test_a_record_with_fine_tuning_answers_for_the_run_without(tmp_path):
    tuned = SMALL.with_(fine_tune_steps=4)
    record, plain = fit(tuned, progress=False), fit(SMALL, progress=False)
    assert record.at(6) == plain.last
    assert record.best_until(6) == plain.best
    assert record.confusion_at(6) == plain.confusion
    assert record.confusion_at(10) == record.confusion != plain.confusion
    with pytest.raises(ValueError, match="no confusion matrix of step 3"):
        plain.confusion_at(3)
    assert Recorded([record]).find(tuned) is record
    assert Recorded([record]).find(SMALL) is record
    assert Recorded([plain]).find(tuned) is None
    assert Recorded([plain, record]).find(SMALL) is plain
    assert Recorded([plain, record]).find(SMALL.with_(seed=1)) is None


def test_every_trial_on_record_counts_whatever_its_seed(tmp_path):
    (cell, *_) = grid("clean_batch", "quick").cells
    record = fit(cell.trial(0).with_(steps=1), progress=False)
    seeds = (4_000_000, 12, 0)
    recorded = Recorded([replace(record, experiment=cell.trial(seed)) for seed in seeds])
    assert [r.experiment.seed for r in recorded.trials(cell)] == [0, 12, 4_000_000]


def test_the_tables_of_the_paper_say_what_the_erratum_boxes_say_of_them():
    """Of random weights under background flips (chapter 8), and of the lead on CIFAR-100 (chapter 7)."""
    paper = reported_numbers()
    random, plain = (paper["table2", row, "cifar10"] for row in ("random", "baseline"))
    assert random.low > plain.high
    assert random.mean - plain.mean == pytest.approx(10, abs=0.1)
    assert paper["table2", "random", "cifar100"].mean < paper["table2", "baseline", "cifar100"].mean

    def lead(table):
        column = {
            row: value.mean for (where, row, data), value in paper.items() if (where, data) == (table, "cifar100")
        }
        return column.pop("l2rw") - max(column.values())

    assert lead("table2") == pytest.approx(3.55, abs=0.01)
    assert lead("table1") == pytest.approx(2.34, abs=0.01)
    stopped, full = (paper["table2", f"s-model+conf{es}", "cifar10"].mean for es in ("+es", ""))
    assert stopped - full > 10
