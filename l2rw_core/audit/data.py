"""Reading what someone has: a folder of images, a table, or a file of arrays; each becomes `Images` or `Table`.

Nothing is unpickled, nothing is fetched, and nothing is written. Every error names the file, the cause and the remedy;
what is left out or changed is in the `notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from l2rw_core.audit.columns import LARGEST_NUMBER, MOST_CATEGORIES, Reading, understand
from l2rw_core.audit.pictures import Folder, Images, Pictures, Stack, check_not_all_alike, read_pictures
from l2rw_core.audit.tables import (
    PICTURES,
    TABLES,
    RawTable,
    about_blanks,
    end_of,
    parts_of,
    plain_label,
    read_table,
    some,
)
from l2rw_core.running.progress import bar


@dataclass(frozen=True)
class Table:
    """N labelled rows."""

    frame: pd.DataFrame
    """(N, columns) features: numbers, dates, or words, with missing values where they are missing."""
    labels: np.ndarray
    """(N,) strings."""
    names: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    """Of the file: features, label, and what was left out."""
    text: tuple[str, ...] = ()
    """Columns that are free text."""
    notes: tuple[str, ...] = ()
    """What is to be said about reading it: what was left out, and what was changed."""
    aside: pd.DataFrame = field(default_factory=pd.DataFrame)
    """(N, columns) that are no features, such as keys and names: people find a row by them."""

    def __len__(self) -> int:
        return len(self.labels)


Data = Images | Table


def read_data(
    path: str | Path,
    label_column: str | None = None,
    ignore: tuple[str, ...] = (),
    text: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
) -> Data:
    """Read labelled data.

    Args:
        path: a folder with one folder of images for each label; a ``.csv``, ``.tsv`` or ``.parquet`` table, a packed
            one (``.csv.gz``), or a folder of its parts; or an ``.npz`` with ``y`` of shape (N,) and ``x`` of shape
            (N, features), (N, height, width), or (N, height, width, channels) or (N, channels, height, width) of 1 to
            4 channels. The row numbers that pandas writes in front of a CSV are no feature.
        label_column: of a table; by default the one that is called label, target, y or class.
        ignore: columns of a table that are no features.
        text: columns of a table that are free text, where they do not look like it.
        keep: columns of a table that are features, though nearly every row has a value of its own.

    Raises:
        ValueError: if there is no such file, it is damaged, or what it holds cannot be used.
    """
    choice = _Named.of(label_column, ignore, text, keep)
    source = _open(Path(path), choice)
    choice.check(path, source)
    if isinstance(source, RawTable):
        return _table(source, choice, _reading(source, choice))
    return read_pictures(source)[0]


def read_pair(
    data: str | Path,
    clean: str | Path,
    label_column: str | None = None,
    ignore: tuple[str, ...] = (),
    text: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
    drop_unknown: bool = False,
) -> tuple[Data, Data]:
    """Read a training set and its clean set in the same way, and check that they belong together.

    A column of `ignore` need not be in both tables. The data decide what a column is and which size images have.

    Args:
        data, clean: as `read_data`.
        label_column, ignore, text, keep: as `read_data`.
        drop_unknown: leave out examples of the clean set whose label the data lack.

    Raises:
        ValueError: as `read_data`; also if they differ in kind, shape or columns, if the clean set has a label that
            the training set lacks, if there are fewer than two labels, or if all images are the same.
    """
    folder, inner = Path(data).resolve(), Path(clean).resolve()
    if inner == folder:
        raise ValueError(f"the clean set {clean} is the data itself: give trusted examples that are not among them")
    if folder in inner.parents:
        raise ValueError(f"the clean set {clean} is inside the data {data}: it would be trained on, move it out")
    choice = _Named.of(label_column, ignore, text, keep)
    with bar("reading", 3) as ticks:
        return _read_pair(data, clean, choice, drop_unknown, ticks.update)


def _read_pair(
    data: str | Path, clean: str | Path, choice: _Named, drop_unknown: bool, tick: Callable[[], object]
) -> tuple[Data, Data]:
    sources = []
    for path in (data, clean):
        sources.append(_open(Path(path), choice))
        tick()
    choice.check(data, *sources)
    tables = [source for source in sources if isinstance(source, RawTable)]
    if len(tables) == 1:
        kinds = ["a table" if isinstance(source, RawTable) else "images" for source in sources]
        raise ValueError(f"{data} holds {kinds[0]} and {clean} holds {kinds[1]}: both must be of one kind")
    classes = set(sources[0].labels.tolist())
    n = len(sources[0].labels)
    if n >= 20 and len(classes) > n / 2:
        raise ValueError(
            f"{data} has {len(classes)} different labels in {n} examples, such as "
            f"{some(set(sorted(classes)[:3]))}: these are no classes; name the column of the label with --label-column"
        )
    if len(classes) < 2:
        raise ValueError(f"{data} has one label only, {next(iter(classes))!r}: there is nothing to tell apart")
    _check_labels(classes, sources[1].labels, drop_unknown)
    if tables:
        train, trusted = _pair_of_tables(*tables, choice)
    else:
        train, trusted = read_pictures(*sources)
        check_not_all_alike(train, Path(data))
    return train, _without_unknown(trusted, classes)


@dataclass(frozen=True)
class _Named:
    """Columns that the caller names."""

    label: str | None
    ignore: tuple[str, ...]
    text: tuple[str, ...]
    keep: tuple[str, ...]

    @classmethod
    def of(cls, label: str | None, *others: Iterable[str]) -> _Named:
        """Names as tables have them here: without blanks at their ends, accents in one way."""
        return cls(label, *(tuple(map(plain_label, names)) for names in others))

    def check(self, path: str | Path, *sources: RawTable | Pictures) -> None:
        """A column that no file has is a slip of the pen; `path` is that of the first."""
        columns = {name for source in sources if isinstance(source, RawTable) for name in source.columns}
        absent = [name for name in (*self.ignore, *self.text, *self.keep) if name not in columns]
        if absent:
            raise ValueError(f"{path} has no column {absent[0]!r}; it has {some(set(sources[0].columns))}")
        both = sorted(set(self.ignore) & {*self.text, *self.keep})
        if both:
            raise ValueError(f"the column {both[0]!r} is to be ignored and to be a feature: name it once")

    def __bool__(self) -> bool:
        return bool(self.label or self.ignore or self.text or self.keep)


def _open(path: Path, choice: _Named) -> RawTable | Pictures:
    if not path.exists():
        raise ValueError(f"there is no file or folder {path}")
    if parts_of(path) or (end_of(path) and path.is_file()):
        return read_table(path, choice.label, choice.ignore)
    if choice and path.suffix.lower() != ".npz":
        raise ValueError(f"columns are named for a table, and {path} is none (a table ends in {', '.join(TABLES)})")
    if path.is_dir():
        return Folder(path)
    if path.suffix.lower() == ".npz":
        return _read_arrays(path, choice)
    raise ValueError(
        f"{path} is neither a folder of images nor one of {', '.join((*TABLES, '.npz'))}: save it as one of these"
    )


def _check_labels(classes: set[str], labels: np.ndarray, drop_unknown: bool) -> None:
    strange = sorted(set(labels.tolist()) - classes)
    if not strange or (drop_unknown and len(strange) < len(set(labels.tolist()))):
        return
    if drop_unknown:
        raise ValueError(f"every label of the clean set, {some(set(strange))}, is one that the data lack")
    alike = [name for name in sorted(classes) if _same_but_for_spelling(name, strange[0])]
    remedy = (
        f"write {alike[0]!r} and {strange[0]!r} alike"
        if alike
        else "correct it, or leave such examples out with --drop-unknown"
    )
    raise ValueError(
        f"the clean set has the label {strange[0]!r}, which the data lack; they have {some(classes)}: {remedy}"
    )


def _same_but_for_spelling(one: str, other: str) -> bool:
    if one.casefold() == other.casefold():
        return True
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _without_unknown(clean: Data, classes: set[str]) -> Data:
    rows = np.flatnonzero(np.isin(clean.labels, sorted(classes)))
    if len(rows) == len(clean):
        return clean
    gone = sorted(set(clean.labels.tolist()) - classes)
    note = f"{len(clean) - len(rows)} trusted examples are left out: the data lack their labels, {some(set(gone))}."
    names = [clean.names[place] for place in rows]
    common = {"labels": clean.labels[rows], "names": names, "notes": (*clean.notes, note)}
    if isinstance(clean, Table):
        frames = {name: getattr(clean, name).iloc[rows].reset_index(drop=True) for name in ("frame", "aside")}
        return replace(clean, **frames, **common)
    return replace(clean, x=clean.x[rows], files=clean.files and [clean.files[place] for place in rows], **common)


def _reading(source: RawTable, choice: _Named) -> Reading:
    """What the columns of the data are."""
    frame = source.frame.drop(columns=list(source.row_numbers))
    if not len(frame.columns):
        raise ValueError(f"{source.path} has no feature column beside the label")
    if frame.isna().all(axis=None):
        raise ValueError(f"every feature column of the data is empty: {source.path}")
    of_arrays = () if source.columns else tuple(frame.columns)
    reading = understand(frame, choice.text, (*choice.keep, *of_arrays), source.decimal_commas)
    pictures = [name for name in reading.left_out if _names_pictures(frame[name])]
    if not reading.columns and pictures:
        raise ValueError(
            f"{source.path} names images in the column {pictures[0]!r} and has no features of them: put the images "
            "into one folder for each label and give the folder of these, or give an .npz with x and y"
        )
    if not reading.columns:
        raise ValueError(f"{source.path} has no feature column that can be used. {' '.join(reading.notes)}")
    return reading


def _names_pictures(column: pd.Series) -> bool:
    words = column.dropna().head(100).astype(str).str.lower()
    return bool(words.str.endswith(PICTURES).all())


def _table(source: RawTable, choice: _Named, reading: Reading) -> Table:
    frame = reading.read(source.frame, source.decimal_commas)
    _check_numbers(frame, source.path)
    left_out = [name for name in source.frame if name not in frame and name not in source.row_numbers]
    aside = pd.concat([source.aside, source.frame[left_out]], axis=1)
    notes = (*source.notes, *reading.notes, *_about_copies(frame, source.labels))
    return Table(frame, source.labels, source.names, source.columns, reading.text, notes, aside)


def _about_copies(frame: pd.DataFrame, labels: np.ndarray) -> list[str]:
    """Columns of few values each of which stands beside one label only, as a label's name beside its number does."""
    series = pd.Series(labels, index=frame.index)
    few = min(len(labels) / 4, MOST_CATEGORIES)
    copies = [
        name
        for name, column in frame.items()
        if column.notna().all()
        and 1 < column.nunique() <= few
        and (series.groupby(column.to_numpy()).nunique() == 1).all()
    ]
    return [
        f"Column {name!r} tells the label of every row, wrong labels too: if it was made from the label, leave it out "
        f"with --ignore, or no wrong label is found."
        for name in copies
    ]


def _check_numbers(frame: pd.DataFrame, path: Path) -> None:
    for name, column in frame.select_dtypes("number").items():
        values = np.abs(column.to_numpy(dtype=float, na_value=np.nan))
        if np.isinf(values).any():
            row = int(np.isinf(values).argmax()) + 1
            raise ValueError(
                f"{path}: the column {name!r} holds an infinite number: remove or replace it, the first is in row {row}"
            )
        if (values > LARGEST_NUMBER).any():
            row = int((values > LARGEST_NUMBER).argmax())
            raise ValueError(
                f"{path}: the column {name!r} holds {column.iloc[row]:g} in row {row + 1}, which is too large to "
                "compute with: leave the cell empty if it marks a missing value, or --ignore the column"
            )


def _pair_of_tables(data: RawTable, clean: RawTable, choice: _Named) -> tuple[Table, Table]:
    names = [name for name in data.frame.columns if name not in data.row_numbers]
    others = [name for name in clean.frame.columns if name in names or name not in (*data.frame, *clean.row_numbers)]
    missing, extra = [n for n in names if n not in others], [n for n in others if n not in names]
    if missing or extra:
        what = f"lacks the column {missing[0]!r}" if missing else f"has a column {extra[0]!r} that the data lack"
        raise ValueError(f"the clean set {what}: both tables need the same columns, or name it with --ignore")
    reading = _reading(data, choice)
    train, trusted = (_table(part, choice, reading) for part in (data, clean))
    trusted = replace(trusted, notes=tuple(note for note in clean.notes if note not in train.notes))
    for column in reading.columns:
        if column.kind == "category":
            _check_categories(train.frame[column.name], trusted.frame[column.name])
    return train, trusted


def _check_categories(values: pd.Series, clean: pd.Series) -> None:
    """The few values of a column are written otherwise in a clean set that mostly holds others."""
    categories, trusted = set(values.dropna()), clean.dropna()
    if len(categories) > MOST_CATEGORIES or not len(trusted):
        return
    strange = trusted[~trusted.isin(categories)]
    if len(strange) > len(trusted) / 2:
        raise ValueError(
            f"the column {values.name!r} of the clean set holds {some(set(strange))}, which the data lack (they have "
            f"{some(categories)}): write both alike, or leave the column out with --ignore"
        )


def _native(array: np.ndarray) -> np.ndarray:
    """The same numbers with their bytes in the order of this computer."""
    return array.astype(array.dtype.newbyteorder("=")) if array.dtype.kind in "iuf" else array


def _read_arrays(path: Path, choice: _Named) -> RawTable | Pictures:
    if choice:
        raise ValueError(f"columns are named for a table, and {path} is none (a table ends in {', '.join(TABLES)})")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            keys = list(file.files)
            named = [name for name in keys if name.lower() in ("x", "y")]
            arrays = {name.lower(): _native(file[name]) for name in named}
    except Exception as error:  # a damaged archive fails in its own way in zipfile, zlib or numpy
        remedy = "; save labels as text, y.astype(str)" if "Object arrays" in str(error) else ""
        raise ValueError(f"{path} cannot be read as an .npz of plain arrays: {error}{remedy}") from error
    if len(named) != 2 or len(arrays) != 2:
        raise ValueError(f"{path} must hold the arrays x and y, each once, and holds {some(set(keys)) or 'none'}")
    x, y = arrays["x"], arrays["y"]
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    whole = y.dtype.kind == "f" and (np.abs(y) < 2.0**53).all() and (y == np.round(y)).all()
    if x.ndim == 0 or y.ndim != 1 or len(x) != len(y) or len(y) == 0 or not (whole or y.dtype.kind in "iubUS"):
        remedy = ": give y.argmax(1) if it has a column for each label" if y.ndim == 2 else ""
        raise ValueError(
            f"{path}: y must be (N,) integers or strings, one for each of x, got {y.dtype} {y.shape} for x "
            f"{x.shape}{remedy}"
        )
    y = np.char.decode(y, "utf-8", "replace") if y.dtype.kind == "S" else y.astype(np.int64) if whole else y
    written = [str(label) for label in y.tolist()]
    labels, notes = np.array([plain_label(label) for label in written]), tuple(about_blanks(written, path))
    if (labels == "").any():
        raise ValueError(f"{path}: y[{int((labels == '').argmax())}] is empty: give it a label, or drop it")
    if x.ndim != 2:
        return Stack(x, labels, path, notes)
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{path}: x must hold numbers or truth values, got {x.dtype}: give a table, or encode it")
    frame = pd.DataFrame(x, columns=[f"x{number}" for number in range(x.shape[1])])
    return RawTable(path, frame, labels, notes=notes, names=[f"x[{number}]" for number in range(len(y))])
