"""`l2rw`: run experiments and read their records from a shell, and audit the labels of one's own data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import torch
import tyro

from l2rw_core import datasets, experiments, methods
from l2rw_core.running.checkpoints import check_writable
from l2rw_core.running.progress import progress_wanted

MethodName = Literal[tuple(methods.METHODS)]  # type: ignore[valid-type]
DataName = Literal[datasets.names()]  # type: ignore[valid-type]
GridName = Literal[experiments.grid_names()]  # type: ignore[valid-type]
OTHER_RECORDS = "name another folder with --records"
Ratio = Literal[tuple(experiments.MAJORITY_SHARES)]  # type: ignore[valid-type]


@dataclass
class Run:
    """Train on imbalanced digits (Section 4.1, Figure 2), record every trial, and print the test errors."""

    method: MethodName = "l2rw"
    """How to train."""
    ratio: Ratio | None = None
    """Nominal imbalance, frequent to rare; None is the largest that the data set allows: 200, for digits 20."""
    pair: tuple[int, int] = (4, 9)
    """The rare digit and the frequent one."""
    data: DataName = "mnist"
    """Data set; digits is embedded and needs no files."""
    scale: Literal["quick", "paper"] = "quick"
    """quick: 800 steps; paper: 8,000 steps, the paper's own scale."""
    trials: int = 1
    """Number of trials, with consecutive seeds."""
    seed: int = 0
    """First seed."""
    records: Path = field(default_factory=experiments.results_root)
    """Folder of the record files; trials already on record there are not run again."""
    again: bool = False
    """Run trials again that are already on record."""
    steps: int | None = None
    """Training steps, if not those of the scale."""
    device: str = "cpu"
    """Where to train, for example cuda."""
    threads: int | None = None
    """CPU threads; by default what PyTorch chooses."""

    def __call__(self) -> None:
        _check_positive("trials", self.trials)
        _check_device(self.device)
        ratio = self._ratio()
        if self.threads is not None:
            _check_positive("threads", self.threads)
            torch.set_num_threads(self.threads)
        wanted = [self._experiment(ratio, seed) for seed in range(self.seed, self.seed + self.trials)]
        done = {} if self.again else {r.experiment: r for r in experiments.load_records("fig2", self.records)}
        source = None
        if not all(e in done for e in wanted):
            check_writable(self.records, OTHER_RECORDS)
            source = datasets.load(self.data)
        for experiment in wanted:
            record = done.get(experiment)
            if record is None:
                record = experiments.run_and_append(experiment, self.records, self.device, source)
            print(
                f"{experiment.data} {self.pair[0]} against {self.pair[1]}, {ratio}:1, {self.method}, "
                f"seed {experiment.seed}: test error {1 - record.last:.2%} after the last step, "
                f"{1 - record.best:.2%} at best, {record.duration:.0f} s, record {record.id}"
            )

    def _ratio(self) -> int:
        largest = experiments.largest_ratio(self.data)
        if self.ratio is not None and self.ratio > largest:
            raise ValueError(
                f"{self.ratio}:1 leaves too few rare images of {self.data} for the clean set: give --ratio {largest} "
                "or less, or a larger data set"
            )
        return self.ratio or largest

    def _experiment(self, ratio: int, seed: int) -> experiments.Experiment:
        experiment = experiments.mnist_imbalance(self.method, ratio, self.pair, seed, self.scale, self.data)
        if self.steps is None or self.steps == experiment.steps:
            return experiment
        return experiment.with_(steps=self.steps, scale="quick" if self.scale == "quick" else "reduced")


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error


@dataclass
class Reproduce:
    """Run what is missing of a figure or a table of the paper, and print it beside the paper's numbers.

    Finished trials are on record and are not run again; unfinished ones go on from their last checkpoint.
    """

    name: tyro.conf.Positional[GridName]
    """Figure or table of the paper, or study of ours."""
    scale: Literal[experiments.SCALES] = "quick"  # type: ignore[valid-type]
    """paper: the paper's own networks and steps; reduced: small images, hours; quick: embedded digits, minutes."""
    trials: int = 1
    """Trials of each cell, with the seeds 0, 1, 2 and so on."""
    rows: tuple[str, ...] = ()
    """Only these rows, for example baseline l2rw; by default all."""
    where: tuple[str, ...] = ()
    """Only these columns, for example data=mnist ratio=200: all conditions after one --where."""
    jobs: int = -1
    """Processes, each on one thread; -1 is one a core."""
    scheduler: str | None = None
    """Address of a Dask scheduler, for example tcp://host:8786: its workers run the trials, and have to share the
    folder of the records."""
    device: str = "cpu"
    """Where to train, for example cuda."""
    records: Path = field(default_factory=experiments.results_root)
    """Folder of the record files."""
    dry_run: bool = False
    """Only say what would be run."""

    def __call__(self) -> None:
        _check_positive("trials", self.trials)
        if self.jobs < 1 and self.jobs != -1:
            raise ValueError(f"jobs must be a number of processes, or -1 for one a core, got {self.jobs}")
        if not (self.scheduler or self.dry_run):  # a worker has devices of its own
            _check_device(self.device)
        cells = self._cells()
        wanted = [cell.trial(seed) for seed in range(self.trials) for cell in cells]
        todo = experiments.missing(wanted, experiments.load_records(folder=self.records))
        shared = len(wanted) - len(experiments.missing(wanted, ()))
        sharing = f", of which {shared} share the run of another" if shared else ""
        print(f"{self.name} at the scale {self.scale}: {len(wanted)} trials{sharing}, {len(todo)} to run")
        if self.dry_run:
            return
        check_writable(self.records, OTHER_RECORDS)
        failed = experiments.run_all(
            todo, self.records, self.jobs, self.device, progress_wanted(), self.scheduler
        )
        records = experiments.load_records(folder=self.records)
        print("test accuracy in percent: last is after the last step, best at the best evaluation")
        print(experiments.grid_table(cells, records).to_string(index=False))
        others = set(experiments.missing(todo, records)) - {experiment for experiment, _ in failed}
        if others:
            print(f"another process has {len(others)} of the trials in hand; they are not in this table yet")
        for experiment, error in failed:
            print(f"failed: {experiment.name} {experiment.method} seed {experiment.seed}: {error}", file=sys.stderr)
        if failed:
            raise SystemExit(1)

    def _cells(self) -> list[experiments.Cell]:
        cells = list(experiments.grid(self.name, self.scale).cells)
        conditions = [("row", row) for row in self.rows] + [_condition(text) for text in self.where]
        places = [{"row": cell.row, **{name: str(value) for name, value in cell.column}} for cell in cells]
        for name, value in conditions:
            valid = list(dict.fromkeys(place[name] for place in places if name in place))
            if value not in valid:
                names = [n for n in dict.fromkeys(n for place in places for n in place) if n != "row"]
                raise ValueError(
                    f"{self.name} has no {name} {value!r}; choose from {', '.join(valid) or ', '.join(names)}"
                )
        allowed = {name: {v for n, v in conditions if n == name} for name, _ in conditions}
        return [
            cell
            for cell, place in zip(cells, places, strict=True)
            if all(place.get(name) in values for name, values in allowed.items())
        ]


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"where takes conditions such as data=mnist, got {text!r}")
    return name, value


@dataclass
class Show:
    """Print what is on record: mean test error and 95% interval over the trials of each configuration."""

    name: str | None = None
    """Only this experiment, for example fig2."""
    records: Path = field(default_factory=experiments.results_root)
    """Folder of the record files."""

    def __call__(self) -> None:
        if not self.records.exists():
            raise ValueError(
                f"there is no folder {self.records}: name the folder that holds the records with --records"
            )
        found = experiments.load_records(self.name, self.records)
        if not found and self.name is not None:
            names = sorted(path.stem for path in self.records.glob("*.jsonl"))
            there = f"there is {', '.join(names)}" if names else "the folder holds no record"
            raise ValueError(f"nothing of {self.name!r} is on record in {self.records}: {there}")
        if not found:
            print(f"nothing on record in {self.records}")
            return
        print(experiments.summary(found).to_string(index=False))


@dataclass
class Report:
    """Write data/reproduction.csv, the book's page reproduction.md and the README's table from the records."""

    root: Path = field(default_factory=lambda: experiments.results_root().parents[1])
    """Folder of the checkout."""
    records: Path = field(default_factory=experiments.results_root)
    """Folder of the record files."""

    def __call__(self) -> None:
        from l2rw_core.figures.page import write_report

        if not (self.root / "data").is_dir():
            raise ValueError(f"{self.root} has no folder data: name a checkout of the project with --root")
        for path in write_report(experiments.load_records(folder=self.records), self.root):
            print(f"wrote {path}")


@dataclass
class Audit:
    """Rank the labels of your own data, most suspect first, by a small set of examples whose labels you trust.

    Writes report.html, one page that needs no network, and labels.csv with the columns that cleanlab's tools read. An
    interrupted audit goes on when the same command is given again.
    """

    data: tyro.conf.Positional[Path]
    """A folder with one folder of images a label, a .csv or .parquet table, or an .npz with x and y."""
    clean: Path
    """The trusted examples, in the same form; none of them should be among the data."""
    out: Path = Path("audit")
    """Folder to write to."""
    label_column: str | None = None
    """Label of a table; by default its column label, target, y or class."""
    ignore: tuple[str, ...] = ()
    """Columns of a table that say nothing about the label, for example an id."""
    epochs: int = 20
    """Passes over the data; small data get more."""
    by: Literal["both", "alignment", "weight", "loss"] = "both"
    """What labels are ranked by; both is alignment and loss."""
    shown: int = 60
    """Examples shown in the report."""
    seed: int = 0
    """Of the network's first parameters and the order of batches."""

    def __call__(self) -> None:
        from l2rw_core import audit
        from l2rw_core.report.clean_size import expected_gain

        options = audit.Options(epochs=self.epochs, by=self.by, seed=self.seed)
        _check_positive("shown", self.shown)
        _check_out(self.out, (audit.REPORT, audit.TABLE))
        train, clean = audit.read_pair(self.data, self.clean, self.label_column, self.ignore)
        check_writable(self.out, "name another folder with --out")
        checkpoint = self.out / audit.CHECKPOINT
        result = audit.audit(train, clean, options, checkpoint=checkpoint, gain=expected_gain())
        for finding in result.check.findings:
            print(f"note: {finding}")
        issues = int(result.suspects["is_label_issue"].sum())
        print(f"{issues} of {len(train)} labels look wrong")
        for path in audit.write_report(result, self.out, self.data.resolve().name, self.shown):
            print(f"wrote {path}")
        checkpoint.unlink(missing_ok=True)


def _check_out(folder: Path, names: Sequence[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder with --out")
    there = [folder / name for name in names if (folder / name).exists()]
    if there:
        raise ValueError(f"{there[0]} is there already: name another folder with --out, or move it away")


Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Audit, tyro.conf.subcommand("audit")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `l2rw` command.

    Errors of the user's making are one line and the exit code 2, not a traceback; the exit code of Ctrl-C is 130.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        _check_once(given)
        command = tyro.cli(Command, prog="l2rw", description=__doc__, args=given)
        command()
    except (ValueError, OSError, FloatingPointError, datasets.DataUnavailable) as error:
        _leave(" ".join(str(error).split()), 2)
    except KeyboardInterrupt:
        _leave("interrupted; what is finished is kept, and the same command goes on from there", 130)


def _check_once(arguments: Sequence[str]) -> None:
    """Of two lists after the same option the first would be dropped, and silently."""
    options = [argument.partition("=")[0] for argument in arguments]
    for option in ("--rows", "--where", "--ignore"):
        if options.count(option) > 1:
            raise ValueError(f"{option} is given twice: give it once, with all its values after it")


def _leave(message: str, code: int) -> NoReturn:
    print(f"l2rw: {message}", file=sys.stderr)
    raise SystemExit(code) from None
