"""A sweep runs what is missing, once, and loses nothing."""

import os
import subprocess
import sys
import time

import pytest
from small_runs import SMALL

from l2rw_core.datasets import PairImbalance
from l2rw_core.experiments import fit, grid, load_records, missing, run_all, run_and_append
from l2rw_core.experiments.sweep import _lock, _Progress, _sole_owner, unfinished
from l2rw_core.running.checkpoints import read_share, write_checkpoint


def test_missing_leaves_out_doubles_what_is_there_and_what_a_longer_run_holds():
    tuned, other = SMALL.with_(fine_tune_steps=4), SMALL.with_(seed=1)
    assert missing([SMALL, SMALL, tuned, other], []) == [tuned, other]
    record = fit(tuned, progress=False)
    assert missing([SMALL, tuned, other], [record]) == [other]
    assert missing([tuned], [fit(SMALL, progress=False)]) == [tuned]


def test_a_sweep_records_every_run_and_does_not_repeat_it(tmp_path):
    wanted = [SMALL.with_(seed=seed, method=m) for seed in (0, 1) for m in ("baseline", "l2rw")]
    assert run_all(wanted, tmp_path, jobs=2, progress=False) == []
    records = load_records(folder=tmp_path)
    assert {r.experiment for r in records} == set(wanted)
    assert records[0].last == fit(records[0].experiment, progress=False).last
    assert run_all(wanted, tmp_path, jobs=1, progress=False) == []
    assert len(load_records(folder=tmp_path)) == 4
    assert list((tmp_path / ".unfinished").iterdir()) == []


def test_a_run_that_fails_is_reported_and_the_others_are_kept(tmp_path):
    broken = SMALL.with_(lr=1e30)
    failed = run_all([broken, SMALL], tmp_path, jobs=1, progress=False)
    assert [experiment for experiment, _ in failed] == [broken]
    assert "learning rate" in failed[0][1]
    assert [r.experiment for r in load_records(folder=tmp_path)] == [SMALL]


def test_a_trial_that_another_process_runs_is_left_to_it(tmp_path):
    lock = tmp_path / ".unfinished" / f"{SMALL.name}-{SMALL.key}-0.lock"
    with _sole_owner(lock) as sole:
        assert sole
        code = (
            "import sys, pathlib; from l2rw_core.experiments.sweep import _sole_owner\n"
            "with _sole_owner(pathlib.Path(sys.argv[1])) as sole: print(sole)"
        )
        ask = [sys.executable, "-c", code, str(lock)]
        assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == "False"
        assert run_all([SMALL], tmp_path, jobs=1, progress=False) == []
        assert load_records(folder=tmp_path) == []
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == "True"


def test_a_trial_of_ones_own_is_not_run_beside_another_process(tmp_path):
    """Both would write the same checkpoint."""
    with _sole_owner(_lock(SMALL, tmp_path)):
        with pytest.raises(ValueError, match=r"another process is running .* seed 0 for .*: wait for its record"):
            run_and_append(SMALL, tmp_path, progress=False)
        assert load_records(folder=tmp_path) == []
    assert run_and_append(SMALL, tmp_path, progress=False) in load_records(folder=tmp_path)
    assert list((tmp_path / ".unfinished").iterdir()) == []


def test_a_trial_that_cannot_begin_leaves_no_file(tmp_path):
    folder = tmp_path / "records" / "of" / "mine"
    with pytest.raises(ValueError, match="no class 11"):
        run_and_append(SMALL.with_(biases=(PairImbalance(4, 11, 0.9, 100),)), folder, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named_before_anything_is_trained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot be written to .*: name another folder for the records"):
        run_and_append(SMALL, tmp_path / "file" / "records", progress=False)


def test_the_bar_counts_what_unfinished_runs_have_done(tmp_path):
    """From the start, and while they go on; the time of earlier sittings has no part in the rate."""
    tuned, other = SMALL.with_(fine_tune_steps=4), SMALL.with_(seed=1)
    write_checkpoint({"share": 0.5}, unfinished(tuned, tmp_path))
    with _Progress([tuned, other], tmp_path, visible=True, every=0.01) as progress:
        bar = progress._bar
        assert (bar.total, bar.initial, bar.n) == (16, 5, 5)
        write_checkpoint({"share": 2 / 3}, unfinished(other, tmp_path))
        wait_until(lambda: bar.n == 5 + 4)
        progress.finish(tuned)
        assert bar.n == 10 + 4
        unfinished(other, tmp_path).unlink()  # as when its record has just been appended
        progress.finish(other)
        assert bar.n == 16


def wait_until(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("content", "share"),
    [(None, 0), (b"", 0), (b"another file", 0), (b"l2rw checkpoint 2\n" + bytes(32) + b"0.2500\n", 0.25)],
)
def test_how_far_a_file_is(content, share, tmp_path):
    path = tmp_path / "run.pt"
    if content is not None:
        path.write_bytes(content)
    assert read_share(path) == share


def test_reproduce_says_what_others_have_in_hand(tmp_path):
    (cell, *_) = grid("clean_batch", "quick").cells
    ask = [sys.executable, "-m", "l2rw_core", "reproduce", "clean_batch", "--records", str(tmp_path), "--jobs", "1"]
    with _sole_owner(unfinished(cell.trial(0), tmp_path).with_suffix(".lock")):
        said = subprocess.run([*ask, "--where", "m=5"], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "another process has 1 of the trials in hand; they are not in this table yet"


@pytest.mark.parametrize("arguments", [("table2", "--rows", "l2rw", "clean-only", "baseline"), ("clean_batch",)])
def test_reproduce_from_a_shell(arguments, tmp_path):
    """Twice: the second call finds everything on record and says so."""
    command = [sys.executable, "-m", "l2rw_core", "reproduce", *arguments, "--records", str(tmp_path), "--jobs", "2"]
    environment = os.environ | {"L2RW_PROGRESS": "0", "OMP_NUM_THREADS": "1"}
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout for _ in range(2)
    )
    lines = first.splitlines()
    trials = int(lines[0].split(":")[1].split()[0])
    assert lines[0].endswith(f"{trials} to run")
    assert second.splitlines()[0].endswith(f"{trials} trials, 0 to run")
    assert first.splitlines()[1:] == second.splitlines()[1:]
    assert lines[1].startswith("test accuracy in percent: last is after the last step")
    assert len(lines) == trials + 3
