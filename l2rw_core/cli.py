"""`l2rw`: run experiments and read their records from a shell, and audit the labels of one's own data."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from l2rw_core.extras import MissingExtra, require
from l2rw_core.places import results_root

try:
    require("experiments", "tyro")
except MissingExtra as error:
    raise SystemExit(f"l2rw: {error}") from None

import tyro

if TYPE_CHECKING:
    from l2rw_core.experiments import Cell, Experiment

# Written out, though the experiments know them: an import of those loads PyTorch, and `--help` would take seconds.
GridName = Literal[
    "fig2",
    "pair_8_2",
    "settings_200",
    "table1",
    "table2",
    "fig3",
    "fig4",
    "fig5",
    "fig6",
    "fig7",
    "noise_imbalance",
    "later",
    "later_imbalance",
    "settings_imbalance",
    "fair_200",
    "look_ahead",
    "instance",
    "instance_detection",
    "clean_draw",
    "clean_batch",
    "unclean",
    "schedule",
    "detection",
    "cifar_small",
    "cifar_long_tail",
    "statistics",
    "precision",
    "quick",
]
Scale = Literal["paper", "quarter", "reduced", "quick"]
OTHER_RECORDS = "name another folder with --records"
CHOSEN_OTHERWISE = ("name", "scale", "method", "biases", "seed")
"""Fields of an experiment that its figure or table, `--scale`, `--rows`, `--where` and `--trials` choose."""


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def _check_device(device: str) -> None:
    import torch

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
    scale: Scale = "quick"
    """paper: the paper's own networks and steps; quarter: a quarter of its steps on CIFAR-10, days; reduced: small
    images, hours; quick: embedded digits, minutes."""
    trials: int = 1
    """Trials of each cell, with the seeds 0, 1, 2 and so on."""
    rows: tuple[str, ...] = ()
    """Only these rows, for example baseline l2rw; by default all."""
    where: tuple[str, ...] = ()
    """Only these columns, for example data=mnist ratio=200: all conditions after one --where."""
    changes: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """Fields of the experiments to change, for example steps=500 lr=0.01; what is then not the paper's is reduced."""
    jobs: int = -1
    """Processes, each on one thread; -1 is one a core."""
    scheduler: str | None = None
    """Address of a Dask scheduler, for example tcp://host:8786: its workers run the trials, and have to share the
    folder of the records."""
    device: str = "cpu"
    """Where to train, for example cuda."""
    records: Path = field(default_factory=results_root)
    """Folder of the record files."""
    dry_run: bool = False
    """Only say what would be run."""

    def __call__(self) -> None:
        from l2rw_core import experiments
        from l2rw_core.report.reproduction import grid_table
        from l2rw_core.running.checkpoints import check_writable
        from l2rw_core.running.progress import progress_wanted

        _check_positive("trials", self.trials)
        if self.jobs < 1 and self.jobs != -1:
            raise ValueError(f"jobs must be a number of processes, or -1 for one a core, got {self.jobs}")
        if not (self.scheduler or self.dry_run):  # a worker has devices of its own
            _check_device(self.device)
        cells = [_changed(cell, self.changes) for cell in self._cells()]
        wanted = [cell.trial(seed) for seed in range(self.trials) for cell in cells]
        todo = experiments.missing(wanted, experiments.load_records(folder=self.records))
        shared = len(wanted) - len(experiments.missing(wanted, ()))
        sharing = f", of which {shared} share the run of another" if shared else ""
        if not self.dry_run:
            check_writable(self.records, OTHER_RECORDS)
        print(f"{self.name} at the scale {self.scale}: {len(wanted)} trials{sharing}, {len(todo)} to run")
        if self.dry_run:
            return
        failed = experiments.run_all(todo, self.records, self.jobs, self.device, progress_wanted(), self.scheduler)
        records = experiments.load_records(folder=self.records)
        print("test accuracy in percent: last is after the last step, best at the best evaluation")
        print(grid_table(cells, records).to_string(index=False))
        others = set(experiments.missing(todo, records)) - {experiment for experiment, _ in failed}
        if others:
            print(f"another process has {len(others)} of the trials in hand; they are not in this table yet")
        for experiment, error in failed:
            print(f"failed: {experiment.name} {experiment.method} seed {experiment.seed}: {error}", file=sys.stderr)
        if failed:
            raise SystemExit(1)

    def _cells(self) -> list[Cell]:
        from l2rw_core.experiments import grid

        cells = list(grid(self.name, self.scale).cells)
        conditions = [("row", row) for row in self.rows] + [_condition(text) for text in self.where]
        places = [{"row": cell.row} | {name: str(value) for name, value in cell.place.items()} for cell in cells]
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


def _changed(cell: Cell, changes: Sequence[str]) -> Cell:
    """The cell with some fields of its experiment changed; nothing so changed is at the paper's scale."""
    if not changes:
        return cell
    values = dict(_change(text, cell.experiment) for text in changes)
    scale = "reduced" if cell.experiment.scale == "paper" else cell.experiment.scale
    return replace(cell, experiment=cell.experiment.with_(**values, scale=scale))


def _change(text: str, experiment: Experiment) -> tuple[str, Any]:
    """The name and the value of a field in ``steps=500``."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"set takes fields with their values, such as steps=500, got {text!r}")
    settable = {f.name: f for f in fields(experiment) if f.name not in CHOSEN_OTHERWISE}
    if name not in settable:
        raise ValueError(f"an experiment has no field {name!r} to set; choose from {', '.join(settable)}")
    return name, _value(settable[name], value)


def _value(described: Field, text: str) -> Any:
    """What stands behind the equals sign, as the type of the field's default."""
    kind = type(described.default)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is tuple:
            return tuple(int(part) for part in text.split(",") if part)
        return kind(text)
    except (KeyError, ValueError) as error:
        meant = {bool: "true or false", tuple: "numbers such as 400,600", int: "a whole number", float: "a number"}
        raise ValueError(f"{described.name} is {meant[kind]}, got {text!r}") from error


@dataclass
class Show:
    """Print what is on record: mean test error and 95% interval over the trials of each configuration."""

    name: str | None = None
    """Only this experiment, for example fig2."""
    records: Path = field(default_factory=results_root)
    """Folder of the record files."""

    def __call__(self) -> None:
        from l2rw_core import experiments

        if not self.records.exists():
            raise ValueError(
                f"there is no folder {self.records}: name the folder that holds the records with --records"
            )
        records = experiments.load_records(self.name, self.records)
        if not records and self.name is not None:
            names = sorted(path.stem for path in self.records.glob("*.jsonl"))
            there = f"there is {', '.join(names)}" if names else "the folder holds no record"
            raise ValueError(f"nothing of {self.name!r} is on record in {self.records}: {there}")
        if not records:
            print(f"nothing on record in {self.records}")
            return
        rows = experiments.summary(records)
        settings = rows.pop("settings")
        for line, setting in zip(rows.to_string(index=False).splitlines(), ["settings", *settings], strict=True):
            print(f"{line}  {setting}".rstrip())


@dataclass
class Report:
    """Write data/reproduction.csv and the README's table from the records; the book's page is made when it is built."""

    root: Path = field(default_factory=lambda: results_root().parents[1])
    """Folder of the checkout."""
    records: Path = field(default_factory=results_root)
    """Folder of the record files."""

    def __call__(self) -> None:
        from l2rw_core.experiments import load_records
        from l2rw_core.report.page import write_reproduction

        if not (self.root / "data").is_dir():
            raise ValueError(f"{self.root} has no folder data: name a checkout of the project with --root")
        for path in write_reproduction(load_records(folder=self.records), self.root):
            print(f"wrote {path}")


@dataclass
class Audit:
    """Rank the labels of your own data, most suspect first, by a small set of examples whose labels you trust.

    Writes report.html, one page that needs no network, and labels.csv with the columns that cleanlab's tools read. An
    interrupted audit goes on when the same command is given again. Afterwards, l2rw audit apply mends the data, and
    l2rw audit choose says what to check next.
    """

    data: tyro.conf.Positional[Path]
    """A folder with one folder of images a label, a .csv, .tsv or .parquet table or a folder of its parts, or an .npz
    with x and y."""
    clean: Path
    """The trusted examples, in the same form; none of them should be among the data."""
    out: Path = Path("audit")
    """Folder to write to."""
    label_column: str | None = None
    """Label of a table; by default its column label, target, y or class."""
    ignore: tuple[str, ...] = ()
    """Columns of a table that say nothing about the label."""
    text: tuple[str, ...] = ()
    """Columns of a table that are free text, where they do not look like it."""
    keep: tuple[str, ...] = ()
    """Columns of a table that are features, though nearly every row has a value of its own."""
    drop_unknown: bool = False
    """Leave out trusted examples whose label the data lack."""
    epochs: int = 20
    """Passes over the data; small data get more."""
    by: Literal["measured", "both", "alignment", "weight", "loss"] = "measured"
    """What labels are ranked by. measured: many signs, weighed by how well they find labels that are changed on
    purpose. The others are signs of training alone; both is alignment and loss."""
    model: str | None = None
    """Another network, which returns a logit for each label: one of torchvision by its name, such as resnet18, built
    without weights; package.module:callable, which gets num_classes if it takes that; or a file of
    torch.save(model, file), which runs what is in it: name none that you do not trust."""
    probabilities: Path | None = None
    """Predictions of your own model, of examples that it has not seen, one row for each example in the order of
    labels.csv: .npy with one column for each label in sorted order, or .csv or .parquet with columns of their names."""
    features: Path | None = None
    """Features of your own, in place of pixels or columns: .npz with the arrays data and clean, a row for each
    example."""
    device: str = "cpu"
    """Where the network trains, for example cuda."""
    budget: float | None = None
    """Minutes that it should take at most: it makes fewer passes, one at least."""
    shown: int = 60
    """Examples shown in the report."""
    seed: int = 0
    """Of the network's first parameters and the order of batches."""

    def __call__(self) -> None:
        from l2rw_core import audit
        from l2rw_core.running.checkpoints import check_writable

        options = audit.Options(epochs=self.epochs, by=self.by, seed=self.seed, device=self.device, budget=self.budget)
        _check_positive("shown", self.shown)
        _check_device(self.device)
        _check_out(self.out, (audit.REPORT, audit.TABLE))
        train, clean = audit.read_pair(
            self.data, self.clean, self.label_column, self.ignore, self.text, self.keep, self.drop_unknown
        )
        classes = sorted(set(train.labels.tolist()))
        own = audit.read_own(classes, self.model, self.probabilities, self.features)
        problem = audit.encode(train, clean, own)
        options.check(problem)
        check_writable(self.out, "name another folder with --out")
        checkpoint = self.out / audit.CHECKPOINT
        result = audit.audit(train, clean, options, checkpoint=checkpoint, problem=problem)
        written = audit.write_report(result, self.out, self.data.resolve().name, self.shown)
        checkpoint.unlink(missing_ok=True)
        for finding in result.findings:
            print(f"note: {finding}")
        if result.verdict:
            print(result.verdict)
        print(result.summary)
        for path in written:
            print(f"wrote {path}")


@dataclass
class Apply:
    """After a look at labels.csv: write the data without the labels that it calls wrong (also: l2rw audit apply).

    Where you do not agree, change is_label_issue or predicted_label in labels.csv before. A table keeps all its columns
    as they are written; of images and arrays it is a list of names and labels.
    """

    data: tyro.conf.Positional[Path]
    """What was audited."""
    how: Literal["drop", "relabel", "weight"] = "drop"
    """drop: leave them out. relabel: give them the suggested label. weight: keep all, with a column label_weight."""
    audit: Path = Path("audit")
    """Folder that the audit wrote."""
    out: Path = Path("mended.csv")
    """CSV to write."""
    label_column: str | None = None
    """Label of a table; by default the column that was audited."""

    def __call__(self) -> None:
        from l2rw_core.audit import mended

        _check_new(self.out)
        frame = mended(self.data, self.audit, self.how, self.label_column)
        frame.to_csv(self.out, index=False)
        for note in frame.attrs.get("notes", ()):
            print(f"note: {note}")
        print(f"wrote {self.out}, {len(frame)} rows")


@dataclass
class Choose:
    """Say which examples to check next: suspects to mend, and a fair draw for a clean set (also: l2rw audit choose)."""

    count: tyro.conf.Positional[int]
    """How many."""
    audit: Path = Path("audit")
    """Folder that the audit wrote."""
    out: Path = Path("to_check.csv")
    """CSV to write."""
    seed: int = 0
    """Of the draw."""

    def __call__(self) -> None:
        from l2rw_core.audit import to_check

        _check_new(self.out)
        table = to_check(self.audit, self.count, self.seed)
        table.to_csv(self.out, index=False)
        at_random = int((table["why"] == "drawn").sum())
        suspects = len(table) - at_random
        what = "suspect" if suspects == 1 else "suspects"
        print(f"wrote {self.out}: {suspects} {what}, and {at_random} drawn at random for a clean set")


def _check_new(path: Path) -> None:
    if path.exists():
        raise ValueError(f"{path} is there already: name another file with --out, or move it away")
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}: make it, or name another file with --out")


def _check_out(folder: Path, names: Sequence[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder with --out")
    there = [folder / name for name in names if (folder / name).exists()]
    if there:
        raise ValueError(f"{there[0]} is there already: name another folder with --out, or move it away")


Command = (
    Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Audit, tyro.conf.subcommand("audit")]
    | Annotated[Apply, tyro.conf.subcommand("audit-apply")]
    | Annotated[Choose, tyro.conf.subcommand("audit-choose")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `l2rw` command.

    Errors of the user's making are one line and the exit code 2, not a traceback; the exit code of Ctrl-C is 130, and
    141 if nobody reads the output any more.
    """
    words = sys.argv[1:] if arguments is None else arguments
    # Threads of GNU OpenMP keep a core busy while they wait, and those they wait for may need it: beside one other busy
    # program a training step took fifty times as long. PyTorch reads this as it is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if not sys.stderr.isatty():  # in a log every state of a bar is a line that stays
        os.environ.setdefault("TQDM_MININTERVAL", "10")
    try:
        _check_once(words)
        if list(words[:1]) == ["audit"] and words[1:2] and words[1] in ("apply", "choose"):
            words = [f"audit-{words[1]}", *words[2:]]
        command = tyro.cli(Command, prog="l2rw", description=__doc__, args=words)
        command()
        sys.stdout.flush()
    except BrokenPipeError:  # as `| head` does once it has seen enough: no fault, and nothing more can be said
        _say_no_more()
    except (ValueError, OSError, FloatingPointError, MissingExtra, *_no_data()) as error:
        _leave(" ".join(str(error).split()), 2)
    except KeyboardInterrupt:
        _leave("interrupted; what is finished is kept, and the same command goes on from there", 130)


def _no_data() -> tuple[type[Exception], ...]:
    """The error of a data set that cannot be had; what raised it has loaded its class."""
    loaded = sys.modules.get("l2rw_core.datasets.sources")
    return (loaded.DataUnavailable,) if loaded else ()


def _check_once(arguments: Sequence[str]) -> None:
    """Of two lists after the same option the first would be dropped, and silently."""
    options = [argument.partition("=")[0] for argument in arguments]
    for option in ("--rows", "--where", "--set", "--ignore", "--text", "--keep"):
        if options.count(option) > 1:
            raise ValueError(f"{option} is given twice: give it once, with all its values after it")


def _say_no_more() -> NoReturn:
    """Without a last try, at the end of Python, to write what nobody reads."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    raise SystemExit(141) from None


def _leave(message: str, code: int) -> NoReturn:
    print(f"l2rw: {message}", file=sys.stderr)
    raise SystemExit(code) from None
