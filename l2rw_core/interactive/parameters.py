"""The parameters of a chapter, looked at before anything is computed from them: one sentence for one that cannot be."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping
from math import isfinite
from numbers import Integral, Real
from typing import Any

from IPython import get_ipython

from l2rw_core.datasets import Source, Split, load
from l2rw_core.datasets.batches import LARGEST_SEED
from l2rw_core.experiments import Experiment, prepare

INJECTED = "# Parameters\n"
"""How the cell begins that papermill adds after *Setup*."""


ABSENT: Any = object()
"""What a chapter has no parameter for."""


class ParameterError(ValueError):
    """A parameter cannot be what it was set to. A notebook shows it as the one sentence that it is."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def check_parameters(
    profiles: Collection[str] | Mapping[str, Experiment],
    *,
    profile: str,
    seed: int,
    imbalance: Any = ABSENT,
    noise: Any = ABSENT,
    clean: Any = ABSENT,
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Refuse parameters that a chapter does not have, or that its data do not allow, in one sentence.

        check_parameters(["quick", "paper"], profile=profile, seed=seed, noise=noise)

    Args:
        profiles: the names there are; of a chapter that trains each with an experiment of it, which is prepared with
            the values below to see what the data allow.
        profile, seed: of the chapter.
        imbalance, noise, clean: those of them that the chapter has; see `Experiment.biased`.
        limits: name -> least and greatest value, where those that are usual will not do.

    Raises:
        ParameterError: a value of the wrong kind or out of range, one that the data do not allow, or a name that
            papermill was given and that is none of the chapter's parameters.
    """
    values = {"profile": profile, "seed": seed, "imbalance": imbalance, "noise": noise, "clean": clean}
    values = {name: value for name, value in values.items() if value is not ABSENT}
    check_names(_given_to_papermill(), values)
    if profile not in profiles:
        raise ParameterError(_says("profile", profile, f"one of {', '.join(profiles)}"))
    biases = {name: values[name] for name in ("imbalance", "noise", "clean") if name in values}
    check_values(seed=seed, **biases)
    for name, (low, high) in (limits or {}).items():
        if not low <= values[name] <= high:
            raise ParameterError(_says(name, values[name], f"from {low:g} to {high:,g} in this chapter"))
    if isinstance(profiles, Mapping):
        check_data(profiles[profile], **biases)


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "seed": (f"a whole number from 0 to {LARGEST_SEED}", lambda v: _is_whole(v) and 0 <= v <= LARGEST_SEED),
    "imbalance": (
        "a number from 1, such as 30 for thirty images of the largest class to one of the smallest",
        lambda v: _is_number(v) and v >= 1,
    ),
    "noise": ("a share from 0 to 1, such as 0.4 for 40% of the labels", lambda v: _is_number(v) and 0 <= v <= 1),
    "clean": ("a whole number of images from 1", lambda v: _is_whole(v) and v >= 1),
}


def check_values(**values: Any) -> None:
    """Refuse what is no seed, imbalance, noise or clean-set size for any data; ParameterError says what would be."""
    for name, value in values.items():
        wanted, fits = _KINDS[name]
        if not fits(value):
            raise ParameterError(_says(name, value, wanted))


def check_names(given: Collection[str], known: Collection[str]) -> None:
    """Refuse names that are none of the known ones; ParameterError lists these."""
    if unknown := [name for name in given if name not in known]:
        raise ParameterError(
            f"this chapter has no parameter {' or '.join(map(repr, unknown))}; it has {', '.join(known)}"
        )


def check_data(
    experiment: Experiment,
    imbalance: float | None = None,
    noise: float | None = None,
    clean: int | None = None,
    source: Source | None = None,
) -> Experiment:
    """The experiment at another imbalance, noise and clean-set size, if its data allow them.

    Args:
        experiment: any run on the data.
        imbalance, noise, clean: see `Experiment.biased`.
        source: the data if they are at hand; otherwise they are loaded.

    Raises:
        ParameterError: too few images for what is wanted; says which and what would do.
    """
    source = source or load(experiment.data)
    try:
        wanted = experiment.biased(imbalance, noise, clean)
        _check_left(prepare(wanted, source))
    except ValueError as error:
        asked = {"imbalance": imbalance, "noise": noise, "clean": clean}
        told = ", ".join(f"{name}={value}" for name, value in asked.items() if value is not None)
        raise ParameterError(f"{source.title} does not allow {told}: {error}") from None
    return wanted


def _check_left(split: Split) -> None:
    counts = [int((split.truth == label).sum()) for label in range(split.num_classes)]
    if 0 in counts:
        raise ValueError(
            f"no image of class {counts.index(0)} would be left to train on; "
            "choose a milder imbalance or a smaller clean set"
        )


def _given_to_papermill() -> list[str]:
    """Names that papermill set in this kernel, in the cell that it adds after *Setup*; none if it did not."""
    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell is not None else []
    added = next((source for source in reversed(cells) if source.startswith(INJECTED)), "")
    return [
        target.id
        for statement in ast.parse(added).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    ]


def _says(name: str, value: Any, wanted: str) -> str:
    return f"{name} must be {wanted}, and is {value!r}: change it in Setup"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
