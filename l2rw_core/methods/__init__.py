"""Ways to train, by name: adding one is one class and one line of `METHODS`."""

from l2rw_core.methods.ahead import AdamAhead, MomentumAhead
from l2rw_core.methods.base import Baseline, Method, Minibatch, Task, Update
from l2rw_core.methods.by_class import InverseFrequency, LdamDrw, LogitAdjustment, Proportion, Resample, Smote
from l2rw_core.methods.by_label import ReedHard, ReedSoft, SModel, SModelConf, Weighted
from l2rw_core.methods.by_loss import ActiveBias, Focal, HardMining, MentorNetPd, SelfPaced
from l2rw_core.methods.clean_guided import CleanMixed, CleanOnly, CleanStopped, L2rw, L2rwUnskipped, Random
from l2rw_core.methods.co_teaching import CoTeaching
from l2rw_core.methods.meta_weight_net import MetaWeightNet, MetaWeightNetNormalised
from l2rw_core.methods.robust_losses import (
    EarlyLearning,
    GeneralisedCrossEntropy,
    LabelSmoothing,
    SymmetricCrossEntropy,
)

METHODS: dict[str, type[Method]] = {
    "baseline": Baseline,
    "proportion": Proportion,
    "inverse_frequency": InverseFrequency,
    "resample": Resample,
    "smote": Smote,
    "logit_adjustment": LogitAdjustment,
    "ldam_drw": LdamDrw,
    "hard_mining": HardMining,
    "focal": Focal,
    "self_paced": SelfPaced,
    "active_bias": ActiveBias,
    "mentornet_pd": MentorNetPd,
    "reed_soft": ReedSoft,
    "reed_hard": ReedHard,
    "s_model": SModel,
    "s_model_conf": SModelConf,
    "gce": GeneralisedCrossEntropy,
    "sce": SymmetricCrossEntropy,
    "label_smoothing": LabelSmoothing,
    "elr": EarlyLearning,
    "co_teaching": CoTeaching,
    "weighted": Weighted,
    "random": Random,
    "clean_only": CleanOnly,
    "clean_mixed": CleanMixed,
    "clean_stopped": CleanStopped,
    "meta_weight_net": MetaWeightNet,
    "meta_weight_net_normalised": MetaWeightNetNormalised,
    "momentum_ahead": MomentumAhead,
    "adam_ahead": AdamAhead,
    "l2rw_unskipped": L2rwUnskipped,
    "l2rw": L2rw,
}


def get(method: str | type[Method]) -> type[Method]:
    """The method of that name, or the class itself if one is handed over.

    Raises:
        ValueError: for anything else; it lists the names.
    """
    if isinstance(method, type) and issubclass(method, Method):
        return method
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}, or hand over a class")
    return METHODS[method]


__all__ = ["METHODS", "Method", "Minibatch", "Task", "Update", "get", *(method.__name__ for method in METHODS.values())]
