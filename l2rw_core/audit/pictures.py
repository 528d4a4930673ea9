"""Reading images as people have them: folders of files of every kind, or arrays, as pixels of 8 bits.

Images are turned upright as their camera says, what is transparent is laid over a ground on which it can be seen, and
values of more than 8 bits are scaled by the range that the data have. One `View` holds these choices for data and clean
set alike.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from l2rw_core.audit.tables import PICTURES, about_blanks, plain_label, some
from l2rw_core.running.progress import progress_wanted

LARGEST_SIDE = 64
"""Images that differ in size, or are larger, become squares of `RESIZED` pixels."""
RESIZED = 32
_GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_DEEP = {"I": "whole", "I;16": "whole", "I;16B": "whole", "I;16L": "whole", "I;16N": "whole", "F": "real"}
_JUNK = ("__macosx", "@eadir", "lost+found", "$recycle.bin", "thumbs.db", "desktop.ini")
_PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "images"}
_GROUNDS = (255, 0, 128)
_SAMPLE = 500

Range = tuple[float, float]
_STRAY = 0.001
"""Share of the darkest and of the brightest pixels of an image that decide nothing, as those of a faulty sensor."""


@dataclass(frozen=True)
class View:
    """How pixels of any kind become 8 bits, in data and clean set alike."""

    ranges: dict[str, Range] = field(default_factory=dict)
    """Values that become 0 and 255, of whole and of real numbers, where these have more than 8 bits."""
    ground: int = 255
    """Grey that transparent images are laid over."""


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
    notes: tuple[str, ...] = ()
    """What is to be said about reading them: what was left out, and what was changed."""
    view: View = field(default_factory=View)
    """How their files are shown."""

    def __len__(self) -> int:
        return len(self.labels)


class Pictures(Protocol):
    """Images that are looked at, and not read yet."""

    labels: np.ndarray
    size: tuple[int, int] | None
    """Width and height, None if they differ."""
    grey: bool
    extent: dict[str, Extent]
    """What whole and real numbers of more than 8 bits come to."""
    grounds: np.ndarray
    """(transparent images, grounds) contrast that each has over each ground, from 0 to 128."""

    def read(self, view: View, size: tuple[int, int], channels: int) -> Images:
        """All of them, in 8 bits."""
        ...


def read_pictures(data: Pictures, *others: Pictures) -> list[Images]:
    """Read images, and others in the same way: the first say which size all have.

    Raises:
        ValueError: if a file cannot be read, or the images of the first are all the same.
    """
    together = (data, *others)
    width, height = data.size or (RESIZED, RESIZED)
    if max(width, height) > LARGEST_SIDE:
        width = height = RESIZED
    channels = 1 if all(part.grey for part in together) else 3
    view = _view(together)
    return [part.read(view, (width, height), channels) for part in together]


def _view(parts: tuple[Pictures, ...]) -> View:
    extents: dict[str, Extent] = {}
    for part in parts:
        for kind, extent in part.extent.items():
            extents[kind] = extents[kind] | extent if kind in extents else extent
    ranges = {kind: _range(extent) for kind, extent in extents.items()}
    grounds = np.concatenate([part.grounds for part in parts])
    ground = _GROUNDS[int(np.log1p(grounds).mean(0).argmax())] if len(grounds) else _GROUNDS[0]
    return View(ranges, ground)


def _range(extent: Extent) -> Range:
    """The range of the type, or that of the values where these use less than a quarter of it, or lie outside."""
    low, high = extent.usual_low, extent.usual_high
    if high == low:
        low, high = extent.low, extent.high
    for end in (1.0, 255.0, 65535.0):
        if extent.low >= 0 and extent.high <= end:
            return (0.0, end) if high - low >= end / 4 or high == low else (low, high)
    return low, high


def check_not_all_alike(images: Images, path: Path) -> None:
    """ValueError if there is nothing to tell the images apart by."""
    if len(images) > 1 and (images.x == images.x[0]).all():
        raise ValueError(
            f"all {len(images)} images of {path} are the same once they are read: nothing tells them apart, so look at "
            f"the files, {images.names[0]} for one"
        )


@dataclass(frozen=True)
class Extent:
    """Between what values pixels lie."""

    low: float
    high: float
    usual_low: float
    """Without stray pixels."""
    usual_high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Extent:
        """Of the pixels of an image, or of many."""
        usual = np.quantile(values, (_STRAY, 1 - _STRAY))
        return cls(float(values.min()), float(values.max()), float(usual[0]), float(usual[1]))

    @classmethod
    def of_bytes(cls, values: np.ndarray) -> Extent:
        """The same of (N, ...) uint8, without sorting them."""
        counted = sum((np.bincount(part.ravel(), minlength=256) for part in values), np.zeros(256, dtype=int))
        there, below = np.flatnonzero(counted), np.cumsum(counted) / values.size
        usual = (float(np.searchsorted(below, share)) for share in (_STRAY, 1 - _STRAY))
        return cls(float(there[0]), float(there[-1]), *usual)

    def __or__(self, other: Extent) -> Extent:
        lows, highs = (self.low, other.low), (self.high, other.high)
        usual = min(self.usual_low, other.usual_low), max(self.usual_high, other.usual_high)
        return Extent(min(lows), max(highs), *usual)


@dataclass(frozen=True)
class _Head:
    """What the head of a file says."""

    size: tuple[int, int]
    """As it is shown, upright."""
    mode: str
    transparent: bool
    frames: int
    shortened: bool
    """Whether Pillow reads its colours of 16 bits at 8."""


class Folder:
    """A folder with one folder of images for each label.

    Raises:
        ValueError: if there is no such folder, no image in any, or a file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files, names, notes = _find(path)
        heads = _each(self.files, _look, f"looking at {path.name}")
        self.labels = np.array(names)
        sizes = {head.size for head in heads}
        self.size = next(iter(sizes)) if len(sizes) == 1 else None
        self.grey = all(head.mode in _GREY for head in heads)
        self.extent = _extent([(f, h.mode) for f, h in zip(self.files, heads, strict=True) if h.mode in _DEEP])
        transparent = [f for f, h in zip(self.files, heads, strict=True) if h.transparent]
        chosen = transparent[:: max(len(transparent) // _SAMPLE, 1)]
        contrasts = [_contrasts(file) for file in chosen]
        self.grounds = np.array([c for c in contrasts if c is not None]).reshape(-1, len(_GROUNDS))
        moving = sum(head.frames > 1 for head in heads)
        if moving:
            notes.append(f"{moving} files of {path.name} have several pictures: the first of each is read.")
        shortened = [file for file, head in zip(self.files, heads, strict=True) if head.shortened]
        if shortened:
            notes.append(
                f"{len(shortened)} images of {path.name} hold colours of 16 bits, {shortened[0].name} for one, and "
                "were read at 8 bits: differences below 1/256 of the range are lost; give an .npz to have it scaled."
            )
        if len(sizes) > 1:
            notes.append(f"The images of {path.name} have {len(sizes)} sizes: all become {RESIZED} x {RESIZED} pixels.")
        self.notes = notes

    def read(self, view: View, size: tuple[int, int], channels: int) -> Images:
        def pixels(file: Path) -> np.ndarray:
            return _fit(open_image(file, view), *size, channels)

        x = np.stack(_each(self.files, pixels, f"reading {self.path.name}"))
        notes = [*self.notes]
        if len(self.grounds):
            shade = {0: "black", 255: "white"}.get(view.ground, "grey")
            notes.append(f"Transparent images of {self.path.name} are laid over {shade}.")
        names = [str(file.relative_to(self.path)) for file in self.files]
        return Images(x, self.labels, names, self.files, (*notes, *_about_ranges(self, view, self.path.name)), view)


class Stack:
    """Images in an array.

    Args:
        x: (N, height, width), (N, height, width, channels) or (N, channels, height, width), channels 1 to 4: grey, grey
            and alpha, RGB, RGB and alpha; whole or real numbers of any range.

    Raises:
        ValueError: for another shape, or values that are no finite numbers.
    """

    def __init__(self, x: np.ndarray, labels: np.ndarray, path: Path, notes: tuple[str, ...] = ()) -> None:
        x = x[..., None] if x.ndim == 3 else x
        if x.ndim != 4 or 0 in x.shape or not (x.shape[3] <= 4 or x.shape[1] <= 4):
            raise ValueError(
                f"{path}: x must be (N, features), (N, height, width), (N, height, width, 1 to 4) or "
                f"(N, 1 to 4, height, width), got {x.shape}"
            )
        if x.dtype.kind not in "biuf":
            raise ValueError(f"{path}: images must be whole or real numbers, got {x.dtype}")
        finite = np.isfinite(x)
        if not finite.all():
            place = int((~finite.all((1, 2, 3))).argmax())
            raise ValueError(f"{path}: x[{place}] holds values that are no finite numbers: fill or remove them")
        x = x if x.shape[3] <= 4 else x.transpose(0, 2, 3, 1)
        x = x * np.uint8(255) if x.dtype == bool else x
        self.path, self.x, self.labels, self.notes = path, x, labels, notes
        self.size = (x.shape[2], x.shape[1])
        self.grey = x.shape[3] < 3
        self.kind = "real" if x.dtype.kind == "f" else "whole"
        self.extent = {self.kind: Extent.of_bytes(x) if x.dtype == np.uint8 else Extent.of(x)}
        self.grounds = np.zeros((0, len(_GROUNDS)))

    def read(self, view: View, size: tuple[int, int], channels: int) -> Images:
        as_it_is = self.x.dtype == np.uint8 and view.ranges[self.kind] == (0.0, 255.0)
        x = self.x if as_it_is else _scaled(self.x, view.ranges[self.kind])
        if x.shape[3] in (2, 4):
            colour, alpha = x[..., :-1].astype(float), x[..., -1:].astype(float) / 255
            x = np.round(colour * alpha + view.ground * (1 - alpha)).astype(np.uint8)
        if (x.shape[2], x.shape[1]) != size or x.shape[3] != channels:
            x = np.stack([_fit(as_image(pixels), *size, channels) for pixels in x])
        names = [f"x[{number}]" for number in range(len(x))]
        notes = (*self.notes, *_about_ranges(self, view, self.path.name))
        return Images(x, self.labels, names, None, notes, view)


def _about_ranges(part: Folder | Stack, view: View, name: str) -> list[str]:
    return [
        f"Images of {name} hold numbers from {part.extent[kind].low:g} to {part.extent[kind].high:g}: {low:g} becomes "
        f"black, {high:g} white."
        for kind, (low, high) in view.ranges.items()
        if kind in part.extent and (low, high) not in ((0.0, 1.0), (0.0, 255.0))
    ]


def _find(root: Path) -> tuple[list[Path], list[str], list[str]]:
    """Image files with their labels, in the order of their names, and what is left out."""
    if not root.is_dir():
        raise ValueError(f"{root} must hold one folder of images for each label")
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir() and not _out_of_sight(entry.name))
    hidden = [entry.name for entry in root.iterdir() if _out_of_sight(entry.name)]
    beside = [entry.name for entry in root.iterdir() if not entry.is_dir() and not _out_of_sight(entry.name)]
    if not classes:
        raise ValueError(
            f"{root} must hold one folder of images for each label, and has no folder"
            + (f" but {len(beside)} files, {sorted(beside)[0]} for one" if beside else "")
        )
    if {folder.name.lower() for folder in classes} <= _PARTS:
        raise ValueError(
            f"the folders of {root}, {some({folder.name for folder in classes})}, are parts of a data set and no "
            f"labels: give one of them, {classes[0]} for one"
        )
    files: list[Path] = []
    labels: list[str] = []
    owners: dict[Path, Path] = {}
    others: list[str] = []
    empty: list[str] = []
    for folder in classes:
        everything = list(_walk(folder, hidden, root, owners))
        images = [file for file in everything if file.suffix.lower() in PICTURES]
        others += [str(file.relative_to(root)) for file in everything if file.suffix.lower() not in PICTURES]
        empty += [folder.name] if not images else []
        files += images
        labels += [plain_label(folder.name)] * len(images)
    if not files:
        remedy = f"; it has files such as {others[0]}: convert them, or name them as what they are" if others else ""
        raise ValueError(f"no label folder of {root} holds an image ({', '.join(PICTURES)}){remedy}")
    notes = [
        *_left_out(hidden, "hidden file or folder", "hidden files or folders", root),
        *_left_out(beside, "file beside the label folders", "files beside the label folders", root),
        *_left_out(others, "file that is no image", "files that are no images", root),
        *_left_out(empty, "label folder without an image", "label folders without an image", root),
        *about_blanks([folder.name for folder in classes], root),
    ]
    return files, labels, notes


def _walk(folder: Path, hidden: list[str], root: Path, owners: dict[Path, Path]) -> Iterator[Path]:
    """Files of a folder and the folders in it, links followed, none of these twice, and none that holds the data.

    Args:
        folder: of a label.
        hidden: takes what is out of sight.
        root: of the data.
        owners: the label folder by which each folder was reached, as far as known.

    Raises:
        ValueError: if a folder is that of another label as well.
    """
    around = {root.resolve(), *root.resolve().parents}
    for here, folders, names in os.walk(folder, followlinks=True):
        place = Path(here)
        itself = place.resolve()
        if owners.get(itself, folder) != folder:
            raise ValueError(
                f"{place} is a link to a folder of the label {owners[itself].name!r}: its images would have two "
                "labels, remove the link"
            )
        if itself in owners or itself in around:
            folders.clear()
            continue
        owners[itself] = folder
        hidden += [str((place / name).relative_to(root)) for name in (*folders, *names) if _out_of_sight(name)]
        folders[:] = sorted(name for name in folders if not _out_of_sight(name))
        yield from (place / name for name in sorted(names) if not _out_of_sight(name))


def _out_of_sight(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _left_out(names: list[str], one: str, many: str, root: Path) -> list[str]:
    if not names:
        return []
    first = ", ".join(sorted(names)[:5]) + (" and others" if len(names) > 5 else "")
    return [f"Left out of {root.name}: {len(names)} {one if len(names) == 1 else many} ({first})."]


def _each(files: list[Path], function: Callable[[Path], Any], what: str) -> list[Any]:
    """What a function makes of each file; ValueError that counts those that are damaged and names the first."""
    results, damaged = [], []
    for file in tqdm(files, what, leave=False, disable=not progress_wanted()):
        try:
            with _naming(file):
                results.append(function(file))
        except ValueError as error:
            damaged.append((file, error))
    if damaged:
        error, rest = damaged[0][1], [f"{file.parent.name}/{file.name}" for file, _ in damaged[1:]]
        more = f"; so it is with {len(rest)} more: {', '.join(rest[:5])}{' and others' if len(rest) > 5 else ''}"
        raise ValueError(f"{error}{more if rest else ''}") from error
    return results


def _look(file: Path) -> _Head:
    with Image.open(file) as image:
        parts = [str(tile[3]) for tile in getattr(image, "tile", ())]  # the exif of a PNG loads it, and they are gone
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        size = image.size[::-1] if turned else image.size
        shortened = image.mode not in _DEEP and any(";16" in part for part in parts)
        return _Head(size, image.mode, image.has_transparency_data, getattr(image, "n_frames", 1), shortened)


def _extent(files: list[tuple[Path, str]]) -> dict[str, Extent]:
    extents: dict[str, Extent] = {}
    for file, mode in files:
        with _naming(file), Image.open(file) as image:
            values = np.asarray(image)
            if not np.isfinite(values).all():
                raise ValueError("it holds values that are no finite numbers")
        kind, extent = _DEEP[mode], Extent.of(values)
        extents[kind] = extents[kind] | extent if kind in extents else extent
    return extents


def _contrasts(file: Path) -> list[float] | None:
    """Contrast that a transparent image has over each ground; None if all of it is opaque, or nothing is seen."""
    with _naming(file), Image.open(file) as image:
        pixels = np.asarray(image.convert("RGBA"), dtype=float)
    alpha = pixels[..., 3] / 255
    if alpha.min() == 1 or alpha.max() == 0:
        return None
    return [float((pixels[..., :3].mean(2) * alpha + ground * (1 - alpha)).std()) for ground in _GROUNDS]


def open_image(file: Path, view: View | None = None) -> Image.Image:
    """An image, grey or RGB, upright, in 8 bits; ValueError that names the file if it is damaged or absurdly large."""
    with _naming(file), Image.open(file) as image:
        return _plain(image, view or View())


def _plain(image: Image.Image, view: View) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _DEEP:
        values = np.asarray(upright)
        extent = view.ranges.get(_DEEP[upright.mode]) or _range(Extent.of(values))
        return Image.fromarray(_scaled(values, extent))
    grey = upright.mode in _GREY
    if upright.has_transparency_data:
        colours = upright.convert("RGBA")
        ground = Image.new("RGBA", colours.size, (view.ground,) * 3 + (255,))
        upright = Image.alpha_composite(ground, colours)
    return upright.convert("L" if grey else "RGB")


def _scaled(values: np.ndarray, extent: Range) -> np.ndarray:
    low, high = extent
    shares = (values.astype(np.float64) - low) / ((high - low) or 1.0)
    return np.round(shares.clip(0, 1) * 255).astype(np.uint8)


class _Damaged(ValueError):
    """An error that names the file already."""


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except _Damaged:
        raise
    except Image.DecompressionBombError as error:
        raise _Damaged(f"{file} has more pixels than can be read: {error}; make it smaller") from error
    except _DAMAGES as error:
        raise _Damaged(f"{file} cannot be read as an image: {error}; repair it or move it away") from error


_DAMAGES = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
)


def as_image(pixels: np.ndarray) -> Image.Image:
    """The image of (height, width, 1 or 3) uint8."""
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def _fit(image: Image.Image, width: int, height: int, channels: int) -> np.ndarray:
    """(height, width, channels) uint8."""
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)
