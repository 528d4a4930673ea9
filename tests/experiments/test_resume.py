"""A run that was interrupted ends with the numbers of one that was not."""

from dataclasses import asdict

import pytest
import torch
from small_runs import SMALL

from l2rw_core.datasets import BackgroundFlip
from l2rw_core.experiments import fit
from l2rw_core.running.checkpoints import UnusableCheckpoint, read_checkpoint, write_checkpoint

EXPERIMENT = SMALL.with_(
    method="l2rw", biases=(BackgroundFlip(0.4),), steps=12, lr_drops=(6,), fine_tune_steps=5, evaluate_every=4
)
STATEFUL = (
    *("l2rw", "active_bias", "mentornet_pd", "s_model_conf", "meta_weight_net", "random"),
    *("elr", "co_teaching", "clean_stopped", "ldam_drw"),
)


def outcome(record):
    return asdict(record.curve), record.confusion, record.confusion_before_tuning, record.weight_histograms


class Interrupted(Exception):
    pass


def left_behind(tmp_path, monkeypatch, without=()):
    """The checkpoint of a run that was interrupted at its first step, by a version without some fields."""
    path = tmp_path / "run.pt"

    def stop(state, at):
        described = {name: value for name, value in state["experiment"].items() if name not in without}
        write_checkpoint(state | {"experiment": described}, at)
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr("l2rw_core.experiments.train.write_checkpoint", stop)
        with pytest.raises(Interrupted):
            fit(EXPERIMENT, progress=False, checkpoint=path, checkpoint_every=-1)
    return path


@pytest.mark.parametrize("method", STATEFUL)
def test_a_run_interrupted_at_every_few_steps_is_the_same_run(method, tmp_path, monkeypatch):
    """Cut in every stage: pretraining, training and fine-tuning."""
    experiment = EXPERIMENT.with_(method=method)
    expected = outcome(fit(experiment, progress=False))
    path, cuts = tmp_path / "run.pt", 0

    def stop_after_three(state, at):
        write_checkpoint(state, at)
        counter["writes"] += 1
        if counter["writes"] == 3:
            raise Interrupted

    monkeypatch.setattr("l2rw_core.experiments.train.write_checkpoint", stop_after_three)
    while True:
        counter = {"writes": 0}
        try:
            record = fit(experiment, progress=False, checkpoint=path, checkpoint_every=-1)
            break
        except Interrupted:
            cuts += 1
    assert cuts >= 5
    assert outcome(record) == expected


def test_a_record_keeps_its_first_start_and_the_commits_before_the_last(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"

    def stop(state, at):
        write_checkpoint(state, at)
        raise Interrupted

    def sitting(commit, at, **patches):
        with monkeypatch.context() as patched:
            patched.setattr("l2rw_core.experiments.train.environment", lambda device: {"commit": commit})
            patched.setattr("l2rw_core.experiments.train.time.time", lambda: at)
            for name, value in patches.items():
                patched.setattr(f"l2rw_core.experiments.train.{name}", value)
            return fit(EXPERIMENT, progress=False, checkpoint=path, checkpoint_every=-1)

    for commit, at in (("a", 0.0), ("b", 3600.0), ("b", 7200.0)):
        with pytest.raises(Interrupted):
            sitting(commit, at, write_checkpoint=stop)
    record = sitting("c", 10_800.0)
    assert record.started == "1970-01-01T00:00:00Z"
    assert record.environment == {"commit": "c", "earlier_commits": ["a", "b"]}
    assert sitting("c", 0.0).environment["earlier_commits"] == ["a", "b"]


def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    write_checkpoint({"x": torch.zeros(1000)}, path)
    content = path.read_bytes()
    for damaged in (content[:-1], content[:40], b"", b"hello", content[:100] + b"?" + content[101:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged or is not a checkpoint: delete it"):
            fit(EXPERIMENT, progress=False, checkpoint=path)
        assert path.read_bytes() == damaged


def test_a_checkpoint_of_another_experiment_is_refused(tmp_path, monkeypatch):
    path = left_behind(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match="belongs to another experiment"):
        fit(EXPERIMENT.with_(lr=0.02), progress=False, checkpoint=path)
    assert path.exists()


def test_a_failed_write_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    write_checkpoint({"step": 1}, path)

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            write_checkpoint({"step": 2}, path)
    assert read_checkpoint(path, torch.device("cpu")) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_a_checkpoint_from_before_a_field_existed_is_gone_on_from(tmp_path, monkeypatch):
    path = left_behind(tmp_path, monkeypatch, without=("precision", "optimizer"))
    with pytest.raises(UnusableCheckpoint, match="belongs to another experiment"):
        fit(EXPERIMENT.with_(optimizer="adamw"), progress=False, checkpoint=path)
    assert outcome(fit(EXPERIMENT, progress=False, checkpoint=path)) == outcome(fit(EXPERIMENT, progress=False))
