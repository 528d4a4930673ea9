"""Small labelled data, with labels known to be wrong, and files made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits, load_wine

HOSTILE = "<img src=x onerror=alert(1)>"
FORMULA = '=HYPERLINK("http://x.example","look")'


@dataclass(frozen=True)
class Sample:
    """Training examples of which some labels are wrong, and clean ones."""

    x: np.ndarray
    y: np.ndarray
    wrong: np.ndarray
    """(N,) bool: labels in `y` that are not true."""
    clean_x: np.ndarray
    clean_y: np.ndarray


def sample(name: str, rate: float = 0.2, clean: int = 6, most: int = 300) -> Sample:
    """Wine (13 features) or digits (8x8 uint8) of three classes: every class loses `rate` of its labels to the next."""
    data = {"wine": load_wine, "digits": load_digits}[name]()
    x = data.data if name == "wine" else (data.images * 255 / 16).astype(np.uint8)
    rng = np.random.default_rng(0)
    order = rng.permutation(np.flatnonzero(data.target < 3))[: most + 3 * clean]
    trusted = np.concatenate([order[data.target[order] == c][:clean] for c in range(3)])
    rest = order[~np.isin(order, trusted)]
    wrong = rng.random(len(rest)) < rate
    y = (data.target[rest] + wrong) % 3
    return Sample(x[rest], y, wrong, x[trusted], data.target[trusted])


def frames(s: Sample, names: tuple[str, ...] = ("red", "white", "rose")) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of a sample: numbers, a category, a column with missing values, and the label in words."""
    made = []
    for x, y in ((s.x, s.y), (s.clean_x, s.clean_y)):
        frame = pd.DataFrame(x, columns=[f"a{number}" for number in range(x.shape[1])])
        frame["cellar"] = np.where(x[:, 6] > 2, "north", "south")
        frame["old"] = np.where(x[:, 7] > 0.4, np.nan, x[:, 7])
        made.append(frame.assign(label=np.array(names)[y]))
    return made[0], made[1]


def folders(s: Sample, root: Path, names: tuple[str, ...] = ("nought", "one", "two")) -> tuple[Path, Path]:
    """A sample of images as `root`/data and `root`/clean, one folder a label."""
    for place, x, y in (("data", s.x, s.y), ("clean", s.clean_x, s.clean_y)):
        for number, (pixels, label) in enumerate(zip(x, y, strict=True)):
            folder = root / place / names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number:04}.png")
    return root / "data", root / "clean"
