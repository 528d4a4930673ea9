"""Run trials on a Dask cluster, whose workers may be on other machines.

Workers share the folder of the records with the machine that asks, at the same path, on a filesystem that keeps
``flock`` locks (a local disk, NFS 4): the record files, the checkpoints of unfinished runs, and the locks that keep a
trial from being run by two workers are there. A trial whose worker dies goes to another one, which takes over the
checkpoint. Data sets are read by each worker for itself, from its ``L2RW_DATA`` or its cache. Scheduler and workers
need the package installed, in the same versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from l2rw_core.experiments.config import Experiment

if TYPE_CHECKING:
    from distributed import Client

RunOne = Callable[[Experiment, Path, str], tuple[Experiment, str]]


def run_on_cluster(
    run_one: RunOne, experiments: Sequence[Experiment], folder: Path, device: str, scheduler: str
) -> Iterator[tuple[Experiment, str]]:
    """Call ``run_one(experiment, folder, device)`` on the workers of a Dask scheduler; results come as they are made.

    Args:
        run_one: runs one trial and appends its record; gives the experiment, and what went wrong if anything.
        experiments: what to run, in this order.
        folder: of the record files, seen by all workers at this path.
        device: where a worker trains.
        scheduler: address, for example ``tcp://host:8786``.

    Raises:
        ValueError: before anything runs, if Dask is not installed, if there is no worker, or if a worker has several
            threads or does not see `folder`.
        OSError: if no scheduler answers.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ValueError("a Dask scheduler needs the extra dask: pip install 'l2rw-core[dask]'") from error
    folder = folder.resolve()
    with Client(scheduler, timeout=10, set_as_default=False) as client:
        _check_workers(client, folder)
        # Not by joblib's backend for Dask: of a trial whose workers keep dying it never says so, and waits for ever.
        futures = {client.submit(run_one, e, folder, device, pure=False): e for e in experiments}
        for future in as_completed(futures, loop=client.loop):
            error = future.exception()
            yield (futures[future], f"{type(error).__name__}: {error}") if error else future.result()


def _check_workers(client: Client, folder: Path) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise ValueError("the scheduler has no workers yet: start some with 'dask worker ADDRESS --nthreads 1'")
    for address, worker in workers.items():
        if worker["nthreads"] != 1:  # a trial's seed governs the random numbers of its whole process
            raise ValueError(f"worker {address} has {worker['nthreads']} threads: start it with --nthreads 1")
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, prefix=".shared-") as probe:
        answers = client.run(Path(probe.name).exists)
    blind = [address for address, sees in answers.items() if not sees]
    if blind:
        raise ValueError(
            f"worker {blind[0]} does not see {folder}: name a folder that all workers share with --records"
        )
