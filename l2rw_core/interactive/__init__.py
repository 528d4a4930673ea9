"""Widgets of the book: they answer with a kernel, in Colab, and on the published page without one."""

from l2rw_core.extras import require

require("chapters", "anywidget", "ipywidgets")

from l2rw_core.interactive.explore import MAX_BYTES, MAX_FRAMES, explore
from l2rw_core.interactive.playground import Playground
from l2rw_core.interactive.predict import MAX_POINTS, Prediction, predict
from l2rw_core.interactive.profile import by_profile

__all__ = ["MAX_BYTES", "MAX_FRAMES", "MAX_POINTS", "Playground", "Prediction", "by_profile", "explore", "predict"]
