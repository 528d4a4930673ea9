"""Start, watch and stop the long runs on CIFAR-10 (see l2rw_core/experiments/campaign.py).

    python tools/campaign.py start     from a clone of the last commit, one process a core, at the lowest priority
                                       (another niceness than 19: $L2RW_CAMPAIGN_NICE)
    python tools/campaign.py status    what is done, what is left, how many core-hours
    python tools/campaign.py pause     hold all processes, for example to time something; go-on lets them go on
    python tools/campaign.py stop      let every process write its checkpoint and end

A second word names another queue than cifar: `start small` is the studies on small images, `start rehearsal` takes a
minute.

Everything lies in one folder outside of the checkout, $L2RW_CAMPAIGN or ~/.cache/l2rw-campaign: the clone, the records
and the checkpoints. Edits in the checkout do not touch it. Finished records are also appended to data/results, where
`l2rw report` finds them, by `start` as they are made and by `status`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = CHECKOUT / "data" / "results"
EVERY = 20.0
"""Seconds between two looks for finished records."""


def folder() -> Path:
    return Path(os.environ.get("L2RW_CAMPAIGN") or Path.home() / ".cache" / "l2rw-campaign").resolve()


def records(root: Path) -> Path:
    return root / "records"


def start(root: Path, queue: str) -> int:
    """Work until the queue is empty or somebody stops it. Checkpoints of an earlier start are taken up."""
    with _alone(root):
        _check(queue)
        code = _clone(root / "code")
        records(root).mkdir(exist_ok=True)
        _hand_over(RESULTS, records(root))
        _hand_over(records(root), RESULTS)
        workers = [_worker(root, code, k, queue) for k in range(os.cpu_count() or 1)]
        (root / "processes").write_text("\n".join(str(pid) for pid in (os.getpid(), *(w.pid for w in workers))))
        stopping: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: stopping.append(number))
        print(f"{len(workers)} processes work in {root}; 'make campaign DO=status' says how far they are", flush=True)
        size = _size(root)
        while not stopping and any(worker.poll() is None for worker in workers):
            _sleep(EVERY, lambda: bool(stopping))
            if size != (size := _size(root)):
                _hand_over(records(root), RESULTS)
        for worker in workers:
            worker.terminate()
        codes = [worker.wait() for worker in workers]
        _hand_over(records(root), RESULTS)
        (root / "processes").unlink()
        return 0 if stopping or not any(codes) else _report(root, codes)


def _report(root: Path, codes: list[int]) -> int:
    for k, code in enumerate(codes):
        if code:
            last = (root / f"log-{k}.txt").read_text().strip().splitlines()[-1:]
            print(f"process {k} ended with {code}: {' '.join(last)}", file=sys.stderr)
    return 1


def status(root: Path, queue: str) -> int:
    from l2rw_core.experiments import campaign

    campaign.queue(queue)
    if records(root).is_dir():
        _hand_over(records(root), RESULTS)
    print(campaign.status(records(root), campaign.queue(queue)), flush=True)
    return 0


def pause(root: Path, queue: str) -> int:
    return _signal(root, signal.SIGSTOP)


def go_on(root: Path, queue: str) -> int:
    return _signal(root, signal.SIGCONT)


def stop(root: Path, queue: str) -> int:
    """Returns when the last process has ended; they are hurried, for at the lowest priority a step can take minutes."""
    for pid in _processes(root)[1:]:
        with suppress(OSError):  # not everybody may raise a priority
            _set_niceness(pid, "0")
            os.setpriority(os.PRIO_PROCESS, pid, 0)
    _signal(root, signal.SIGCONT)
    code = _signal(root, signal.SIGTERM, only_first=True)
    while (root / "processes").exists() and _alive(_processes(root)[0]):
        time.sleep(0.2)
    return code


def _processes(root: Path) -> list[int]:
    try:
        return [int(line) for line in (root / "processes").read_text().split()]
    except FileNotFoundError:
        return []


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _signal(root: Path, number: int, only_first: bool = False) -> int:
    processes = [pid for pid in _processes(root) if _alive(pid)]
    if not processes:
        print(f"no campaign is running in {root}")
        return 1
    for pid in processes[: 1 if only_first else None]:
        os.kill(pid, number)
    return 0


def _clone(code: Path) -> Path:
    """A clone of the checkout at its last commit: what runs there does not see later edits."""
    commit = _git(CHECKOUT, "rev-parse", "HEAD")
    if not code.exists():
        _git(CHECKOUT, "clone", "--quiet", "--no-checkout", str(CHECKOUT), str(code))
    _git(code, "fetch", "--quiet", str(CHECKOUT), commit)
    _git(code, "checkout", "--quiet", "--force", "--detach", commit)
    return code


def _git(where: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(where), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def _worker(root: Path, code: Path, number: int, queue: str) -> subprocess.Popen[bytes]:
    data = os.environ.get("L2RW_DATA") or CHECKOUT / "data" / "cache"
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    keep_memory = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(2**32))
    places = {"PYTHONPATH": str(code), "L2RW_DATA": str(Path(data).resolve())}
    environment = os.environ | keep_memory | one_thread | places
    niceness = os.environ.get("L2RW_CAMPAIGN_NICE", "19")
    command = [sys.executable, "-m", "l2rw_core.experiments.campaign", str(records(root)), queue]
    with (root / f"log-{number}.txt").open("ab") as log:
        process = subprocess.Popen(
            ["nice", "-n", niceness, *command],
            cwd=code,
            env=environment | {"L2RW_PROGRESS": "0"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for this process, which tells them
        )
    with suppress(OSError):
        _set_niceness(process.pid, niceness)
    return process


def _set_niceness(pid: int, niceness: str) -> None:
    """Of the session that a process leads: Linux may weigh sessions first, and the processes within one only then."""
    Path(f"/proc/{pid}/autogroup").write_text(niceness)


def _hand_over(source: Path, target: Path) -> None:
    from l2rw_core.experiments.campaign import hand_over

    if number := hand_over(source, target):
        print(f"{number} records to {target}", flush=True)


def _check(queue: str) -> None:
    from l2rw_core.experiments import campaign

    campaign.queue(queue)


def _size(root: Path) -> int:
    return sum(path.stat().st_size for path in records(root).glob("*.jsonl"))


def _sleep(seconds: float, ended: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not ended():
        time.sleep(0.2)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(
                f"error: a campaign is running in {root} already; name another folder in L2RW_CAMPAIGN"
            ) from None
        yield


COMMANDS = {"start": start, "status": status, "pause": pause, "go-on": go_on, "stop": stop}


def main(arguments: list[str]) -> int:
    command, queue = (*arguments, "cifar")[:2] if arguments else ("", "")
    if len(arguments) > 2 or command not in COMMANDS:
        print(f"usage: tools/campaign.py {{{','.join(COMMANDS)}}} [QUEUE]", file=sys.stderr)
        return 2
    try:
        return COMMANDS[command](folder(), queue)
    except BrokenPipeError:  # `status | head`: the reader has seen enough, and the end of Python is not to flush again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
