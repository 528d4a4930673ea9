"""Several runs: each as if it were alone, and what was learned is kept wherever they stop."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import torch

from l2rw_core.experiments import Experiment, Together, append, fit, fit_each, needs_evaluation, where_stopped
from l2rw_core.experiments.several import StoppedTooEarly
from l2rw_core.experiments.train import prepare

QUICK = Experiment(
    name="several",
    scale="quick",
    data="digits",
    model="mlp",
    biases=(),
    clean_size=50,
    steps=30,
    evaluate_every=10,
    lr=0.1,
)
RUNS = {name: QUICK.with_(method=name) for name in ("baseline", "random", "l2rw", "s_model_conf")}
RUNS["tuned"] = QUICK.with_(method="baseline", fine_tune_steps=10)


class Stops:
    """Sees a run, and sends Ctrl-C at a step of it."""

    def __init__(self, step: int) -> None:
        self.left = step

    def on_step(self, positions: torch.Tensor, update: object) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def on_evaluation(self, log_p: torch.Tensor) -> None:
        pass

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


@pytest.fixture(scope="module")
def alone() -> dict:
    return {name: fit(run, progress=False) for name, run in RUNS.items()}


def results(record):
    return record.curve, record.confusion, record.confusion_before_tuning, record.weight_histograms


def test_one_after_the_other_they_give_what_each_gives_alone(alone, capsys):
    records = fit_each(RUNS, progress=False)
    assert {name: results(r) for name, r in records.items()} == {name: results(r) for name, r in alone.items()}
    assert where_stopped(records) == ""
    assert capsys.readouterr().out == ""


def test_in_turn_they_give_the_same_and_leave_the_random_numbers_alone(alone):
    before = torch.get_rng_state()
    together = Together(RUNS)
    counted = [*together.steps()]
    assert torch.equal(torch.get_rng_state(), before)
    assert counted[-1] <= together.total_steps
    records = together.records()
    assert {name: results(r) for name, r in records.items()} == {name: results(r) for name, r in alone.items()}


def test_in_turn_they_stop_at_the_same_step():
    together = Together({name: RUNS[name] for name in ("baseline", "l2rw")})
    for taken in together.steps():
        if taken >= 24:
            break
    records = together.records()
    assert {name: r.curve.step for name, r in records.items()} == {"baseline": [0, 10, 12], "l2rw": [0, 10, 12]}
    assert where_stopped(records) == "stopped after 24 of 60 steps; what was learned so far is shown"


def test_whoever_holds_the_turn_keeps_them_from_taking_a_step():
    together, taken = Together({"baseline": RUNS["baseline"]}), []
    with together.turn:
        thread = threading.Thread(target=lambda: taken.extend(together.steps()))
        thread.start()
        thread.join(0.2)
        assert taken == []
    thread.join(60)
    assert taken == [*range(1, 31)]


def test_ctrl_c_keeps_what_was_learned_and_says_so_in_one_line(capsys):
    watches = {"random": Stops(17)}
    records = fit_each(RUNS, watches=watches, progress=False)
    steps = {name: r.curve.step for name, r in records.items()}
    assert steps == {
        "baseline": [0, 10, 20, 30],
        "random": [0, 10, 17],
        "l2rw": [0, 1],
        "s_model_conf": [0, 1],
        "tuned": [0, 1],
    }
    assert not records["random"].is_whole
    assert records["baseline"].is_whole
    assert records["random"].last == records["random"].curve.accuracy[-1] > 0.1
    assert capsys.readouterr().out == "stopped after 50 of 160 steps; what was learned so far is shown\n"


def test_a_run_that_stops_while_it_is_tuned_keeps_the_training_before():
    count = iter(range(100))
    record = fit(RUNS["tuned"], progress=False, go_on=lambda: next(count) < 33)
    assert record.curve.step == [0, 10, 20, 30, 34]
    assert record.confusion_before_tuning is not None


def test_a_run_that_was_stopped_is_not_put_on_record(tmp_path):
    count = iter(range(100))
    record = fit(QUICK, progress=False, go_on=lambda: next(count) < 3)
    with pytest.raises(ValueError, match="stopped after 4 of 30 steps is no trial"):
        append(record, tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_data_are_those_of_a_run_alone():
    together = Together({"l2rw": RUNS["l2rw"]})
    (record,) = together.records().values()
    assert record.train_counts == prepare(RUNS["l2rw"]).train.class_counts(10).tolist()


@pytest.mark.parametrize(("step", "enough"), [(4, False), (14, True)])
def test_runs_that_were_stopped_before_their_first_evaluation_are_refused_in_a_sentence(step, enough):
    records = fit_each({"l2rw": RUNS["l2rw"]}, watches={"l2rw": Stops(step)}, progress=False)
    assert where_stopped(records)
    if enough:
        needs_evaluation(records)
        return
    with pytest.raises(StoppedTooEarly, match=r"10 steps, its first evaluation.*run this cell again") as refusal:
        needs_evaluation(records)
    assert refusal.value._render_traceback_() == [str(refusal.value)]
