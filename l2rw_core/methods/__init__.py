"""Ways to train, by name: adding one is one class and one line of `METHODS`."""

from l2rw_core.methods.base import Baseline, Method, Update
from l2rw_core.methods.by_class import Proportion, Resample
from l2rw_core.methods.by_loss import HardMining, SelfPaced
from l2rw_core.methods.clean_guided import L2rw, Random

METHODS: dict[str, type[Method]] = {
    "baseline": Baseline,
    "proportion": Proportion,
    "resample": Resample,
    "hard_mining": HardMining,
    "self_paced": SelfPaced,
    "random": Random,
    "l2rw": L2rw,
}


def get(name: str) -> type[Method]:
    """The method of that name; a ValueError lists the valid ones."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; choose one of {', '.join(METHODS)}")
    return METHODS[name]


__all__ = ["METHODS", "Method", "Update", "get"]
