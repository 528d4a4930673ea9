"""Learning to reweight examples for robust deep learning (Ren et al., ICML 2018), exact and for any model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l2rw_core.reweight import Reweighter
    from l2rw_core.scoring import alignment
    from l2rw_core.weights import Step, to_weights

__all__ = ["Reweighter", "Step", "alignment", "to_weights"]

_HOME = {"Reweighter": "reweight", "alignment": "scoring", "Step": "weights", "to_weights": "weights"}


def __getattr__(name: str) -> Any:
    """PyTorch is loaded when the first of the names above is asked for: the command's help needs none of it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"l2rw_core.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
