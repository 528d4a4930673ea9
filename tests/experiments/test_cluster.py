"""A sweep on a real Dask cluster of this machine: a scheduler and two workers, each a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from l2rw_core.cli import main
from l2rw_core.experiments import grid, load_records, run_all
from l2rw_core.experiments.cluster import run_on_cluster

DASK = [sys.executable, "-m", "dask"]
QUIET = os.environ | {"L2RW_PROGRESS": "0", "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__DASHBOARD__LINK": ""}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The scheduler's address, and the two workers."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    local = ["--no-dashboard", "--host", "127.0.0.1", "--preload", "l2rw_core.experiments"]
    worker = ["worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", *local]
    commands = [["scheduler", "--scheduler-file", str(file), "--port", "0", *local], worker, worker]
    processes = []
    with (folder / "log").open("w") as log:
        for command in commands:
            processes.append(subprocess.Popen([*DASK, *command], cwd=folder, env=QUIET, stdout=log, stderr=log))
    wait_for(file.exists)
    address = json.loads(file.read_text())["address"]
    with Client(address) as client:
        client.wait_for_workers(2, timeout=300)
    yield address, processes[1:]
    for process in processes:
        process.kill()
        process.wait()


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def holds_a_lock(process, folder):
    """Whether a process has a trial in hand."""
    try:
        open_files = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
    except FileNotFoundError:
        return False
    return any(name.startswith(str(folder)) and name.endswith(".lock") for name in open_files)


def kill_mid_run(process, folder):
    while True:
        wait_for(lambda: holds_a_lock(process, folder))
        process.send_signal(signal.SIGSTOP)
        if holds_a_lock(process, folder):
            process.kill()
            process.wait()
            return
        process.send_signal(signal.SIGCONT)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="which process has a trial in hand is read from /proc")
def test_a_worker_killed_in_the_middle_of_a_trial_loses_and_doubles_nothing(cluster, tmp_path, capsys):
    address, workers = cluster
    with ThreadPoolExecutor() as beside:
        killing = beside.submit(kill_mid_run, workers[0], tmp_path)
        command = ["reproduce", "table2", "--rows", "baseline", "--trials", "4", "--records", str(tmp_path)]
        main([*command, "--scheduler", address])
        killing.result()
    assert workers[0].returncode == -signal.SIGKILL
    assert capsys.readouterr().out.startswith("table2 at the scale quick: 4 trials, 4 to run")
    assert Counter(record.experiment.seed for record in load_records(folder=tmp_path)) == {0: 1, 1: 1, 2: 1, 3: 1}
    assert list((tmp_path / ".unfinished").iterdir()) == []


@pytest.mark.parametrize(
    ("workers", "threads", "remedy"), [(0, 1, "no workers yet: start some"), (1, 2, "--nthreads 1")]
)
def test_a_cluster_that_cannot_do_it_is_refused_before_anything_runs(workers, threads, remedy, tmp_path):
    options = {"processes": False, "dashboard_address": ":0"}
    wanted = [grid("table2", "quick").cells[0].trial(0)]
    with (
        LocalCluster(n_workers=workers, threads_per_worker=threads, **options) as cluster,
        pytest.raises(ValueError, match=remedy),
    ):
        run_all(wanted, tmp_path, progress=False, scheduler=cluster.scheduler_address)
    assert list(tmp_path.iterdir()) == []


def die_with_the_first(experiment, folder, device):
    if experiment.seed == 0:
        os._exit(1)
    return experiment, ""


def test_a_trial_that_kills_its_workers_is_reported_and_the_sweep_ends(tmp_path):
    """Which others are lost with it, because they waited on the same worker, is chance."""
    trials = [grid("table2", "quick").cells[0].trial(seed) for seed in range(3)]
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), LocalCluster(**options) as cluster:
        results = dict(run_on_cluster(die_with_the_first, trials, tmp_path, "cpu", cluster.scheduler_address))
    assert results.keys() == set(trials)
    assert results[trials[0]].startswith("KilledWorker: ")
