"""What is said about sources of text comes from the records: steps by held-out losses, differences trial by trial."""

import pytest

from l2rw_core.figures.benchmarks import load_benchmark
from l2rw_core.figures.language import (
    SAME_RATE,
    THEN,
    TITLES,
    Measured,
    compared,
    language_losses,
    language_table,
    recorded,
    settings_of,
    text_lead,
    told,
    trials_of,
    values,
)

LINES = load_benchmark("language")


def line(trial, **tests):
    """A trial in which each method has the least held-out loss at its second look."""
    runs = [
        {"method": name, "steps": [0, 8, 16], "held_out": [3, 1, 2], "test": [9, test, 0], "endings": [0, 0.5, 1]}
        for name, test in tests.items()
    ]
    return {"setting": "useless", "trial": trial, "runs": runs}


def test_held_out_losses_choose_the_step_and_not_test_losses():
    lines = [line(1, l2rw=0.2), line(-1, l2rw=7.0), line(0, l2rw=0.1)]
    assert values(lines, "useless", "l2rw") == [0.1, 0.2]
    assert values(lines, "useless", "l2rw", "steps") == [8, 8]
    assert str(Measured(lines, "useless", "l2rw", "endings")) == "50.0 ± 0.0%"


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ((0.5, 0.6, 0.71), "0.403 ± 0.014 nats a word below uniform mixing"),
        ((0.05, 0.15, 0.25), "0.050 ± 0.000 nats a word above uniform mixing"),
        ((0.0, 0.2, 0.4), "not apart from uniform mixing"),
    ],
)
def test_a_difference_is_taken_trial_by_trial_and_said_with_its_sign(theirs, words):
    lines = [line(k, l2rw=0.1 * (k + 1), uniform=loss) for k, loss in enumerate(theirs)]
    assert words in compared(lines, "useless", "uniform")
    assert text_lead(lines, "useless", "l2rw", "uniform").mean == pytest.approx(sum(theirs) / 3 - 0.2)


def test_on_record_is_every_method_in_both_settings_with_five_trials():
    assert settings_of(LINES) == ["misleading", "useless"]
    for setting in settings_of(LINES):
        assert len(trials_of(LINES, setting)) >= 5
        assert set(TITLES) - set(recorded(LINES, setting)) <= {SAME_RATE}
        assert recorded(LINES, setting, THEN) == ["uniform", "selection", "l2rw", "oracle"]
        assert min(min(values(LINES, setting, method)) for method in recorded(LINES, setting)) > -0.02


def test_table_and_figure_have_every_method_and_the_words_its_numbers():
    rows = language_table(LINES).rows
    drawing = language_losses(LINES)
    for setting in settings_of(LINES):
        names = [TITLES[method] for method in recorded(LINES, setting)]
        assert [row[0] for row in rows if row[0].startswith(setting)][: len(names)] == [
            f"{setting} sources, {name}" for name in names
        ]
        assert all(name in drawing.alt for name in names)
    sentence = told(LINES, "misleading")
    assert compared(LINES, "misleading", "uniform") in sentence
    assert compared(LINES, "misleading", "selection", THEN) in sentence
    same = SAME_RATE in recorded(LINES, "misleading")
    assert ("At the learning rate of uniform mixing" in sentence) == same
    assert not same or compared(LINES, "misleading", "uniform", ours=SAME_RATE) in sentence
