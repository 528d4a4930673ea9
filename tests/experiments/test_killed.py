"""Nothing is lost: not to a kill at any moment, not to a full disk, not to Ctrl-C."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace

import pytest
import torch
from small_runs import OF_ONE_RUN, SMALL
from test_records import make_record
from tqdm import tqdm

from l2rw_core import cli
from l2rw_core.experiments import append, fit, load_records, train
from l2rw_core.running.checkpoints import read_checkpoint, read_share, write_checkpoint

PROCESSES = multiprocessing.get_context("forkserver")  # it loads the package once, and each life is a fork of it
PROCESSES.set_forkserver_preload(["l2rw_core.cli", "sklearn.datasets", "torch._dynamo"])
EXPERIMENT = SMALL.with_(method="l2rw", model="mlp", steps=80, lr=0.02, lr_drops=(50,), evaluate_every=20)


def count_steps(taken):
    tqdm.set_lock(threading.RLock())  # its own is shared between processes, and one that is killed leaves it behind
    step = train._Run._step

    def counted(run):
        step(run)
        taken.value += 1

    train._Run._step = counted


def live(folder, taken):
    """A run that writes a checkpoint after every step, appends its record, and leaves its parameters."""
    count_steps(taken)
    record = train._Run.record

    def with_parameters(run):
        torch.save(run.model.state_dict(), folder / "parameters")
        return record(run)

    train._Run.record = with_parameters
    append(fit(EXPERIMENT, progress=False, checkpoint=folder / "run", checkpoint_every=-1), folder)


def start(target, *arguments):
    taken = PROCESSES.Value("i", 0, lock=False)
    process = PROCESSES.Process(target=target, args=(*arguments, taken))
    process.start()
    return process, taken


def wait_for(steps, process, taken):
    while taken.value < steps and process.is_alive():
        time.sleep(0.001)


def finished(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a line that a kill tore is reported, and no record yet
        return load_records(EXPERIMENT.name, folder)


def same(record):
    return {name: value for name, value in json.loads(record.to_json()).items() if name not in OF_ONE_RUN}


def test_a_run_killed_again_and_again_ends_as_if_it_never_was(tmp_path):
    draw, kills = random.Random(0), 0
    once, often = tmp_path / "once", tmp_path / "often"
    once.mkdir()
    often.mkdir()
    process, _ = start(live, once)
    while not finished(often):
        victim, taken = start(live, often)
        wait_for(draw.randint(1, 5), victim, taken)
        time.sleep(draw.random() * 0.003)
        victim.kill()
        victim.join()
        kills += victim.exitcode == -signal.SIGKILL
    process.join()
    assert kills >= 15
    assert same(finished(often)[0]) == same(finished(once)[0])
    ours, theirs = (torch.load(folder / "parameters", weights_only=True) for folder in (often, once))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def command(folder, taken):
    count_steps(taken)
    sys.stderr = (folder / "stderr").open("w")
    arguments = ("--rows", "baseline", "--jobs", "1", "--set", "steps=40", "--records", str(folder / "records"))
    cli.main(["reproduce", "fig2", *arguments])


def test_ctrl_c_ends_the_command_with_a_state_to_go_on_from(tmp_path):
    process, taken = start(command, tmp_path)
    wait_for(3, process, taken)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    *_, said = (tmp_path / "stderr").read_text().splitlines()
    assert said == "l2rw: interrupted; what is finished is kept, and the same command goes on from there"
    assert load_records(folder=tmp_path / "records") == []
    (state,) = (tmp_path / "records" / ".unfinished").glob("*.pt")
    step = read_checkpoint(state, torch.device("cpu"))["step"]
    assert 3 <= step < 40
    assert read_share(state) == step / 40
    process, taken = start(command, tmp_path)
    process.join()
    assert process.exitcode == 0
    assert taken.value < 40
    (record,) = load_records(folder=tmp_path / "records")
    assert same(replace(fit(record.experiment, progress=False), environment=record.environment)) == same(record)
    assert not state.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only the superuser may mount a file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_leaves_the_last_good_checkpoint(small_disk):
    good, large = {"x": torch.arange(1000)}, {"x": torch.zeros(1_000_000)}
    path = small_disk / "run"
    write_checkpoint(good, path)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(large, path)
    assert torch.equal(read_checkpoint(path, torch.device("cpu"))["x"], good["x"])
    assert list(small_disk.iterdir()) == [path]


def test_a_full_disk_leaves_the_records(small_disk):
    path = append(make_record(0), small_disk)
    whole = path.read_bytes()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(2**20))
    long = make_record(1, accuracy=[0.5] * 5000)  # of which the rest of a page can hold the beginning
    with pytest.raises(OSError, match="No space left"):
        append(long, small_disk)
    assert path.read_bytes() == whole
    filler.unlink()
    append(long, small_disk)
    assert [r.experiment.seed for r in load_records("fig2", small_disk)] == [0, 1]


def test_a_line_torn_by_a_kill_is_left_out_until_it_is_set_aside(tmp_path):
    path = append(make_record(0), tmp_path)
    with path.open("ab") as file:
        file.write(make_record(1).to_json().encode()[:-5])
    with pytest.warns(RuntimeWarning, match=r"fig2.jsonl ends in a torn line, which is left out"):
        assert [r.experiment.seed for r in load_records("fig2", tmp_path)] == [0]
