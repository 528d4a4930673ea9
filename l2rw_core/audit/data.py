"""Reading what someone has: a folder of images, a table, or a file of arrays; each becomes `Images` or `Table`.

Nothing is unpickled, nothing is fetched, and nothing is written. Every error names the file, the cause and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from l2rw_core.running.progress import progress_wanted

TABLES = (".csv", ".parquet", ".pq")
LABEL_NAMES = ("label", "target", "y", "class")
"""Names by which the label column of a table is found if it is not named."""
LARGEST_SIDE = 64
"""Images that differ in size, or are larger, become squares of `RESIZED` pixels."""
RESIZED = 32


@dataclass(frozen=True)
class Images:
    """N labelled images of one size."""

    x: np.ndarray
    """(N, height, width, channels) uint8, channels 1 or 3."""
    labels: np.ndarray
    """(N,) strings."""
    names: list[str]
    """Where each comes from, for people."""
    files: list[Path] | None = None
    """The image files themselves, if there are any."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Table:
    """N labelled rows."""

    frame: pd.DataFrame
    """(N, columns) features, numeric or categorical, with missing values where they are missing."""
    labels: np.ndarray
    """(N,) strings."""
    names: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    """Of the file: features, label, and what was left out."""

    def __len__(self) -> int:
        return len(self.labels)


Data = Images | Table


def read_data(path: str | Path, label_column: str | None = None, ignore: tuple[str, ...] = ()) -> Data:
    """Read labelled data.

    Args:
        path: a folder with one folder of images for each label; a ``.csv`` or ``.parquet`` table; or an ``.npz`` with
            ``x`` of shape (N, height, width), (N, height, width, channels) or (N, features), and ``y`` of shape (N,).
            The row numbers that pandas writes in front of a CSV are no feature.
        label_column: of a table; by default the one of `LABEL_NAMES` that it has.
        ignore: columns of a table that are no features, for example an id.

    Raises:
        ValueError: if there is no such file, it is damaged, or what it holds cannot be used.
    """
    found = _read(Path(path), label_column, ignore)
    _check_ignored(ignore, path, found)
    return found


def _check_ignored(ignore: tuple[str, ...], path: str | Path, *found: Data) -> None:
    """A column to be left out that no file has is a slip of the pen; `path` is that of the first."""
    known = {name for data in found if isinstance(data, Table) for name in data.columns}
    absent = [name for name in ignore if name not in known]
    if absent:
        raise ValueError(f"{path} has no column {absent[0]!r}; it has {_some(set(found[0].columns))}")


def _read(path: Path, label_column: str | None, ignore: tuple[str, ...]) -> Data:
    if not path.exists():
        raise ValueError(f"there is no file or folder {path}")
    kind = path.suffix.lower()
    if kind not in TABLES and (label_column or ignore):
        raise ValueError(f"columns are named for a table, and {path} is none (a table ends in {', '.join(TABLES)})")
    if path.is_dir():
        return _read_folder(path)
    if kind in TABLES:
        return _read_table(path, label_column, ignore)
    if kind == ".npz":
        return _read_arrays(path)
    raise ValueError(f"{path} is neither a folder of images nor one of {', '.join((*TABLES, '.npz'))}")


def read_pair(
    data: str | Path, clean: str | Path, label_column: str | None = None, ignore: tuple[str, ...] = ()
) -> tuple[Data, Data]:
    """Read a training set and its clean set, and check that they belong together.

    A column of `ignore` need not be in both tables.

    Raises:
        ValueError: as `read_data`; also if they differ in kind, shape or columns, if the clean set has a label that
            the training set lacks, or if there are fewer than two labels.
    """
    folder, inner = Path(data).resolve(), Path(clean).resolve()
    if inner == folder or folder in inner.parents:
        raise ValueError(f"the clean set {clean} is inside the data {data}: it would be trained on, move it out")
    train, trusted = (_read(Path(path), label_column, ignore) for path in (data, clean))
    _check_ignored(ignore, data, train, trusted)
    if type(train) is not type(trusted):
        raise ValueError(f"{data} holds {_kind(train)} and {clean} holds {_kind(trusted)}: both must be of one kind")
    train, trusted = _fit_together(train, trusted)
    known = set(train.labels.tolist())
    if len(known) < 2:
        raise ValueError(f"{data} has one label only, {next(iter(known))!r}: there is nothing to tell apart")
    unknown = sorted(set(trusted.labels.tolist()) - known)
    if unknown:
        raise ValueError(f"the clean set has the label {unknown[0]!r}, which the data lack; they have {_some(known)}")
    return train, trusted


def _kind(data: Data) -> str:
    return "images" if isinstance(data, Images) else "a table"


def _some(values: set[str]) -> str:
    shown = sorted(values)
    return ", ".join(map(repr, shown[:10])) + (" and others" if len(shown) > 10 else "")


def _fit_together(train: Data, clean: Data) -> tuple[Data, Data]:
    if isinstance(train, Table):
        frame, clean_frame = _same_columns(train.frame, clean.frame)
        return replace(train, frame=frame), replace(clean, frame=clean_frame)
    if train.x.shape[1:] == clean.x.shape[1:]:
        return train, clean
    channels = max(train.x.shape[3], clean.x.shape[3])
    height, width = train.x.shape[1:3]
    return tuple(
        replace(part, x=np.stack([_fit(as_image(pixels), width, height, channels) for pixels in part.x]))
        for part in (train, clean)
    )


def _same_columns(frame: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both with the same columns, of the same kinds; a column that is empty in the data is left out."""
    missing = [name for name in frame.columns if name not in other.columns]
    extra = [name for name in other.columns if name not in frame.columns]
    if missing or extra:
        what = f"lacks the column {missing[0]!r}" if missing else f"has a column {extra[0]!r} that the data lack"
        raise ValueError(f"the clean set {what}: both tables need the same columns")
    kept = [name for name in frame.columns if frame[name].notna().any()]
    if not kept:
        raise ValueError("every feature column of the data is empty")
    return frame[kept], pd.DataFrame({name: _of_kind(other[name], is_number(frame[name])) for name in kept})


def is_number(column: pd.Series) -> bool:
    """Whether a column is taken for a number; everything else, truth values too, is a category."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _of_kind(column: pd.Series, number: bool) -> pd.Series:
    """A column of the clean set as the data have it: few rows may all lack a value, or hold digits among words."""
    if number == is_number(column):
        return column
    if not number:
        return column.map("{:.15g}".format, na_action="ignore").astype(object)
    if column.notna().any():
        raise ValueError(f"the column {column.name!r} holds numbers in the data and something else in the clean set")
    return column.astype(float)


def _read_folder(path: Path) -> Images:
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS

    try:
        found = ImageFolder(str(path), allow_empty=True)
    except (FileNotFoundError, OSError) as error:
        raise ValueError(f"{path} must hold one folder of images for each label: {error}") from error
    if not found.samples:
        raise ValueError(f"no label folder of {path} holds an image ({', '.join(IMG_EXTENSIONS)})")
    files = [Path(file) for file, _ in found.samples]
    heads = [_look(file) for file in files]
    sizes, grey = {size for size, _ in heads}, all(mode in ("1", "L") for _, mode in heads)
    width, height = next(iter(sizes)) if len(sizes) == 1 else (RESIZED, RESIZED)
    if max(width, height) > LARGEST_SIDE:
        width = height = RESIZED
    shown = tqdm(files, f"reading {path.name}", leave=False, disable=not progress_wanted())
    x = np.stack([_fit(open_image(file), width, height, 1 if grey else 3) for file in shown])
    labels = np.array([found.classes[label] for _, label in found.samples])
    return Images(x, labels, [str(file.relative_to(path)) for file in files], files)


def _look(file: Path) -> tuple[tuple[int, int], str]:
    """Size and mode of an image, from its head alone."""
    with _naming(file), Image.open(file) as image:
        return image.size, image.mode


def open_image(file: Path) -> Image.Image:
    """An image, grey or RGB; ValueError that names the file if it is damaged or absurdly large."""
    with _naming(file), Image.open(file) as image:
        return image.convert("L" if image.mode in ("1", "L") else "RGB")


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{file} cannot be read as an image: {error}; repair it or move it away") from error


def as_image(pixels: np.ndarray) -> Image.Image:
    """The image of (height, width, 1 or 3) uint8."""
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def _fit(image: Image.Image, width: int, height: int, channels: int) -> np.ndarray:
    """(height, width, channels) uint8."""
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def _read_table(path: Path, label_column: str | None, ignore: tuple[str, ...]) -> Table:
    frame = _read_frame(path)
    if frame.empty:
        raise ValueError(f"{path} has no rows")
    frame.columns = [str(name) for name in frame.columns]
    if label_column and label_column not in frame.columns:
        raise ValueError(f"{path} has no column {label_column!r}; it has {_some(set(frame.columns))}")
    label = label_column or _guess_label(path, list(frame.columns))
    labels = _labels_of(_as_written(path, frame[label]), path, label)
    features = frame.drop(columns=[label, *ignore, *_row_names(frame)], errors="ignore").pipe(_usable, path)
    rows = [f"row {number}" for number in range(1, len(frame) + 1)]
    return Table(features, labels, rows, tuple(frame.columns))


def _row_names(frame: pd.DataFrame) -> list[str]:
    """The first column of a CSV that pandas wrote with its index: no name, and a number of its own in each row."""
    first = frame.columns[0]
    numbers = first == "Unnamed: 0" and pd.api.types.is_integer_dtype(frame[first]) and frame[first].is_unique
    return [first] if numbers else []


def _read_frame(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path)
        frame = pd.read_parquet(path)
        frame.select_dtypes(exclude="number").to_numpy(dtype=object)  # text that is no UTF-8 fails only when it is read
        return frame
    except ImportError as error:
        raise ValueError(f"{path} needs pyarrow to be read: pip install pyarrow, or give a .csv") from error
    except Exception as error:  # a damaged file fails in its own way in pandas or pyarrow
        raise ValueError(f"{path} cannot be read as a table: {error}") from error


def _as_written(path: Path, labels: pd.Series) -> pd.Series:
    """The labels of a CSV letter by letter: 01 is no 1."""
    if path.suffix.lower() != ".csv" or not pd.api.types.is_numeric_dtype(labels):
        return labels
    return pd.read_csv(path, usecols=[labels.name], dtype=str)[labels.name]


def _guess_label(path: Path, columns: list[str]) -> str:
    found = [name for name in columns if name.lower() in LABEL_NAMES]
    if len(found) != 1:
        raise ValueError(
            f"which column of {path} is the label? Name it with --label-column; columns: {_some(set(columns))}"
        )
    return found[0]


def _labels_of(column: pd.Series, path: Path, name: str) -> np.ndarray:
    missing = np.flatnonzero(column.isna())
    if len(missing):
        raise ValueError(
            f"{path}: {len(missing)} rows have no label in {name!r}, first row {missing[0] + 1}; "
            "drop them, or name the class if the text of its label reads as a missing value"
        )
    return column.astype(str).to_numpy(dtype=str)


def _usable(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Features, once they are known to be some; truth values and dates count as categories."""
    if not len(frame.columns):
        raise ValueError(f"{path} has no feature column beside the label")
    numeric = frame.select_dtypes("number")
    infinite = [name for name in numeric if np.isinf(numeric[name].to_numpy(dtype=float, na_value=np.nan)).any()]
    if infinite:
        raise ValueError(f"{path}: the column {infinite[0]!r} holds an infinite number: remove or replace it")
    return frame


def _read_arrays(path: Path) -> Data:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("x", "y") if name in file}
    except Exception as error:  # a damaged archive fails in its own way in zipfile, zlib or numpy
        raise ValueError(f"{path} cannot be read as an .npz of plain arrays: {error}") from error
    if len(arrays) < 2:
        raise ValueError(f"{path} must hold the arrays x and y")
    x, y = arrays["x"], arrays["y"]
    if x.ndim == 0 or y.ndim != 1 or len(x) != len(y) or len(y) == 0 or y.dtype.kind not in "iubUS":
        raise ValueError(f"{path}: y must be (N,) integers or strings, one for each of x, got {y.dtype} {y.shape}")
    labels = y.astype(str)
    names = [f"x[{number}]" for number in range(len(y))]
    if x.ndim == 2 and x.dtype.kind in "iuf":
        frame = pd.DataFrame(x, columns=[f"x{number}" for number in range(x.shape[1])])
        return Table(_usable(frame, path), labels, names)
    return Images(_as_pixels(x, path), labels, names)


def _as_pixels(x: np.ndarray, path: Path) -> np.ndarray:
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[3] not in (1, 3) or 0 in x.shape:
        raise ValueError(
            f"{path}: x must be (N, features), (N, height, width), or (N, height, width, 1 or 3), got {x.shape}"
        )
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f" or not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
        raise ValueError(f"{path}: images must be uint8, or floating point from 0 to 1, got {x.dtype}")
    return np.round(x * 255).astype(np.uint8)
