"""Reading tables as people have them: CSV in any of its forms, parquet, one file or a folder of them.

A CSV is read column by column as a whole, so that no block of rows decides what another one means. Its labels are text,
letter by letter.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2rw_core.audit.columns import differ_by_last_digits, has_decimal_commas, looks_like_thousands

PACKED = (".gz", ".bz2", ".xz", ".zip")
TEXTS = (".csv", ".tsv")
SINGLE = (".txt", ".tab")
"""Ends of tables that are one file: a folder of these is something else."""
TABLES = (*TEXTS, *SINGLE, *(f".csv{end}" for end in PACKED), *(f".tsv{end}" for end in PACKED), ".parquet", ".pq")
"""Ends of the names of tables."""
PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".dib"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".tga", ".pcx", ".ico"),
)
"""Ends of the names of images, whatever their case: a table that lies beside them is none of the data."""
LABEL_NAMES = ("label", "target", "y", "class")
"""Names by which the label column of a table is found if it is not named."""
_SEPARATORS = (",", ";", "\t", "|")
_BLANKS = r"\s+"
"""Separator of columns that stand under each other."""
_LOOK = 65536
_COMMAS = "decimal commas"
_LONGEST = 2.0**53
"""A larger whole number is not told apart from its neighbours."""


@dataclass(frozen=True)
class RawTable:
    """A table as its file has it: nothing is a number yet that was not one there."""

    path: Path
    frame: pd.DataFrame
    """(N, columns) everything but the label and what is to be ignored."""
    labels: np.ndarray
    """(N,) strings."""
    columns: tuple[str, ...] = ()
    """All of the file, by the names that stand there; none if these are made up."""
    notes: tuple[str, ...] = ()
    names: list[str] = field(default_factory=list)
    """Where each row comes from, for people."""
    aside: pd.DataFrame = field(default_factory=pd.DataFrame)
    """(N, columns) what is to be ignored, to be shown to people."""
    decimal_commas: bool = False
    """Whether its numbers are written as 1,5."""
    row_numbers: tuple[str, ...] = ()
    """The first column, if pandas wrote its index there: it has no name, and a whole number of its own in each row."""


def end_of(path: Path) -> str:
    """The end of a table's name in small letters, both parts of one that is packed; empty if it is no table."""
    name = path.name.lower()
    return max((end for end in TABLES if name.endswith(end)), key=len, default="")


def parts_of(path: Path) -> list[Path]:
    """Files of a table that is kept as a folder of parts, as Spark and Dask write it; none if it is something else."""
    if not path.is_dir():
        return []
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not hidden(file.relative_to(path))]
    parts = [file for file in files if end_of(file) and end_of(file) not in SINGLE]
    pictures = any(file.suffix.lower() in PICTURES for file in files)
    return parts if parts and not pictures and len({end_of(file) for file in parts}) == 1 else []


def hidden(path: Path) -> bool:
    """Whether a file or one of its folders is out of sight, or a mark that Spark leaves."""
    return any(part.startswith((".", "_")) for part in path.parts)


def read_table(path: Path, label_column: str | None, ignore: tuple[str, ...] = ()) -> RawTable:
    """Read a table, take its label column out, and leave out what is to be ignored.

    Raises:
        ValueError: if it is damaged, has no rows, or the label cannot be told or is not there for every row.
    """
    parts = parts_of(path)
    kind = end_of(parts[0] if parts else path)
    try:
        if kind in (".parquet", ".pq"):
            frame, label, notes = _read_parquet(path, label_column)
        elif parts:
            read = [_read_csv(part, label_column) for part in parts]
            if len({tuple(frame.columns) for frame, _, _ in read}) > 1:
                raise ValueError("its parts differ in their columns")
            commas = any(frame.attrs[_COMMAS] for frame, _, _ in read)
            frame = pd.concat([frame for frame, _, _ in read], ignore_index=True)
            frame.attrs[_COMMAS] = commas
            label, notes = read[0][1], read[0][2]
        else:
            frame, label, notes = _read_csv(path, label_column)
    except _Refused as error:
        raise ValueError(str(error)) from error
    except ImportError as error:
        raise ValueError(f"{path} needs pyarrow to be read: pip install pyarrow, or give a .csv") from error
    except Exception as error:  # a damaged file fails in its own way in pandas, pyarrow or an unpacker
        raise ValueError(f"{path} cannot be read as a table: {' '.join(str(error).split())}") from error
    if frame.empty:
        raise ValueError(f"{path} has no rows")
    labels, about_labels = _labels_of(frame[label], path, label)
    features = _unfolded(frame.drop(columns=[label, *ignore], errors="ignore"))
    rows = [f"row {number}" for number in range(1, len(frame) + 1)]
    aside = frame[[name for name in ignore if name in frame and name != label]]
    notes = (*notes, *about_labels)
    commas = frame.attrs.get(_COMMAS, False)
    return RawTable(path, features, labels, tuple(frame.columns), notes, rows, aside, commas, _row_numbers(features))


def whole_table(
    path: Path, label_column: str | None, known: Callable[[np.ndarray], bool] | None = None
) -> tuple[pd.DataFrame, str, np.ndarray]:
    """Every column as its file has it, of a CSV letter by letter; the name of the label's column, and (N,) labels.

    Args:
        path: of the table.
        label_column: its name; by default the one column whose labels are `known`, or else as for `read_table`.
        known: whether (N,) labels are those that are looked for.

    Raises:
        ValueError: as `read_table`.
    """
    if end_of(path) in (".parquet", ".pq"):
        read = _read_parquet
    elif end_of(path) and path.is_file():
        read = partial(_read_csv, text=True)
    else:
        raise ValueError(f"{path} is no single table, which ends in {', '.join(TABLES)}: put its parts into one")
    if label_column is None and known is not None:
        frame = read(path, None, labelled=False)[0]
        found = [name for name in frame.columns if _holds(frame[name], path, name, known)]
        label_column = found[0] if len(found) == 1 else None
    frame, label, _ = read(path, label_column)
    return frame, label, _labels_of(frame[label], path, label)[0]


def cells_of(path: Path) -> pd.DataFrame:
    """A CSV letter by letter, however a spreadsheet has written it; ValueError if it is damaged."""
    try:
        return _read_csv(path, None, text=True, labelled=False)[0]
    except _Refused as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # a damaged file fails in its own way in pandas
        raise ValueError(f"{path} cannot be read as a table: {' '.join(str(error).split())}") from error


def _holds(column: pd.Series, path: Path, name: str, known: Callable[[np.ndarray], bool]) -> bool:
    try:
        return known(_labels_of(column, path, name)[0])
    except ValueError:  # a column with an empty cell is not the label
        return False


class _Refused(ValueError):
    """An error that names the file already."""


def _label_among(path: Path, names: list[str], column: str | None) -> str:
    if column is None:
        candidates = [name for name in names if name.lower() in LABEL_NAMES]
        if len(candidates) == 1:
            return candidates[0]
        raise _Refused(f"which column of {path} is the label? Name it with --label-column; columns: {some(set(names))}")
    plain = plain_label(column)
    if plain not in names:
        raise _Refused(f"{path} has no column {column!r}; it has {some(set(names))}")
    return plain


def some(values: set[str]) -> str:
    """Up to ten names, quoted."""
    names = sorted(values)
    return ", ".join(map(repr, names[:10])) + (" and others" if len(names) > 10 else "")


def _read_parquet(path: Path, label_column: str | None, labelled: bool = True) -> tuple[pd.DataFrame, str, list[str]]:
    """The table, its label's column, unless it is not `labelled`, and notes."""
    frame = pd.read_parquet(path)
    frame = frame.reset_index() if any(name is not None for name in frame.index.names) else frame
    frame.select_dtypes(exclude="number").to_numpy(dtype=object)  # text that is no UTF-8 fails only when it is read
    frame, notes = _named(frame, [str(name) for name in frame.columns])
    if not len(frame.columns):
        raise ValueError("it has no columns")
    label = _label_among(path, list(frame.columns), label_column) if labelled else ""
    return frame.reset_index(drop=True), label, notes


def _unfolded(frame: pd.DataFrame) -> pd.DataFrame:
    """Vectors of one length in the cells of a column, as embeddings are kept, become columns of their own."""
    columns: dict[str, pd.Series] = {}
    for name in frame.columns:
        cells = frame[name]
        rows = cells.to_numpy() if cells.dtype == object else []
        vectors = [np.asarray(cell) for cell in rows if isinstance(cell, np.ndarray | list | tuple)]
        shapes = {(vector.shape, vector.dtype.kind in "biuf") for vector in vectors}
        if (
            len(vectors) == len(rows) > 0
            and len(shapes) == 1
            and vectors[0].ndim == 1
            and vectors[0].dtype.kind in "biuf"
        ):
            for place, column in enumerate(np.stack(vectors).T):
                columns[f"{name}[{place}]"] = pd.Series(column)
        else:
            columns[name] = cells
    return pd.DataFrame(columns)


def _named(frame: pd.DataFrame, names: list[str]) -> tuple[pd.DataFrame, list[str]]:
    names, notes = _unique(names)
    frame.columns = names
    return frame, notes


def _unique(names: list[str]) -> tuple[list[str], list[str]]:
    """Names without blanks at their ends, each its own; and what is to be said about those that stood twice."""
    unique: list[str] = []
    twice: list[str] = []
    for place, name in enumerate(map(plain_label, names)):
        name = name or f"Unnamed: {place}"
        fresh, number = name, 0
        while fresh in unique:
            number += 1
            fresh = f"{name}.{number}"
        if number:
            twice.append(fresh)
        unique.append(fresh)
    notes = [f"A name of a column stands twice: the later ones are called {some(set(twice))}."] if twice else []
    return unique, notes


def _read_csv(
    path: Path, label_column: str | None, text: bool = False, labelled: bool = True
) -> tuple[pd.DataFrame, str, list[str]]:
    """As `_read_parquet`; as `text`, letter by letter."""
    encoding, notes = _encoding(path)
    with _opened(path, encoding) as file:
        sample = file.read(_LOOK)
    if not sample.strip():
        raise ValueError("it is empty")
    above = _lines_above(path, sample)
    rows, separator = _first_rows(path, "".join(sample.splitlines(keepends=True)[above:]))
    names, about_names = _unique(rows[0])
    label = _label_among(path, names, label_column) if labelled else ""
    if labelled and f"{label}.1" in names:
        raise _Refused(f"{path} has the label column {label!r} twice: remove one, or it would be learned from")
    longer = [len(row) == len(names) + 1 for row in rows[1:]]
    row_names = bool(longer) and all(longer)
    trailing = row_names and all(not row[-1].strip() for row in rows[1:])
    extra = ["beside the names"] if row_names else []

    def read(dtype: Any) -> pd.DataFrame:
        with _opened(path, encoding) as file:
            return pd.read_csv(
                file,
                sep=separator,
                header=0,
                skiprows=above,
                names=[*names, *extra] if trailing else [*extra, *names],
                dtype=dtype,
                keep_default_na=False,
                na_values={} if text else {name: [""] for name in names if name != label},
                low_memory=False,
            )[names]

    frame = read(str if text else {label: str})
    if not text:
        commas = has_decimal_commas(frame.drop(columns=label), separator)
        numbers = [name for name in frame.select_dtypes("float") if name != label]
        numbers = [name for name in numbers if commas or (frame[name].abs() >= _LONGEST).any()]
        if numbers:
            written = read(dict.fromkeys((label, *numbers), str))[numbers]
            kept = [
                name
                for name in numbers
                if (commas and looks_like_thousands(written[name])) or differ_by_last_digits(written[name].dropna())
            ]
            frame[kept] = written[kept]
        frame.attrs[_COMMAS] = commas
    frame, about_rows = _without_empty_end(frame, path)
    return frame, label, [*notes, *about_names, *about_rows]


def _without_empty_end(frame: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The rows up to the last that holds anything: spreadsheets write rows of nothing but separators after it."""
    filled = np.flatnonzero((frame.notna() & (frame != "")).any(axis=1))
    rows = int(filled[-1]) + 1 if len(filled) else len(frame)
    gone = len(frame) - rows
    return frame.iloc[:rows], [f"{gone} empty rows at the end of {path.name} are left out."] if gone else []


def _row_numbers(frame: pd.DataFrame) -> tuple[str, ...]:
    if not len(frame.columns) or frame.columns[0] != "Unnamed: 0":
        return ()
    first = frame["Unnamed: 0"]
    return ("Unnamed: 0",) if pd.api.types.is_integer_dtype(first) and first.is_unique else ()


def _lines_above(path: Path, sample: str) -> int:
    """How many lines stand before the names of the columns: empty ones, remarks, and what spreadsheets write there."""
    lines = sample.splitlines()
    for place, line in enumerate(lines):
        remark = line.startswith("#") and not any(mark in line for mark in _SEPARATORS)
        if line.strip() and not remark and not line.lower().startswith("sep="):
            return place
    return 0


def _first_rows(path: Path, sample: str) -> tuple[list[list[str]], str]:
    """The rows of the sample, with the separator that makes most columns and as many in every row."""
    best, choice = (0, 0), "\t" if end_of(path).startswith(".tsv") else ","
    names = sample.splitlines()[0] if sample else ""
    if end_of(path).startswith(".tsv") and "\t" in names:
        return _split(sample, "\t"), "\t"
    for separator in (*_SEPARATORS, *([] if any(mark in names for mark in _SEPARATORS) else [_BLANKS])):
        rows = _split(sample, separator)
        if not rows:
            continue
        width = len(rows[0])
        even = sum(len(row) in (width, width + 1) for row in rows) == len(rows)
        if width > 1 and (int(even), width) > best:
            best, choice = (int(even), width), separator
    return _split(sample, choice), choice


def _split(sample: str, separator: str) -> list[list[str]]:
    """Rows of the sample without its last, which may be cut; blank lines are none."""
    blanks = separator == _BLANKS
    text = [line.strip() for line in sample.splitlines()] if blanks else sample.splitlines(keepends=True)
    lines = csv.reader(text, delimiter=" " if blanks else separator, skipinitialspace=blanks)
    try:
        rows = [row for row in lines if row]
    except csv.Error:
        return []
    return rows[:-1] if len(sample) >= _LOOK and len(rows) > 1 else rows


def _encoding(path: Path) -> tuple[str, list[str]]:
    """How the letters of a file are kept, and what is to be said if it is not UTF-8."""
    with _opened_bytes(path) as file:
        start = file.read(_LOOK)
        if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            return "utf-32", []
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16", []
        _check_text(path, start)
        for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
            if start[first:200:2].count(0) > 0.4 * len(start[first:200:2]) > 0:
                return name, []
        try:
            _decoded(start, file)
        except UnicodeDecodeError:
            if any(byte in start for byte in _NOT_IN_CP1252):
                raise _Refused(f"{path} is neither UTF-8 nor Windows-1252 text: save it as UTF-8") from None
            return "cp1252", [
                f"{path.name} is not UTF-8: it is read as Windows-1252. If letters are wrong, save it as UTF-8."
            ]
    return "utf-8-sig", []


_BINARY = {
    b"PAR1": "a parquet file: name it .parquet",
    b"PK\x03\x04": "a spreadsheet or an archive: save it as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "a spreadsheet: save it as CSV",
    b"ARROW1": "an Arrow file: save it as parquet",
    b"SQLite format 3": "a database: save its table as CSV",
    b"%PDF": "a PDF: save its table as CSV",
    b"version https://git-lfs": "only a pointer of Git LFS: fetch the file itself with git lfs pull",
}
"""How files begin that are no text, whatever they are called."""
_NOT_IN_CP1252 = (0x81, 0x8D, 0x8F, 0x90, 0x9D)


def _check_text(path: Path, start: bytes) -> None:
    for mark, what in _BINARY.items():
        if start.startswith(mark):
            raise _Refused(f"{path} is no text but {what}")


def _decoded(start: bytes, file: Any) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    block = start
    while block:
        decoder.decode(block)
        block = file.read(1 << 20)
    decoder.decode(b"", final=True)


def _opened_bytes(path: Path) -> Any:
    name = path.name.lower()
    opener: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    if name.endswith(".zip"):
        archive = zipfile.ZipFile(path)
        inside = [info.filename for info in archive.infolist() if not info.is_dir() and not hidden(Path(info.filename))]
        if len(inside) != 1:
            archive.close()
            raise _Refused(f"{path} holds {len(inside)} files: unpack it and give one of them")
        return archive.open(inside[0])
    for end, function in opener.items():
        if name.endswith(end):
            return function(path, "rb")
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return (gzip.open if packed else open)(path, "rb")


def _opened(path: Path, encoding: str) -> Any:
    return io.TextIOWrapper(_opened_bytes(path), encoding=encoding, newline="")


def _labels_of(column: pd.Series, path: Path, name: str) -> tuple[np.ndarray, list[str]]:
    """(N,) strings as they are written, without blanks at their ends; only an empty cell is missing."""
    whole = column.dropna()
    if (
        pd.api.types.is_float_dtype(column.dtype)
        and len(whole)
        and (whole == whole.round()).all()
        and (whole.abs() < _LONGEST).all()
    ):
        column = column.astype("Int64")
    words = column.astype(object).map(str, na_action="ignore")
    bare = words.map(plain_label, na_action="ignore")
    missing = np.flatnonzero(bare.isna() | (bare == ""))
    if len(missing):
        raise ValueError(
            f"{path}: {len(missing)} row{'s have' if len(missing) > 1 else ' has'} no label in {name!r}, first row "
            f"{missing[0] + 1}; drop {'them' if len(missing) > 1 else 'it'}, or give "
            f"{'them a label' if len(missing) > 1 else 'it one'}"
        )
    return bare.to_numpy(dtype=str), [*about_blanks(words.unique(), path), *_numbers_alike(bare.unique(), path)]


def about_blanks(labels: Iterable[str], path: Path) -> list[str]:
    """That blanks around labels are cut, if any has some: two labels may become one."""
    cut = any(plain_label(label) != _composed(label) for label in labels)
    return [f"Blanks around labels of {path.name} are cut."] if cut else []


def plain_label(text: str) -> str:
    """A label without blanks at its ends, its accents in one way: file systems write them in two."""
    return _composed(text).strip()


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _numbers_alike(labels: Any, path: Path) -> list[str]:
    """Labels that differ as text and are one number, as 1 and 1.0 or 01 are."""
    by_number: dict[float, list[str]] = {}
    for label in labels:
        try:
            by_number.setdefault(float(label), []).append(str(label))
        except ValueError:
            continue
    alike = [names for names in by_number.values() if len(names) > 1]
    return (
        [f"The labels {some(set(alike[0]))} of {path.name} are different classes, as they are written."]
        if alike
        else []
    )
