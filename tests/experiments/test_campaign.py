"""The long runs lose nothing when they are killed, never do the same work twice, and end when they are told to."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import OF_ONE_RUN, SMALL

from l2rw_core.datasets import BackgroundFlip
from l2rw_core.experiments import append, campaign, fit, grid, load_records, missing, train
from l2rw_core.experiments.shared import SharedStates
from l2rw_core.experiments.sweep import TrialInHand, unfinished
from l2rw_core.running.checkpoints import read_checkpoint

LONG = SMALL.with_(
    biases=(BackgroundFlip(0.4),), steps=60, lr_drops=(30, 45), evaluate_every=5, fine_tune_steps=5, clean_size=20
)
EARLY = LONG.with_(steps=45, lr_drops=(30, 40))
TRIALS = (LONG, EARLY, LONG.with_(method="random"), LONG.with_(seed=1), EARLY.with_(seed=1))
WORKER = """
import signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_campaign
from l2rw_core.experiments import campaign, sweep, train
sweep.CHECKPOINT_EVERY, campaign.POLL = -1, 0.05
step = train._Run._step
def slow(run):
    step(run)
    with open({folder!r} + "/steps", "a") as file:
        file.write(f"{{run.experiment.key}} {{run.experiment.seed}} {{run.steps_done}}\\n")
train._Run._step = slow
signal.signal(signal.SIGTERM, campaign._stop)
try:
    campaign.work(Path({folder!r}), test_campaign.TRIALS)
except KeyboardInterrupt:
    raise SystemExit(130)
"""


def start(folder):
    here = Path(__file__).parent
    code = WORKER.format(tests=str(here), folder=str(folder))
    path = os.pathsep.join([str(here.parents[1]), str(here.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path})


def steps(folder):
    path = folder / "steps"
    return path.read_text().splitlines() if path.exists() else []


def wait_for(count, folder, *processes):
    while len(steps(folder)) < count and any(process.poll() is None for process in processes):
        time.sleep(0.01)


def same(record):
    left_out = (*OF_ONE_RUN, "shared_training", "environment")
    return {name: value for name, value in json.loads(record.to_json()).items() if name not in left_out}


@pytest.mark.apart
def test_two_queues_that_are_killed_and_stopped_end_as_one_that_never_was(tmp_path):
    """First both are killed, then both are told to end, then they may finish."""
    first = [start(tmp_path), start(tmp_path)]
    wait_for(40, tmp_path, *first)
    for process in first:
        process.kill()
        process.wait()
    unfinished = list((tmp_path / ".unfinished").glob("*.pt"))
    assert unfinished
    for path in unfinished:
        assert read_checkpoint(path, torch.device("cpu"))["step"] >= 1
    second = [start(tmp_path), start(tmp_path)]
    wait_for(len(steps(tmp_path)) + 40, tmp_path, *second)
    for process in second:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=60) for process in second] == [130, 130]
    third = [start(tmp_path), start(tmp_path)]
    assert [process.wait(timeout=300) for process in third] == [0, 0]

    records = load_records(folder=tmp_path)
    assert len(records) == len(TRIALS) == len({record.experiment for record in records})
    for record in records:
        assert same(record) == same(fit(record.experiment, progress=False))
    shared = [record for record in records if record.shared_training]
    assert {(r.experiment.steps, r.experiment.seed, r.shared_training["steps"]) for r in shared} == {
        (45, 0, 40),
        (45, 1, 40),
    }
    assert list((tmp_path / ".unfinished").rglob("*.pt")) == []
    # A kill costs the step that it hits, a stop costs nothing.
    work = sum(e.all_steps for e in TRIALS) - 2 * 40
    assert work <= len(steps(tmp_path)) <= work + 2


def test_sigterm_waits_for_the_end_of_the_step(tmp_path):
    process = start(tmp_path)
    wait_for(5, tmp_path, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130
    taken = len(steps(tmp_path))
    states = list((tmp_path / ".unfinished").glob("*.pt"))
    assert sum(read_checkpoint(path, torch.device("cpu"))["step"] for path in states) == taken
    assert load_records(folder=tmp_path) == []


def test_a_run_that_diverges_is_written_down_and_not_begun_again(tmp_path):
    bad = LONG.with_(lr=1e30)
    campaign.work(tmp_path, (bad, EARLY))
    assert [record.experiment for record in load_records(folder=tmp_path)] == [EARLY]
    (entry,) = campaign.failures(tmp_path)
    assert (entry["key"], entry["seed"]) == (bad.key, 0)
    assert "NaN or infinite" in entry["error"]
    assert campaign.remaining(tmp_path, (bad, EARLY)) == []
    said = campaign.status(tmp_path, (bad, EARLY))
    assert said.startswith("2 of 2 trials are done, 0 are left")
    assert f"failed: {campaign.in_words(bad)}" in said


def test_a_checkpoint_that_no_run_can_go_on_from_is_kept_and_its_trial_begins_anew(tmp_path, capsys):
    path = unfinished(EARLY, tmp_path)
    path.parent.mkdir(parents=True)
    for k in (1, 2):
        path.write_bytes(b"of another program")
        campaign._run(EARLY, tmp_path, SharedStates(tmp_path / "shared", (EARLY,)), "cpu")
        assert path.with_name(f"{path.name}.aside-{k}").read_bytes() == b"of another program"
        assert f"kept as {path.name}.aside-{k}, and the trial begins anew" in capsys.readouterr().err
    campaign.work(tmp_path, (EARLY,))
    assert campaign.failures(tmp_path) == []
    assert [record.experiment for record in load_records(folder=tmp_path)] == [EARLY]


def test_a_trial_that_another_process_has_in_hand_is_left_to_it(tmp_path, monkeypatch):
    def busy(*_, **__):
        raise TrialInHand

    waited = []

    def others_finish(seconds):
        waited.append(seconds)
        append(fit(EARLY, progress=False), tmp_path)

    monkeypatch.setattr(campaign, "run_if_missing", busy)
    monkeypatch.setattr(campaign.time, "sleep", others_finish)
    campaign.work(tmp_path, (EARLY,))
    assert waited == [campaign.POLL]


def test_a_full_disk_ends_the_queue_with_the_last_checkpoint(tmp_path, monkeypatch):
    save, writes = train._Run.save, []

    def until_full(run, path):
        if len(writes) == 3:
            raise OSError(28, "No space left on device")
        writes.append(run.steps_done)
        save(run, path)

    monkeypatch.setattr(train._Run, "save", until_full)
    monkeypatch.setattr("l2rw_core.experiments.sweep.CHECKPOINT_EVERY", -1)
    with pytest.raises(OSError, match="No space left"):
        campaign.work(tmp_path, (EARLY,))
    (state,) = (tmp_path / ".unfinished").glob("*.pt")
    assert read_checkpoint(state, torch.device("cpu"))["step"] == 3


def test_the_queue_is_in_the_order_of_value():
    trials = campaign.queue()
    assert len(trials) == len(set(trials)) == 45
    table2 = [e for e in trials if e.name == "table2"]
    assert all(
        (e.scale, e.model, e.precision, e.hold_out) == ("quarter", "resnet32", "bfloat16", 5_000) for e in table2
    )
    headline = [(e.seed, e.method, e.steps, e.fine_tune_steps) for e in table2[:12]]
    one_seed = [("baseline", 20_000, 1_250), ("l2rw", 20_000, 0), ("random", 20_000, 0), ("baseline", 15_000, 1_250)]
    assert headline == [(seed, *row) for seed in range(3) for row in one_seed]
    assert [e.method for e in table2[12:]] == ["weighted", "s_model_conf", "proportion", "clean_only"]
    assert [(e.method, e.clean_size) for e in trials if e.name == "fig4"] == [("l2rw", 15)]
    assert {(e.method, e.biases[-1].rate) for e in trials if e.name == "fig5"} == {
        (method, rate) for method in ("baseline", "l2rw") for rate in (0.0, 0.5)
    }
    of_the_precisions = [e for e in trials if e.name == "precision"]
    assert {(e.name, e.scale, e.evaluate_every) for e in trials[:18]} == {("fig7", "reduced", 50)}
    assert trials[18:22] == tuple(of_the_precisions)
    assert {(e.method, e.precision, e.steps) for e in of_the_precisions} == {
        (method, precision, 2_000) for method in ("baseline", "l2rw") for precision in ("float32", "bfloat16")
    }


@pytest.mark.parametrize(
    ("name", "row", "scale", "seeds"),
    [
        ("table1", "l2rw", "reduced", range(10)),
        ("table2", "baseline+es", "reduced", range(3, 10)),
        ("fig5", "l2rw", "reduced", range(3, 10)),
        ("fig2", "l2rw", "paper", range(5, 10)),
        ("instance", "elr", "reduced", range(3)),
        ("later", "gce", "reduced", range(5)),
        ("fair_200", "inverse-frequency", "reduced", range(5)),
    ],
)
def test_the_queue_of_small_studies_makes_ten_trials_of_what_claims_use(name, row, scale, seeds):
    """Of a cell of each; those that are on record in the repository need not be in the queue."""
    cell = next(c for c in grid(name, scale).cells if c.row == row and c.place.get("ratio", 200) == 200)
    trials = set(campaign.queue("small"))
    assert [seed for seed in range(20) if cell.trial(seed) in trials] == list(seeds)


def test_what_is_left_is_said_in_core_hours(tmp_path):
    record = replace(fit(EARLY, progress=False), duration=3600.0)
    append(record, tmp_path)
    trials = (EARLY, EARLY.with_(seed=1), LONG.with_(method="l2rw"), LONG.with_(model="mlp"))
    said = campaign.status(tmp_path, trials)
    per_step = 1 / EARLY.all_steps
    dearer = (5 * 20 + 3 * 20) / (3 * 20)
    expected = 1 + LONG.all_steps * per_step * dearer
    assert said.startswith("1 of 4 trials are done, 3 are left")
    assert f"{expected:.1f} core-hours are left, and 1 trials of unknown length" in said
    assert campaign.hours(EARLY.with_(seed=1), [record], share=0.75) == pytest.approx(0.25)


def test_records_are_handed_over_once_and_none_is_lost(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    first, second = (fit(EARLY.with_(seed=seed), progress=False) for seed in (0, 1))
    append(first, ours)
    append(second, theirs)
    assert campaign.hand_over(ours, theirs) == 1
    assert campaign.hand_over(ours, theirs) == 0
    assert [record.id for record in load_records(folder=theirs)] == [second.id, first.id]
    assert [record.id for record in load_records(folder=ours)] == [first.id]


def test_every_trial_of_the_queue_has_a_cell_in_its_grid():
    for part in (*campaign.QUEUE, *campaign.SMALL):
        of_grid = {cell.trial(seed) for cell in grid(part.grid, part.scale).cells for seed in part.seeds}
        assert part.experiments()
        assert set(part.experiments()) <= of_grid
        assert missing(part.experiments(), ())
