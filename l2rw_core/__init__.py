"""Learning to reweight examples for robust deep learning (Ren et al., ICML 2018), exact and for any model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l2rw_core.reweight import Reweighter, Step, to_weights

__all__ = ["Reweighter", "Step", "to_weights"]


def __getattr__(name: str) -> Any:
    """PyTorch is loaded when the first of the names above is asked for: the command's help needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("l2rw_core.reweight"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
