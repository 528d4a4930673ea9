"""`make campaign` as somebody runs it: from a clone, in processes of its own, paused, stopped and started again."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l2rw_core.experiments import load_records
from l2rw_core.experiments.campaign import queue

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path):
    copy = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
    for path in (copy / "data" / "results").glob("*.jsonl"):
        path.unlink()
    return copy


def environment(checkout):
    campaign = checkout.parent / "campaign"
    named = {"L2RW_CAMPAIGN": str(campaign), "PYTHONPATH": str(checkout)}
    return os.environ | named | {"OMP_NUM_THREADS": "1", "L2RW_CAMPAIGN_NICE": "0"}  # other tests would starve it


def command(checkout, *words):
    tool = str(checkout / "tools" / "campaign.py")
    return subprocess.run(
        [sys.executable, tool, *words], env=environment(checkout), capture_output=True, text=True, check=False
    )


def started(checkout):
    process = subprocess.Popen(
        [sys.executable, str(checkout / "tools" / "campaign.py"), "start", "rehearsal"],
        env=environment(checkout),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert " processes work in " in process.stdout.readline()
    return process


def states(checkout):
    pids = (checkout.parent / "campaign" / "processes").read_text().split()
    stat = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids]
    assert len(stat) == 1 + (os.cpu_count() or 1)
    return stat


def wait_until(true, seconds=120):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    assert true()


@pytest.mark.apart
def test_it_starts_pauses_stops_and_goes_on_until_everything_is_on_record(checkout):
    process = started(checkout)
    wait_until(lambda: any((checkout.parent / "campaign" / "records" / ".unfinished").glob("*.lock")))
    assert command(checkout, "pause").returncode == 0
    wait_until(lambda: set(states(checkout)) == {"T"})
    assert command(checkout, "start", "rehearsal").stderr.startswith("error: a campaign is running in")
    assert command(checkout, "go-on").returncode == 0
    assert command(checkout, "stop").returncode == 0
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert command(checkout, "stop").stdout.startswith("no campaign is running in")

    again = started(checkout)
    again.communicate(timeout=500)
    assert again.returncode == 0
    records = load_records(folder=checkout / "data" / "results")
    assert {record.experiment for record in records} == set(queue("rehearsal"))
    assert len(records) == len(queue("rehearsal"))
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert {record.environment["commit"] for record in records} == {head.stdout.strip()}
    assert {record.environment["threads"] for record in records} == {1}
    said = command(checkout, "status", "rehearsal").stdout
    assert said == "3 of 3 trials are done, 0 are left\n0.0 core-hours are left\n"


@pytest.mark.parametrize("words", [(), ("begin",), ("start", "cifar", "now")])
def test_a_command_that_there_is_none_of_is_refused_with_those_there_are(words):
    answer = command(ROOT, *words)
    assert answer.returncode == 2
    assert answer.stderr == "usage: tools/campaign.py {start,status,pause,go-on,stop} [QUEUE]\n"


def test_a_queue_that_there_is_none_of_is_refused_with_those_there_are():
    answer = command(ROOT, "status", "table9")
    assert answer.returncode == 2
    assert answer.stderr == "error: there is no queue 'table9'; choose one of cifar, small, gpu, rehearsal\n"


def test_a_reader_may_stop_reading_the_status(tmp_path):
    named = {"L2RW_CAMPAIGN": str(tmp_path)}
    tool = str(ROOT / "tools" / "campaign.py")
    command = [sys.executable, tool, "status"]
    with subprocess.Popen(command, env=os.environ | named, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
        asked.stdout.close()
        assert asked.stderr.read() == b""
    assert asked.returncode == 0
