"""A number on a page says what it is made of."""

import math
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest

from l2rw_core import cli
from l2rw_core.experiments import CellResult, Interval, Results, grid
from l2rw_core.figures.numbers import Difference, Number, NumberTable, command, describe_experiment, number
from l2rw_core.numerals import typeset

RESULT = Results.load("fig2", "paper").cell("l2rw", ratio=200)
CELL = RESULT.cell


def test_the_button_shows_the_value_and_the_note_every_trial():
    number = Number(RESULT, "error")
    shown = 100 - RESULT.last.mean
    assert f">{shown:.1f} ± {RESULT.last.half_width:.1f}%</button>" in number.html
    for record in RESULT.records:
        assert record.id in number.html
        assert f"seed {record.experiment.seed}: {100 * (1 - record.last):.2f}" in number.html
    assert "8,000 steps of 100, m = 10" in number.html
    assert "data/results/fig2.jsonl" in number.html


def test_the_button_opens_its_own_note():
    first, second = Number(RESULT).html, Number(RESULT).html
    for text in (first, second):
        opens, closes = re.findall(r'popovertarget="([^"]+)"', text)
        assert re.findall(r' id="([^"]+)"', text) == [opens] == [closes]
        assert text.count('popovertargetaction="hide"') == 1
    assert first.split("popovertarget")[1].split()[0] != second.split("popovertarget")[1].split()[0]


def test_the_command_names_exactly_this_cell(monkeypatch):
    ran = []
    monkeypatch.setattr(cli.Reproduce, "__call__", lambda self: ran.append(self))
    cli.main(shlex.split(command(RESULT))[1:])
    assert ran[0]._cells() == [CELL]
    assert ran[0].trials == len(RESULT.records)


@pytest.mark.parametrize(
    ("name", "scale"),
    [("settings_200", "reduced"), ("unclean", "reduced"), ("noise_imbalance", "reduced"), ("table2", "paper")],
)
def test_commands_of_cells_with_several_columns(name, scale, monkeypatch):
    ran = []
    monkeypatch.setattr(cli.Reproduce, "__call__", lambda self: ran.append(self))
    for cell in grid(name, scale).cells[::5]:
        record = RESULT.records[0]
        cli.main(shlex.split(command(CellResult(cell, (record,))))[1:])
        assert ran[-1]._cells() == [cell]


def test_single_trials_have_no_interval():
    single = Number(CellResult(CELL, RESULT.records[:1]))
    assert str(single) == f"{100 * RESULT.records[0].last:.1f}%"
    assert "a single trial" in single.html


def test_the_note_on_a_best_accuracy_has_the_best_of_every_trial():
    worst = min(RESULT.records, key=lambda r: r.last - r.best)
    assert worst.last < worst.best
    assert f"seed {worst.experiment.seed}: {100 * worst.best:.2f}" in Number(RESULT, "best").html


def test_an_interval_that_says_nothing_is_the_range_of_its_trials():
    far_apart = tuple(
        replace(r, curve=replace(r.curve, accuracy=[*r.curve.accuracy[:-1], last]))
        for r, last in zip(RESULT.records, (0.1, 0.77), strict=False)
    )
    number = Number(CellResult(CELL, far_apart), "error")
    assert number.value.half_width > 400
    assert str(number) == "23.0 to 90.0%"
    assert "23.0 to 90.0%, lowest and highest of 2 trials" in number.html
    assert "seed 0: 90.00" in number.html


def test_configuration_says_what_is_unusual():
    e = CELL.experiment
    assert describe_experiment(e).startswith("l2rw on mnist; PairImbalance(")
    assert "clean" not in describe_experiment(e).replace("clean images", "")
    assert describe_experiment(e.with_(clean_noise=0.2, fine_tune_steps=50)).endswith(
        "50 steps of fine-tuning; clean noise 0.2"
    )


def test_a_table_can_be_sorted_and_tells_reported_from_ours():
    table = NumberTable(["a", "b", "c"], [["<x>", Interval(86.92, 0.19, 5), Number(RESULT)]], "seen")
    reported = '<td data-value="86.9200" class="l2rw-reported">86.9<span class="l2rw-half"> ± 0.2</span>%</td>'
    assert reported in table.html
    assert f'<td data-value="{RESULT.last.mean:.4f}"><span class="l2rw-number"' in table.html
    assert '<th scope="row">&lt;x&gt;</th>' in table.html
    assert "<caption>seen</caption>" in table.html
    assert f'<span class="l2rw-half"> ± {RESULT.last.half_width:.1f}</span>%</button>' in table.html
    assert '<th scope="col">plain training + fine-tuning</th>' in NumberTable(["baseline+ft"], [], "").html
    assert "±" not in NumberTable(["a"], [[Interval(76.6, math.nan, 5)]], "").html


def test_what_was_not_run_says_so():
    assert number(None) == "not run"
    assert number(RESULT, "error") == Number(RESULT, "error")
    with pytest.raises(ValueError, match="choose one of last, best, error"):
        Number(RESULT, "loss")


def test_differences_compare_trials_with_the_same_seed():
    other = Results.load("fig2", "paper").cell("baseline+ft", ratio=200)
    ours, theirs = (replace(result, records=result.records[:2]) for result in (RESULT, other))
    difference, gaps = Difference(ours, theirs), np.subtract(ours.of_trials(), theirs.of_trials())
    assert difference.value.mean == pytest.approx(gaps.mean())
    half = 12.706 * gaps.std(ddof=1) / np.sqrt(2)
    assert difference.value.half_width == pytest.approx(half, rel=1e-4)
    assert half > 10
    assert str(difference) == typeset(f"{gaps.min():+.1f} to {gaps.max():+.1f}")
    assert "lowest and highest of 2 trials" in difference.html
    every = Difference(RESULT, other)
    assert every.value.half_width < 10
    assert str(every) == typeset(f"{every.value.mean:+.1f} ± {every.value.half_width:.1f}")
    assert Difference(ours, theirs, "error").value.mean == pytest.approx(-gaps.mean())
    for record in (*ours.records, *theirs.records):
        assert record.id in difference.html
    only = replace(theirs, records=theirs.records[1:])
    assert Difference(ours, only).value == pytest.approx((gaps[1], np.nan, 1), nan_ok=True)
    assert f'data-value="{gaps.mean():.4f}"' in NumberTable(["a", "b"], [["x", difference]], "").html


def test_differences_that_there_are_not():
    first, second = replace(RESULT, records=RESULT.records[:1]), replace(RESULT, records=RESULT.records[1:])
    with pytest.raises(ValueError, match="no seed is on record for both"):
        Difference(first, second)
    with pytest.raises(ValueError, match="unknown kind of number 'loss'"):
        Difference(RESULT, RESULT, "loss")


def shown(*errors):
    """A number for each list of final errors, in percent."""
    trials = RESULT.records
    for values in errors:
        made = [
            replace(r, curve=replace(r.curve, accuracy=[*r.curve.accuracy[:-1], 1 - error / 100]))
            for r, error in zip(trials, values, strict=False)
        ]
        yield Number(CellResult(CELL, tuple(made)), "error")


def test_the_best_of_rivals_and_all_that_tie_with_it_are_marked_and_ours_is_tinted():
    rows = ["l2rw", "baseline", "baseline+ft", "weighted"]
    numbers = [*shown((4.0, 5.0, 4.5), (20, 21, 22), (5.0, 5.1, 4.9), (1.0, 1.0, 1.0))]
    text = NumberTable(["method", "error"], [list(row) for row in zip(rows, numbers, strict=True)], "").html
    lines = text.split("<tbody>")[1].split("<tr")[1:]
    assert [' class="l2rw-best"' in line for line in lines] == [True, False, True, False], "an oracle does not compete"
    bold = "Bold: the best of a column, and what lies within its interval"
    assert f"<caption>{bold}; an oracle does not compete.</caption>" in text
    three = [list(row) for row in zip(rows[:3], numbers[:3], strict=True)]
    without = NumberTable(["method", "error"], three, "Errors.")
    assert f"<caption>Errors. {bold}.</caption>" in without.html
    assert [line.startswith(' class="l2rw-ours"') for line in lines] == [True, False, False, False]
    assert [re.search(r'scope="row">(.*?)<', line)[1] for line in lines] == [
        "L2RW",
        "plain training",
        "plain training + fine-tuning",
        "weighted (oracle)",
    ]


def test_rows_that_are_no_rivals_have_no_best():
    numbers = shown((4, 4, 4), (5, 5, 5), (6, 6, 6))
    settings = [["10%", *[number]] for number in numbers]
    text = NumberTable(["wrong labels", "error"], settings, "").html
    assert "l2rw-best" not in text
    assert "Bold" not in text


def test_three_trials_far_apart_are_a_range_and_close_ones_an_interval():
    apart, close = shown((4, 20, 12), (4, 4.5, 5))
    assert str(apart) == "4.0 to 20.0%"
    assert "±" in str(close)


def test_rows_that_begin_with_the_same_words_are_a_group_with_its_own_best():
    cells = [*shown((4.0, 5.0, 4.5), (20, 21, 22), (30, 31, 32), (60, 61, 62), (40, 41, 42), (50, 51, 52))]
    names = [f"{data}, 10:1, {row}" for data in ("fashion_mnist", "mnist") for row in ("l2rw", "random", "baseline")]
    text = NumberTable(["where", "error"], [list(row) for row in zip(names, cells, strict=True)], "").html
    heads = re.findall(r'<th scope="rowgroup" colspan="2"><span>([^<]*)</span></th>', text)
    assert heads == ["Fashion-MNIST, 10:1", "MNIST, 10:1"]
    assert re.findall(r'<th scope="row">([^<]*)</th>', text) == ["L2RW", "random weights", "plain training"] * 2
    assert text.count("<tbody>") == text.count('<tr class="l2rw-ours">') == 2
    best = re.findall(r'<tr[^>]*><th scope="row">([^<]*)</th><td data-value="[^"]*" class="l2rw-best">', text)
    assert best == ["L2RW", "random weights"]
    assert "<caption>Bold: the best of a column in each group, and" in text
    for alone in (["a, 1", "a, 2", "b, 1"], ["a, 1", "a, 2", "b, 1", "b, 2", "a, 3", "a, 4"], ["a", "b, 1", "b, 2"]):
        assert "rowgroup" not in NumberTable(["where"], [[name] for name in alone], "").html


def test_a_table_says_whether_names_of_its_rows_are_long():
    tables = [NumberTable(["run", "x"], [[name, "1"]], "c").html for name in ("l2rw", "baseline+ft, clean 100")]
    assert [re.search(r'<table class="([^"]+)"', table)[1] for table in tables] == [
        "l2rw-table",
        "l2rw-table l2rw-long-names",
    ]


def test_words_and_signs_of_a_table_are_a_readers():
    text = NumberTable(["data", "x"], [["mnist", "baseline+ft"], ["a", "-0.03"]], "from -1 to 1").html
    assert '<th scope="row">MNIST</th><td>plain training + fine-tuning</td>' in text
    assert "<td>−0.03</td>" in text
    assert "<caption>from −1 to 1</caption>" in text
