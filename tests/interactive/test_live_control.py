"""The control that trains anew: refuses, trains, stops at once, and stands as a sentence where there is no kernel."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from IPython.core.interactiveshell import InteractiveShell

from l2rw_core.datasets import LongTail, Subset, UniformFlip, load
from l2rw_core.experiments import Results, fit, grid, interval
from l2rw_core.figures.detection import score_chart
from l2rw_core.figures.sweeps import against
from l2rw_core.interactive import LiveRun, embedded_runs, live_run
from l2rw_core.interactive.live_control import LAUNCH, WIDGET_VIEW, cells_first

BASE = (
    grid("noise_imbalance", "quick")
    .cells[0]
    .experiment.with_(
        steps=40, lr_drops=(), evaluate_every=10, fine_tune_steps=0, model="mlp", biases=(LongTail(1), UniformFlip(0.4))
    )
)
RUNS = {row: BASE.with_(method=row) for row in ("baseline", "l2rw")}
LINES = Results.load("noise_imbalance").by_row(data="mnist", imbalance=1, noise=0.4, clean=100)
DIGITS = load("digits")


@pytest.fixture(scope="module")
def recorded():
    lines = {row: {0.4: LINES[row]} for row in ("baseline", "l2rw")}
    return partial(against, {"balanced": lines}, "wrong labels", ylim=(50, 100), words="{:.0%}")


@pytest.fixture
def control(recorded) -> LiveRun:
    return live_run(RUNS, recorded, axis="noise", source=DIGITS, imbalance=2.0, noise=0.3, clean=20)


def field(control: LiveRun, label: str):
    (found,) = (child for child in control.widget.children[0].children if child.description == label)
    return found


def button(control: LiveRun, label: str):
    (found,) = (w for w in control.widget.children[1].children if getattr(w, "description", "") == label)
    return found


def test_it_trains_what_is_entered_and_puts_it_into_the_recorded_figure(control: LiveRun) -> None:
    before = control.widget.children[-1].value
    field(control, "imbalance").value = 3.5
    button(control, "Train").click()
    control.wait(120)
    (result,) = control.results
    for row, record in result.records.items():
        alone = fit(RUNS[row].biased(imbalance=3.5, noise=0.3, clean=20), DIGITS, progress=False)
        assert (record.curve, record.confusion) == (alone.curve, alone.confusion)
    assert "Trained: 3.5:1, 30% wrong labels, 20 clean images, 40 steps, seed 0" in control.said
    after = control.widget.children[-1].value
    assert "Stars: trained here, at last 3.5:1, 30% wrong labels" in after
    assert after != before
    assert (button(control, "Train").disabled, button(control, "Stop").disabled) == (False, True)


@pytest.mark.parametrize(
    ("label", "value", "says"),
    [
        ("imbalance", 0.5, "imbalance must be a number from 1"),
        ("wrong labels", 1.5, "noise must be a share from 0 to 1"),
        ("clean images", 0, "clean must be a whole number of images from 1"),
        ("clean images", 100_000, "digits does not allow"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence_before_anything_runs(
    control: LiveRun, label: str, value: float, says: str
) -> None:
    field(control, label).value = value
    button(control, "Train").click()
    assert says.lower() in control.said.lower()
    assert "Setup" not in control.said
    assert not control.results
    assert button(control, "Stop").disabled


@pytest.mark.parametrize(
    "values", [{"imbalance": 1.0, "noise": 0.0, "clean": 10}, {"imbalance": 2.0, "noise": 1.0, "clean": 10}]
)
def test_values_at_their_limits_are_trained_with(recorded, values: dict[str, float]) -> None:
    control = live_run(RUNS, recorded, axis="noise", source=DIGITS, **values)
    button(control, "Train").click()
    control.wait(120)
    (result,) = control.results
    assert "Trained: " in control.said
    for record in result.records.values():
        assert record.realised_noise == values["noise"]
        assert record.is_whole


def test_stop_ends_both_runs_at_the_same_step_and_shows_what_was_learned(recorded) -> None:
    long = {row: run.with_(steps=100_000, evaluate_every=5) for row, run in RUNS.items()}
    begun = threading.Event()
    control = live_run(long, recorded, axis="noise", source=DIGITS, noise=0.3)
    control.widget.children[1].children[2].observe(lambda change: change.new and begun.set(), "value")
    button(control, "Train").click()
    assert begun.wait(60)
    button(control, "Stop").click()
    assert "Stopping" in control.said
    control.wait(60)
    (result,) = control.results
    steps = {record.steps_taken for record in result.records.values()}
    assert len(steps) <= 2
    assert max(steps) - min(steps) <= 1
    assert f"Stopped after {result.steps}; what was learned so far is shown" in control.said
    assert " of 100,000 steps" in control.said
    assert "Stars: trained here" in control.widget.children[-1].value


def test_an_error_of_the_training_is_said_and_the_control_goes_on(recorded) -> None:
    wild = {"baseline": RUNS["baseline"].with_(lr=1e30)}
    control = live_run(wild, recorded, axis="noise", source=DIGITS, noise=0.3)
    button(control, "Train").click()
    control.wait(60)
    assert "FloatingPointError: the model" in control.said
    assert not button(control, "Train").disabled


def test_without_an_axis_the_labels_are_scored_and_the_figure_gets_the_results() -> None:
    seen = []

    def figure(own):
        seen.append(list(own))
        stars = {"digits": own[-1].scores["l2rw"]} if own else {}
        return score_chart({"digits": {"alignment": interval([0.7, 0.8])}}, {"alignment": "l2rw"}, own=stars)

    control = live_run(RUNS, figure, source=DIGITS, noise=0.4, clean=50)
    control.train()
    control.wait(120)
    assert [len(own) for own in seen] == [0, 1]
    scores = control.results[0].scores
    assert 0.5 < scores["l2rw"]["alignment"] <= 1
    assert "margin" in scores["baseline"]


def test_a_kernel_shows_the_control_and_a_page_a_sentence_with_a_link(control: LiveRun) -> None:
    data = control._repr_mimebundle_()
    assert data[WIDGET_VIEW]["model_id"] == control.widget.model_id
    assert LAUNCH in data["text/html"]
    assert "any imbalance, share of wrong labels and number of clean images that the data allow" in data["text/html"]
    assert "<script" not in data["text/html"]


def test_training_waits_while_a_cell_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = InteractiveShell()
    monkeypatch.setattr("l2rw_core.interactive.live_control.get_ipython", lambda: shell)
    turn = threading.Lock()
    with cells_first(turn) as may_go_on:
        seen = []
        shell.user_ns["look"] = lambda: seen.append(may_go_on.is_set())
        shell.run_cell("look()")
        assert seen == [False]
        assert may_go_on.is_set()
    shell.user_ns["look"] = lambda: seen.append(may_go_on.is_set())
    shell.run_cell("look()")
    assert seen == [False, True]


def test_embedded_runs_are_those_of_the_grid_on_the_images_that_come_with_the_package() -> None:
    runs = embedded_runs("fig4", ("baseline+ft", "l2rw"), seed=2)
    assert {run.data for run in runs.values()} == {"fashion_small"}
    assert runs["baseline+ft"].fine_tune_steps > 0
    assert {run.seed for run in runs.values()} == {2}
    assert all(isinstance(run.biases[0], Subset) and run.biases[1].flips_labels for run in runs.values())


def test_only_the_three_quantities_can_be_entered(recorded) -> None:
    with pytest.raises(TypeError, match="no quantity rate; choose from imbalance, noise, clean"):
        live_run(RUNS, recorded, axis="noise", rate=0.3)
