"""An experiment is a value: everything that decides its outcome, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from typing import Any

from l2rw_core import methods
from l2rw_core.datasets import (
    BackgroundFlip,
    CleanSet,
    InstanceFlip,
    LongTail,
    PairImbalance,
    Subset,
    UniformFlip,
    names,
)
from l2rw_core.datasets.batches import LARGEST_SEED
from l2rw_core.datasets.split import Bias

BIASES: dict[str, type[Bias]] = {
    kind.__name__: kind for kind in (PairImbalance, LongTail, Subset, UniformFlip, BackgroundFlip, InstanceFlip)
}
MODELS = ("lenet", "mlp", "resnet14", "resnet32", "wrn28_10")
SCALES = ("paper", "quarter", "reduced", "quick")
PRECISIONS = ("float32", "bfloat16")
OPTIMIZERS = ("sgd", "adamw")

LABEL_SCORES = ("", "training", "held_out")

_LATER = (
    "fine_tune_steps",
    "clean_imbalance",
    "clean_noise",
    "clean_origin",
    "augment",
    "label_scores",
    "hold_out",
    "precision",
    "statistics_batches",
    "optimizer",
    "clean_replacement",
)


@dataclass(frozen=True)
class Experiment:
    """One training run: data, biases, model, method and schedule. The defaults are Section 4.1 at 200:1.

    Raises:
        ValueError: for an unknown name or an impossible number, before anything is loaded or trained.
    """

    name: str = "fig2"
    """The figure or table of the paper, or the study of ours, that this run belongs to; names its record file."""
    scale: str = "paper"
    """``paper`` (the paper's own scale), ``quarter`` (a quarter of its schedule), ``reduced`` or ``quick``."""
    method: str | type[methods.Method] = "l2rw"
    """The name of a method of the package, or a class of one's own: that can be trained, and has no place on record."""
    data: str = "mnist"
    biases: tuple[Bias, ...] = (PairImbalance(),)
    """Applied in this order; the clean set is carved out just before labels are first changed."""
    clean_size: int = 10
    clean_balanced: bool = True
    model: str = "lenet"
    steps: int = 8000
    batch_size: int = 100
    """n, training examples a step."""
    clean_batch_size: int = 100
    """m, clean examples a step; a smaller clean set is used whole."""
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    lr_drops: tuple[int, ...] = ()
    """Steps before which the learning rate is divided by 10."""
    evaluate_every: int = 200
    """Training steps between two evaluations on the test set."""
    seed: int = 0
    """Decides the split, the initial parameters, the data order, augmentation and dropout."""
    fine_tune_steps: int = 0
    """Steps of training on clean batches alone after the others, at the last learning rate: the paper's "+FT"."""
    clean_imbalance: float = 1.0
    """First over last class in the clean set; see `l2rw_core.datasets.CleanSet` for this and the next two."""
    clean_noise: float = 0.0
    clean_origin: str = "clean"
    augment: bool = False
    """Shift by up to two pixels and mirror, training and clean batches alike, and pixels from -1 to 1 (CIFAR)."""
    label_scores: str = ""
    """Whether every training label is scored, and how well the scores find the wrong ones is put on record: by what
    ``training`` itself says, or by probabilities from models that did not train on it, ``held_out``."""
    hold_out: int = 0
    """Images held out of training before the clean set is taken, and corrupted as the training set is: the paper's
    hyper-validation set. Nothing is trained on them."""
    precision: str = "float32"
    """Of training and evaluation: ``float32``, or ``bfloat16``, which is PyTorch's autocast."""
    statistics_batches: int = 0
    """Training batches by which each evaluation re-estimates the running statistics of batch normalisation; 0 takes
    them as training left them, which is what the released code does."""
    optimizer: str = "sgd"
    """``sgd``, with `momentum`, or ``adamw``, with its own moments and without it."""
    clean_replacement: bool = False
    """Whether each clean batch is drawn anew, with replacement, instead of in shuffled passes over the clean set."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "method":  # a name or a class, which `methods.get` tells from anything else
                _check_kind(field.name, getattr(self, field.name), field.default)
        if not re.fullmatch(r"[\w-]+", self.name):
            raise ValueError(f"name must be letters, digits, _ or -, since it names a file, got {self.name!r}")
        methods.get(self.method)
        _one_of("data set", self.data, names())
        _one_of("model", self.model, MODELS)
        _one_of("scale", self.scale, SCALES)
        _one_of("kind of label scores", self.label_scores, LABEL_SCORES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _ = self.clean_set
        for name in ("steps", "batch_size", "clean_batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.lr < inf:
            raise ValueError(f"lr must be positive and finite, got {self.lr}")
        for name in ("momentum", "weight_decay", "seed", "fine_tune_steps", "hold_out", "statistics_batches"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be finite and must not be negative, got {getattr(self, name)}")
        if self.seed > LARGEST_SEED:
            raise ValueError(f"seed must be at most {LARGEST_SEED}, got {self.seed}")

    @property
    def clean_set(self) -> CleanSet:
        """How the clean set is made; ValueError if it cannot be."""
        return CleanSet(self.clean_size, self.clean_balanced, self.clean_imbalance, self.clean_noise, self.clean_origin)

    @property
    def method_name(self) -> str:
        """What the method is called, also if it is a class."""
        return self.method if isinstance(self.method, str) else self.method.__name__

    @property
    def all_steps(self) -> int:
        """Steps of training and of fine-tuning."""
        return self.steps + self.fine_tune_steps

    def with_(self, **changes: Any) -> Experiment:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def biased(
        self, imbalance: float | None = None, noise: float | None = None, clean: int | None = None
    ) -> Experiment:
        """The same run at another imbalance, noise and clean-set size; what is not given stays.

        Args:
            imbalance: of a pair the nominal ratio, see `share_of_majority`; otherwise the first class over the last.
                Where the run has neither a pair nor a long tail, a long tail of all images takes the place of a
                `Subset`, and 1 changes nothing.
            noise: rate of the flips that the run has, of uniform ones if it has none.
            clean: images of the clean set.

        Raises:
            ValueError: a number that cannot be. What the data allow is seen by `l2rw_core.experiments.prepare`.
        """
        biases = self.biases
        if imbalance is not None:
            biases = _imbalanced(biases, imbalance)
        if noise is not None:
            biases = _flipped(biases, noise)
        return self.with_(biases=biases, clean_size=self.clean_size if clean is None else clean)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; `from_dict` reads them back.

        Raises:
            ValueError: if the method is a class, which has no name that anybody else could read.
        """
        if not isinstance(self.method, str):
            raise ValueError(
                f"{self.method.__name__} is a class of your own, and what is kept must have a name: "
                "give it one in l2rw_core.methods.METHODS"
            )
        values = asdict(self)
        values["biases"] = [{"kind": type(bias).__name__, **asdict(bias)} for bias in self.biases]
        values["lr_drops"] = list(self.lr_drops)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Experiment:
        """The experiment that `to_dict` described; ValueError for unknown fields and impossible values."""
        if not isinstance(values, dict):
            raise ValueError(f"an experiment is a dict of its fields, got {type(values).__name__}")
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown fields in an experiment: {', '.join(sorted(map(str, unknown)))}")
        lists = {name: values.get(name, ()) for name in ("biases", "lr_drops")}
        for name, entries in lists.items():
            if not isinstance(entries, list | tuple):
                raise ValueError(f"{name} must be a list, got {entries!r}")
        biases = tuple(_bias(bias) for bias in lists["biases"])
        return cls(**values | {"biases": biases, "lr_drops": tuple(lists["lr_drops"])})

    @property
    def key(self) -> str:
        """Hash of everything but the seed: trials of one configuration share it.

        Fields that came later have no part in it at their defaults, so that older records keep their names.
        """
        values = self.to_dict()
        del values["seed"]
        for field in fields(self):
            if field.name in _LATER and values[field.name] == field.default:
                del values[field.name]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def share_of_majority(ratio: float) -> float:
    """Share of the frequent class of a pair at a nominal imbalance: of 200 images one is rare at the paper's 200:1.

    Raises:
        ValueError: below 2, where the classes are equal.
    """
    if not 2 <= ratio < inf:
        raise ValueError(f"of a pair, imbalance must be at least 2 (where both classes are equal), got {ratio}")
    return 1 - 1 / ratio


def _imbalanced(biases: tuple[Bias, ...], imbalance: float) -> tuple[Bias, ...]:
    if any(isinstance(bias, PairImbalance) for bias in biases):
        share = share_of_majority(imbalance)
        return tuple(replace(b, majority_share=share) if isinstance(b, PairImbalance) else b for b in biases)
    if any(isinstance(bias, LongTail) for bias in biases):
        return tuple(replace(b, factor=imbalance) if isinstance(b, LongTail) else b for b in biases)
    if imbalance == 1:
        return biases
    return LongTail(imbalance), *(bias for bias in biases if not isinstance(bias, Subset))


def _flipped(biases: tuple[Bias, ...], noise: float) -> tuple[Bias, ...]:
    if any(bias.flips_labels for bias in biases):
        return tuple(replace(bias, rate=noise) if bias.flips_labels else bias for bias in biases)
    return (*biases, UniformFlip(noise)) if noise else biases


def _bias(values: Any) -> Bias:
    if not isinstance(values, dict):
        raise ValueError(f"a bias is a dict of its kind and numbers, got {values!r}")
    kind, rest = values.get("kind"), {name: value for name, value in values.items() if name != "kind"}
    _one_of("bias", kind, tuple(BIASES))
    try:
        bias = BIASES[kind](**rest)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"no {kind} can be made of {rest}: {error}") from error
    for field in fields(bias):
        if field.default is not None:
            _check_kind(f"{field.name} of {kind}", getattr(bias, field.name), field.default)
    return bias


def _check_kind(name: str, value: Any, default: Any) -> None:
    """An int will do for a float, and a truth value for neither."""
    kinds = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool):
        raise ValueError(f"{name} must be of the type {type(default).__name__}, got {value!r}")
    members = {"biases": tuple(BIASES.values()), "lr_drops": int}.get(name)
    if members and not all(isinstance(member, members) for member in value):
        raise ValueError(f"{name} must hold {'biases' if name == 'biases' else 'numbers of steps'}, got {value!r}")


def _one_of(what: str, value: Any, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ValueError(f"unknown {what} {value!r}; choose one of {', '.join(valid)}")
