"""Real data sets as arrays: read through torchvision once, checksums on, then kept in a file that unpickles nothing."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from l2rw_core.datasets.embedded import PARTS, read_part
from l2rw_core.datasets.errors import DataCorrupt, DataUnavailable
from l2rw_core.extras import require
from l2rw_core.running.progress import progress_wanted

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
NETWORK_TIMEOUT = 20.0
"""Seconds that a download may stay silent before it counts as unreachable."""

_DIGITS = tuple("0123456789")
_GARMENTS = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100 = tuple(str(c) for c in range(100))


@dataclass(frozen=True)
class Source:
    """A data set as it was published: images with right labels.

    Raises:
        DataCorrupt: if shapes, types or labels do not fit together.
    """

    name: str
    x_train: np.ndarray
    """(N, height, width, channels) uint8."""
    y_train: np.ndarray
    """(N,) int64."""
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    """Name of each label."""

    @property
    def title(self) -> str:
        """What it is called in a figure or a table."""
        return title_of(self.name)

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            _require(
                x.dtype == np.uint8 and x.ndim == 4, f"x_{part} must be uint8 (N, H, W, C), got {x.dtype} {x.shape}"
            )
            _require(
                y.dtype == np.int64 and y.shape == (len(x),),
                f"y_{part} must be int64 ({len(x)},), got {y.dtype} {y.shape}",
            )
            _require(len(y) > 0, f"the {part} set is empty")
            inside = y.min() >= 0 and y.max() < self.num_classes
            _require(inside, f"y_{part} has labels outside 0 to {self.num_classes - 1}")
        _require(self.x_train.shape[1:] == self.x_test.shape[1:], "training and test images differ in shape")

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        height, width, channels = self.x_train.shape[1:]
        return channels, height, width

    @cached_property
    def checksum(self) -> str:
        """sha256 over the shapes and bytes of the four arrays."""
        digest = hashlib.sha256()
        for name in ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {array.shape} {array.dtype}".encode())
            digest.update(array)
        return digest.hexdigest()


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DataCorrupt(message)


@dataclass(frozen=True)
class _Published:
    """A data set that torchvision reads."""

    reader: str
    """Its class in `torchvision.datasets`."""
    title: str
    """What it is called in a figure or a table."""
    classes: tuple[str, ...]
    folder: str
    """What torchvision calls its folder inside a data root."""
    reference: str
    """Key in the book's bibliography."""
    archive: str = ""
    """What it downloads into the data root itself, beside that folder."""


_PUBLISHED = {
    "mnist": _Published("MNIST", "MNIST", _DIGITS, "MNIST", "lecun1998gradient"),
    "fashion_mnist": _Published("FashionMNIST", "Fashion-MNIST", _GARMENTS, "FashionMNIST", "xiao2017fashion"),
    "cifar10": _Published(
        "CIFAR10", "CIFAR-10", _CIFAR10, "cifar-10-batches-py", "krizhevsky2009learning", "cifar-10-python.tar.gz"
    ),
    "cifar100": _Published(
        "CIFAR100", "CIFAR-100", _CIFAR100, "cifar-100-python", "krizhevsky2009learning", "cifar-100-python.tar.gz"
    ),
}


_DIGITS_REFERENCE = "alpaydin1998optical"


def names() -> tuple[str, ...]:
    """The data sets that `load` knows."""
    return (*_PUBLISHED, *PARTS, "digits")


def title_of(name: str) -> str:
    """What a data set is called in a figure or a table: its own name, unless `load` knows it."""
    source = PARTS.get(name) or _PUBLISHED.get(name)
    return source.title if source else name


def reference_of(name: str) -> str:
    """Key in the book's bibliography of the publication of a data set that `load` knows."""
    whole = PARTS[name].of if name in PARTS else name
    return _DIGITS_REFERENCE if whole == "digits" else _PUBLISHED[whole].reference


def data_root() -> Path:
    """Where data sets are kept: ``$L2RW_DATA``, else ``data/cache`` of the checkout, else ``l2rw`` in the user's cache.

    The user's cache is ``$XDG_CACHE_HOME``, or ``~/.cache``. Nothing is written to the working directory.
    """
    if folder := os.environ.get("L2RW_DATA"):
        return Path(folder)
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").exists():
        return checkout / "data" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l2rw"


def load(name: str, root: str | Path | None = None, download: bool = True) -> Source:
    """A data set by name: embedded, from ``<root>/<name>.npz``, from torchvision's files in `root`, or downloaded.

    What torchvision read is written to ``<root>/<name>.npz`` where the root can be written, so that later loads are
    fast. A load that fails, or is interrupted, leaves nothing in `root` that was not there before.

    Three sets come with the package and its requirements, and need neither `root` nor network. ``mnist_4982`` has
    all MNIST images of the digits 4, 9, 8 and 2, in their order there and under their own labels; ``fashion_small``
    the first 600 training and 200 test images of each class of Fashion-MNIST. ``digits`` is scikit-learn's: 8x8
    images, a third of them set aside as test set. None of them ever stands in for a set of another name.

    Args:
        name: one of `names`.
        root: folder of the data; `data_root` by default.
        download: whether the network may be used.

    Raises:
        DataUnavailable: it is neither there nor to be downloaded.
        DataCorrupt: it is there and damaged.
        ValueError: there is no data set of that name.
    """
    _check_known(name)
    if name == "digits":
        return _embedded_digits()
    if name in PARTS:
        return Source(name, *read_part(name), _PUBLISHED[PARTS[name].of].classes)
    root = Path(root) if root is not None else data_root()
    file = root / f"{name}.npz"
    return _from_npz(file, name) if file.exists() else _from_torchvision(name, root, download)


def _check_known(name: str) -> None:
    if name not in names():
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(names())}")


def _embedded_digits() -> Source:
    require("experiments", "sklearn")
    from sklearn.datasets import load_digits  # only when asked for: these two imports take seconds

    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    y = bunch.target.astype(np.int64)
    # Every third image of each class is a test image: the same split everywhere, and nothing to draw.
    rank = np.zeros(len(y), dtype=np.int64)
    for c in range(10):
        rank[y == c] = np.arange((y == c).sum())
    test = rank % 3 == 2
    return Source("digits", x[~test], y[~test], x[test], y[test], _DIGITS)


def _from_npz(path: Path, name: str) -> Source:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = [key for key in ARRAYS if key not in file]
            _require(not missing, f"the arrays {', '.join(missing)} are missing")
            arrays = {key: file[key] for key in ARRAYS}
        return _as_source(name, **arrays)
    except Exception as error:  # a damaged archive fails in its own way in zipfile, zlib or numpy
        raise DataCorrupt(f"{path} cannot be used: {error}. Delete it and load {name} again.") from error


def _as_source(name: str, x_train: Any, y_train: Any, x_test: Any, y_test: Any) -> Source:
    x_train, x_test = (_with_channels(np.asarray(x)) for x in (x_train, x_test))
    y_train, y_test = (np.asarray(y) for y in (y_train, y_test))
    _require(y_train.dtype.kind in "iu" and y_test.dtype.kind in "iu", "labels must be integers")
    return Source(name, x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64), _PUBLISHED[name].classes)


def _with_channels(x: np.ndarray) -> np.ndarray:
    return x[..., None] if x.ndim == 3 else x


def _from_torchvision(name: str, root: Path, download: bool) -> Source:
    if not download and not (root / _PUBLISHED[name].folder).is_dir():
        raise DataUnavailable(_unavailable(name, root, "the network was not to be used"))
    file = root / f"{name}.npz"
    with _place_to_unpack(name, root) as place:
        if file.exists():  # written by another process while this one waited
            return _from_npz(file, name)
        _check_archives(place / _PUBLISHED[name].folder)
        train, test = (_read(name, place, is_train, download) for is_train in (True, False))
        source = _as_source(name, train.data, train.targets, test.data, test.targets)
        if place == root:
            _write_npz(source, file)
    return source


@contextlib.contextmanager
def _place_to_unpack(name: str, root: Path) -> Iterator[Path]:
    """The root itself if it can be written, otherwise a temporary copy of what it holds of this data set."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    if _writable(root):
        with _removed_on_failure(lambda: missing), _one_at_a_time(root / f".{name}.lock"):
            there = set(_files_of(name, root))
            with _removed_on_failure(lambda: sorted(set(_files_of(name, root)) - there, reverse=True)):
                yield root
        return
    with tempfile.TemporaryDirectory() as temporary:
        raw = root / _PUBLISHED[name].folder
        if raw.is_dir():
            shutil.copytree(raw, Path(temporary) / raw.name, copy_function=shutil.copyfile)
        yield Path(temporary)


@contextlib.contextmanager
def _removed_on_failure(paths: Callable[[], Iterable[Path]]) -> Iterator[None]:
    """Remove these if what follows fails, what is in a folder before the folder; a folder in use by others stays."""
    try:
        yield
    except BaseException:
        for path in paths():
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        raise


def _files_of(name: str, root: Path) -> Iterator[Path]:
    """What there is of a data set in torchvision's form: files and folders."""
    for path in filter(None, (_PUBLISHED[name].folder, _PUBLISHED[name].archive)):
        if (root / path).exists():
            yield from (root / path, *(root / path).rglob("*"))


def _writable(root: Path) -> bool:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Other processes wait: torchvision unpacks in place, and who reads meanwhile finds files that are still empty."""
    require("experiments", "filelock")
    from filelock import FileLock

    with contextlib.ExitStack() as locks:
        with contextlib.suppress(OSError):  # some file systems have no locks
            locks.enter_context(FileLock(path))
        try:
            yield
        finally:
            # Who comes now need not wait for those who do: the arrays are there to read, or each fails by itself.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _check_archives(folder: Path) -> None:
    """A damaged archive is reported as such: torchvision would only say that it cannot download a new one."""
    for path in sorted(folder.glob("raw/*.gz")):
        try:
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
        except (OSError, EOFError, zlib.error) as error:
            raise DataCorrupt(f"{path} is damaged ({error}). Delete it and load again.") from error


def _read(name: str, root: Path, train: bool, download: bool) -> Any:
    require("experiments", "torchvision")
    from torchvision import datasets

    reader = getattr(datasets, _PUBLISHED[name].reader)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()), _bars_as_wanted():
            return reader(root, train=train, download=download)
    except Exception as error:  # the readers assert, index and unpack what they find in a file
        cause = str(error).partition("\n")[0].rstrip(":")
        if isinstance(error, OSError) or "not found" in cause or "download" in cause:
            raise DataUnavailable(_unavailable(name, root, cause)) from error
        folder = root / _PUBLISHED[name].folder
        raise DataCorrupt(f"the files in {folder} are damaged ({cause}). Delete that folder and load again.") from error
    finally:
        socket.setdefaulttimeout(before)


def _unavailable(name: str, root: Path, cause: str) -> str:
    return (
        f"{name} is not in {root} and could not be downloaded ({cause}). Put torchvision's files "
        f"or {name}.npz there, point L2RW_DATA to a folder with them, or use the embedded {_embedded(name)}."
    )


def _embedded(name: str) -> str:
    parts = [f"{part} ({what.holds})" for part, what in PARTS.items() if what.of == name]
    return ", ".join([*(parts or PARTS), "digits"])


def _bars_as_wanted() -> contextlib.AbstractContextManager:
    """The readers always draw a bar for a download, on standard error."""
    return contextlib.nullcontext() if progress_wanted() else contextlib.redirect_stderr(io.StringIO())


def _write_npz(source: Source, path: Path) -> None:
    """Write the arrays whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        try:
            np.savez(part, **{name: getattr(source, name) for name in ARRAYS})
            part.close()
            Path(part.name).chmod(0o644)
            Path(part.name).replace(path)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
