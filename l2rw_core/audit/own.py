"""What somebody brings beside the data: a network, out-of-fold predictions, features of a model of their own."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from l2rw_core.audit.coding import FARTHEST
from l2rw_core.audit.columns import LARGEST_NUMBER
from l2rw_core.audit.tables import some

SAVED = (".pt", ".pth", ".pt2", ".ckpt", ".bin")
"""Ends of files that hold a module."""
ONE = 0.01
"""So far may the probabilities of an example be from 1 together."""
_FEW = 20


@dataclass(frozen=True)
class Own:
    """What somebody brings; each of it can be left out."""

    model: Callable[[], nn.Module] | None = None
    """Makes the network anew: it takes the examples, and returns (n, K) logits, the labels in sorted order."""
    model_name: str = ""
    """What the network is called in the report."""
    probabilities: np.ndarray | None = None
    """(N, K) what a model says of each example that has not seen it, such as of folds; the labels in sorted order."""
    features: tuple[np.ndarray, np.ndarray] | None = None
    """(N, D) of the data and (M, D) of the trusted examples; every model sees these in place of pixels or columns."""


def read_own(
    classes: Sequence[str], model: str | None = None, probabilities: Path | None = None, features: Path | None = None
) -> Own:
    """Read what is brought in files and names.

    Args:
        classes: the K labels, sorted.
        model: a network of torchvision by its name, built without weights; ``package.module:callable``, which is called
            with ``num_classes=K`` if it takes that, or is a module itself; or a file that ``torch.save(model, file)``
            wrote. Unpickling such a file runs what is in it: name none that you do not trust.
        probabilities: ``.npy`` or ``.npz`` with one array (N, K), or a table with one column for each label.
        features: ``.npz`` with the arrays ``data`` (N, D) and ``clean`` (M, D).

    Raises:
        ValueError: if a file is not there, is damaged, or holds something else, or there is no such network.
    """
    return Own(
        None if model is None else find_model(model, len(classes)),
        model or "",
        None if probabilities is None else read_probabilities(probabilities, classes),
        None if features is None else read_features(features),
    )


def find_model(name: str, classes: int) -> Callable[[], nn.Module]:
    """What makes the network of this name, see `read_own`; ValueError if there is none."""
    path = Path(name)
    if path.suffix.lower() in SAVED or path.is_file():
        return _saved(path)
    if ":" in name:
        return _imported(name, classes)
    return _of_torchvision(name, classes)


def _saved(path: Path) -> Callable[[], nn.Module]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}: name one that torch.save(model, file) wrote")
    try:
        with _here():
            module = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # pickle runs what is in the file
        raise ValueError(f"{path} cannot be read as a saved module: {_first_line(error)}") from error
    if not isinstance(module, nn.Module):
        what = "parameters alone" if isinstance(module, dict) else f"a {type(module).__name__}"
        raise ValueError(
            f"{path} holds {what} and no module: save the whole module, torch.save(model, file), or name what builds "
            "it as package.module:callable"
        )
    return lambda: copy.deepcopy(module)


def _imported(name: str, classes: int) -> Callable[[], nn.Module]:
    module, _, attribute = name.partition(":")
    try:
        with _here():
            value: Any = importlib.import_module(module)
            for part in attribute.split("."):
                value = getattr(value, part)
    except Exception as error:  # the module runs when it is imported
        raise ValueError(
            f"the model {name!r} cannot be imported: {_first_line(error)}; write package.module:callable, as seen from "
            "this folder"
        ) from error
    if isinstance(value, nn.Module):
        return lambda: copy.deepcopy(value)
    if not callable(value):
        raise ValueError(f"{name!r} is a {type(value).__name__}: name a module, or what builds one when it is called")
    return (lambda: value(num_classes=classes)) if _takes_classes(value) else value


def _takes_classes(build: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(build).parameters
    except (TypeError, ValueError):
        return False
    kinds = {parameter.kind for parameter in parameters.values()}
    anything = inspect.Parameter.VAR_KEYWORD in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds
    return "num_classes" in parameters or anything


@contextmanager
def _here() -> Iterator[None]:
    """Modules in the folder of the command can be imported."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _of_torchvision(name: str, classes: int) -> Callable[[], nn.Module]:
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        alike = [other for other in names if other.startswith(name[:3].lower())]
        raise ValueError(
            f"torchvision has no network {name!r} ({some(set(alike or ['resnet18', 'mobilenet_v3_small']))}, for "
            "example); an import path is written package.module:callable, and a saved module is a file"
        )
    return lambda: ThreeChannels(models.get_model(name, weights=None, num_classes=classes))


class ThreeChannels(nn.Module):
    """A network for RGB images that takes grey ones too."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.expand(-1, 3, -1, -1) if x.ndim == 4 and x.shape[1] == 1 else x)


def tried(build: Callable[[], nn.Module], name: str, x: Tensor, classes: int) -> Callable[[], nn.Module]:
    """`build`, if what it makes takes the examples and returns a logit for each label.

    Args:
        build: makes a network; of its lazy layers too.
        name: of the network, for errors.
        x: two examples.
        classes: K.

    Raises:
        ValueError: otherwise.
    """

    def whole() -> nn.Module:
        model = build()
        if isinstance(model, nn.Module) and any(map(nn.parameter.is_lazy, model.parameters())):
            with torch.no_grad():
                model.eval()(x)
        return model.train() if isinstance(model, nn.Module) else model

    shape = tuple(x.shape[1:])
    try:
        with torch.random.fork_rng(devices=[]):
            model = whole()
            outputs = model(x)
    except Exception as error:  # somebody else's code
        raise ValueError(
            f"the model {name} cannot be used on examples of shape {shape}: {_first_line(error)}; choose or write one "
            "that takes them"
        ) from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"the model {name} is a {type(model).__name__} and no torch.nn.Module: return one")
    if not isinstance(outputs, Tensor) or outputs.shape != (len(x), classes):
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(f"the model {name} must return (n, {classes}) logits, one for each label, and returned {got}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"the model {name} has no parameter that learns: leave some unfrozen")
    return whole


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def read_probabilities(path: Path, classes: Sequence[str]) -> np.ndarray:
    """(N, K) numbers, the labels in sorted order; ValueError if they cannot be read."""
    if path.suffix.lower() in (".npy", ".npz"):
        arrays = _arrays(path)
        if len(arrays) != 1:
            raise ValueError(f"{path} holds {some(set(arrays))}: give one array, (N, {len(classes)})")
        return next(iter(arrays.values()))
    frame = _frame(path)
    frame.columns = frame.columns.map(str)
    beside = [name for name in frame if name not in classes]
    if beside == [str(number) for number in range(len(classes))]:
        return frame[beside].to_numpy()
    missing = [name for name in classes if name not in frame]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}: name a column after each label, or 0 to {len(classes) - 1} for "
            "their sorted order"
        )
    strange = [name for name in beside if name not in ("id", "name") and not name.startswith("Unnamed")]
    if strange:
        raise ValueError(f"{path} has a column {strange[0]!r}, which is no label of the data: leave it out")
    return frame[list(classes)].to_numpy()


def _frame(path: Path) -> pd.DataFrame:
    readers = {".csv": pd.read_csv, ".tsv": lambda file: pd.read_csv(file, sep="\t"), ".parquet": pd.read_parquet}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} is none of .npy, .npz, {', '.join(readers)}: write the probabilities as one of these")
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        return readers[path.suffix.lower()](path)
    except Exception as error:  # pandas and pyarrow fail in their own ways
        raise ValueError(f"{path} cannot be read as a table: {_first_line(error)}") from error


def read_features(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) and (M, D) numbers of the data and of the trusted examples; ValueError if they cannot be read."""
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path} is no .npz: write the features as np.savez(file, data=..., clean=...)")
    arrays = _arrays(path)
    missing = [name for name in ("data", "clean") if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} has no array {missing[0]!r}, and holds {some(set(arrays)) or 'none'}: write it as "
            "np.savez(file, data=..., clean=...)"
        )
    return arrays["data"], arrays["clean"]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"": content}
        with content:
            return {name: content[name] for name in content.files}
    except Exception as error:  # a damaged archive fails in its own way in zipfile, zlib or numpy
        raise ValueError(f"{path} cannot be read as plain arrays: {_first_line(error)}") from error


def checked_probabilities(p: np.ndarray, n: int, k: int) -> np.ndarray:
    """(N, K) that are probabilities, of each example 1 together; ValueError if they are not."""
    p = np.asarray(p)
    if p.shape != (n, k):
        raise ValueError(
            f"the probabilities have shape {p.shape} and the data {n} examples of {k} labels: give ({n}, {k}), one row "
            "for each example in the order of labels.csv"
        )
    if p.dtype.kind not in "iuf" or not np.isfinite(p).all():
        raise ValueError("the probabilities hold what is no finite number: give one for each example and label")
    p = p.astype(np.float64)
    wrong = (p < 0).any(1) | (np.abs(p.sum(1) - 1) > ONE)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"the probabilities of row {row + 1} are {', '.join(f'{value:g}' for value in p[row, :5])}, and "
            f"{p[row].sum():g} together: they must be 0 or more, and 1 together; of logits take the softmax"
        )
    return p / p.sum(1, keepdims=True)


def checked_features(features: tuple[np.ndarray, np.ndarray], n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) and (M, D) float32, standardised by the data; ValueError if they do not fit them."""
    x, clean = map(np.asarray, features)
    for part, count, what in ((x, n, "data"), (clean, m, "trusted examples")):
        if part.ndim != 2 or len(part) != count or not part.shape[1]:
            raise ValueError(
                f"the features of the {what} have shape {part.shape}: give ({count}, D), one row for each of the "
                f"{count} {'examples' if what == 'data' else what} in their order"
            )
        if part.dtype.kind not in "biuf" or not np.isfinite(part).all() or np.abs(part).max() > LARGEST_NUMBER:
            raise ValueError(f"the features of the {what} hold what is no finite number: replace or leave it out")
    if x.shape[1] != clean.shape[1]:
        raise ValueError(
            f"the data have {x.shape[1]} features and the trusted examples {clean.shape[1]}: take both from one model"
        )
    middle, spread = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    spread[spread == 0] = 1
    first, second = (((part - middle) / spread).clip(-FARTHEST, FARTHEST).astype(np.float32) for part in (x, clean))
    return first, second


def out_of_order(p: np.ndarray, y: np.ndarray) -> str:
    """A sentence if predictions agree with the labels no more than rows in another order would; or empty.

    Args:
        p: (N, K) probabilities.
        y: (N,) labels, from 0 to K - 1.
    """
    predictions, n, k = p.argmax(1), len(y), p.shape[1]
    by_chance = float((np.bincount(predictions, minlength=k) / n) @ (np.bincount(y, minlength=k) / n))
    agreed = float((predictions == y).mean())
    if n < _FEW or agreed > by_chance + 2 * np.sqrt(by_chance * (1 - by_chance) / n):
        return ""
    return (
        f"Your probabilities agree with {agreed:.0%} of the labels, as they would in any other order: are their rows "
        "in the order of labels.csv, and their columns in that of the labels?"
    )
