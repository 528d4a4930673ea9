"""Ways to train, by name: adding one is one class and one line of `METHODS`."""

from l2rw_core.methods.base import Baseline, Method, Minibatch, Task, Update
from l2rw_core.methods.by_class import Proportion, Resample, Smote
from l2rw_core.methods.by_label import ReedHard, ReedSoft, SModel, SModelConf, Weighted
from l2rw_core.methods.by_loss import ActiveBias, Focal, HardMining, MentorNetPd, SelfPaced
from l2rw_core.methods.clean_guided import CleanOnly, L2rw, Random
from l2rw_core.methods.meta_weight_net import MetaWeightNet

METHODS: dict[str, type[Method]] = {
    "baseline": Baseline,
    "proportion": Proportion,
    "resample": Resample,
    "smote": Smote,
    "hard_mining": HardMining,
    "focal": Focal,
    "self_paced": SelfPaced,
    "active_bias": ActiveBias,
    "mentornet_pd": MentorNetPd,
    "reed_soft": ReedSoft,
    "reed_hard": ReedHard,
    "s_model": SModel,
    "s_model_conf": SModelConf,
    "weighted": Weighted,
    "random": Random,
    "clean_only": CleanOnly,
    "meta_weight_net": MetaWeightNet,
    "l2rw": L2rw,
}


def get(name: str) -> type[Method]:
    """The method of that name; a ValueError lists the valid ones."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; choose one of {', '.join(METHODS)}")
    return METHODS[name]


__all__ = ["METHODS", "Method", "Minibatch", "Task", "Update", "get", *(method.__name__ for method in METHODS.values())]
