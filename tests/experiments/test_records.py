"""Nothing recorded is lost, and a record says where it came from."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from l2rw_core.datasets import BackgroundFlip, UniformFlip
from l2rw_core.experiments import (
    Curve,
    Experiment,
    Record,
    append,
    grid,
    interval,
    load_records,
    results_root,
    summary,
    table,
)
from l2rw_core.experiments import records as records_module
from l2rw_core.experiments.records import environment


def make_record(seed=0, accuracy=(0.5, 0.75), **changes):
    curve = Curve()
    for step, value in enumerate(accuracy):
        curve.add(step, accuracy=value)
    whole = {"steps": max(1, len(accuracy) - 1)}
    return Record(
        experiment=Experiment(seed=seed, **whole | changes),
        data_checksum="0" * 64,
        train_counts=[20, 4970],
        realised_noise=0.0,
        curve=curve,
        accuracy_by_class=[0.6, 0.9],
        started="2026-01-01T00:00:00Z",
        duration=1.5,
        environment=environment("cpu"),
    )


def append_many(folder, start):
    for seed in range(start, start + 50):
        append(make_record(seed), folder)


def test_a_record_survives_its_line():
    record = make_record()
    assert Record.from_json(record.to_json()) == record
    assert "\n" not in record.to_json()


def test_a_line_says_everything_needed_to_run_it_again():
    values = json.loads(make_record(3).to_json())
    assert Experiment.from_dict(values["experiment"]) == make_record(3).experiment
    assert {"id", "key", "last", "best", "started", "duration", "data_checksum", "curve"} <= set(values)
    assert {"python", "torch", "torchvision", "numpy", "l2rw-core", "commit", "device", "threads"} <= set(
        values["environment"]
    )


def test_last_and_best():
    record = make_record(accuracy=(0.5, 0.9, 0.8))
    assert (record.last, record.best) == (0.8, 0.9)


def test_two_processes_that_write_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["l2rw_core.experiments"])
    writers = [context.Process(target=append_many, args=(tmp_path, start)) for start in (0, 50)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert sorted(r.experiment.seed for r in load_records("fig2", tmp_path)) == list(range(100))


def test_a_torn_last_line_is_set_aside_and_reported(tmp_path):
    path = append(make_record(0), tmp_path)
    whole = path.read_bytes()
    torn = make_record(1).to_json().encode()[:100]
    path.write_bytes(whole + torn)
    with pytest.warns(RuntimeWarning, match=r"fig2.jsonl ended in a torn line; it was moved to fig2.torn"):
        append(make_record(2), tmp_path)
    assert [r.experiment.seed for r in load_records("fig2", tmp_path)] == [0, 2]
    assert path.read_bytes().startswith(whole)
    assert path.with_suffix(".torn").read_bytes() == torn + b"\n"


def test_a_line_that_was_tampered_with_is_named(tmp_path):
    path = append(make_record(0), tmp_path)
    append(make_record(1), tmp_path)
    path.write_text(path.read_text().replace('"seed":1', '"seed":9'))
    with pytest.raises(ValueError, match=r"fig2.jsonl, line 2, is not a record: .*does not match its own contents"):
        load_records("fig2", tmp_path)


def test_a_failed_write_leaves_the_earlier_records(tmp_path):
    append(make_record(0), tmp_path)

    class Unwritable(Record):
        def to_json(self):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        append(Unwritable(**vars(make_record(1))), tmp_path)
    assert len(load_records("fig2", tmp_path)) == 1


def test_interval_is_students():
    values = [1.0, 2.0, 4.0, 8.0, 9.0]
    found = interval(values)
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.trials == 5


def test_one_trial_has_no_interval():
    assert np.isnan(interval([0.3]).half_width)
    with pytest.raises(ValueError, match="at least one"):
        interval([])


def test_summary_groups_trials():
    records = [make_record(seed, accuracy=(0.5, value)) for seed, value in enumerate((0.9, 0.8))]
    rows = summary([*records, make_record(method="baseline")])
    assert rows["trials"].tolist() == [2, 1]
    assert rows["last error %"].tolist() == [15.0, 25.0]
    assert set(table(records)["seed"]) == {0, 1}


def test_rows_of_a_summary_can_be_told_apart():
    rows = summary(load_records())
    names = ["name", "scale", "data", "method", "settings"]
    assert not rows.duplicated(names).any(), rows[rows.duplicated(names)]
    sizes = rows[(rows["name"] == "fig4") & (rows["method"] == "l2rw") & (rows["data"] == "mnist")]["settings"]
    assert "clean_size 10" in set(sizes)
    assert set(summary([make_record(0), make_record(1)])["settings"]) == {""}, "there is nothing to tell it from"


def test_a_summary_tells_the_order_and_the_fields_of_biases_apart():
    biases = (UniformFlip(0.4), BackgroundFlip(0.2)), (BackgroundFlip(0.2), UniformFlip(0.4)), (UniformFlip(0.1),)
    base = make_record()
    rows = summary([replace(base, experiment=base.experiment.with_(biases=pair)) for pair in biases])
    assert rows["settings"].is_unique
    assert "biases BackgroundFlip then UniformFlip" in rows["settings"][1]


def test_trials_of_one_configuration_may_differ_in_their_background_class():
    cell = next(c for c in grid("table2").cells if c.row == "baseline" and c.experiment.data == "cifar10")
    trials = [replace(make_record(), experiment=cell.trial(seed)) for seed in range(3)]
    assert len({r.experiment.key for r in trials}) == 3
    assert summary(trials)["trials"].tolist() == [3]


def test_a_trial_that_was_run_again_counts_once_and_as_it_came_out_last():
    twice = [make_record(accuracy=(0.5, 0.9)), make_record(accuracy=(0.5, 0.8)), make_record(1, accuracy=(0.5, 0.8))]
    rows = summary(twice)
    assert rows["trials"].tolist() == [2]
    assert rows["last error %"].tolist() == [20.0]


def test_a_process_goes_by_the_commit_that_it_started_with(tmp_path):
    """Code that is committed while a process runs is not the code that it runs."""
    package = tmp_path / "l2rw_core"
    shutil.copytree(Path(records_module.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import subprocess\n"
        "from l2rw_core.experiments.records import environment\n"
        "git = ['git', '-c', 'user.name=a', '-c', 'user.email=a@b', '-C', '.']\n"
        "def commit(*more): subprocess.run([*git, 'commit', '-q', '--allow-empty', '-m', 'x', *more], check=True)\n"
        "def head(): return subprocess.run([*git, 'rev-parse', 'HEAD'], capture_output=True).stdout.decode().strip()\n"
        "subprocess.run([*git, 'init', '-q'], check=True); subprocess.run([*git, 'add', '-A'], check=True); commit()\n"
        "first, said = head(), environment('cpu')['commit']\n"
        "commit()\n"
        "print(said == first, head() == first, environment('cpu')['commit'] == first)\n"
    )
    asked = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["True", "False", "True"]


def test_the_records_of_the_repository_can_be_read():
    records = load_records()
    assert records, f"no records in {results_root()}"
    assert len({r.id for r in records}) == len(records)
    trials = [(r.experiment.key, r.experiment.seed, r.environment["commit"]) for r in records]
    assert len(set(trials)) == len(trials)


def test_the_repository_commit_is_recorded():
    if (Path(__file__).parents[2] / ".git").exists():
        assert len(environment("cpu")["commit"].removesuffix("+changes")) == 40
    assert os.cpu_count() >= environment("cpu")["threads"] >= 1
