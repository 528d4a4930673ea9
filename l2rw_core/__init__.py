"""Learning to reweight examples for robust deep learning (Ren et al., ICML 2018), exact and for any model."""

from l2rw_core.reweight import Reweighter
from l2rw_core.scoring import alignment
from l2rw_core.weights import Step, to_weights

__all__ = ["Reweighter", "Step", "alignment", "to_weights"]
