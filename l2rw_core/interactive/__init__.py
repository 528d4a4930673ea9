"""What the book lets its readers move: it answers with a kernel, in Colab, and on a published page without one."""

from l2rw_core.extras import require

require("chapters", "anywidget")

from l2rw_core.interactive.eight import EightPoints, eight_points
from l2rw_core.interactive.explore import MAX_BYTES, MAX_FRAMES, Exploration, explore
from l2rw_core.interactive.live_control import LiveResult, LiveRun, embedded_runs, live_run
from l2rw_core.interactive.parameters import ParameterError, check_parameters
from l2rw_core.interactive.playground import Playground
from l2rw_core.interactive.predict import MAX_POINTS, Prediction, predict
from l2rw_core.interactive.profile import by_profile

__all__ = [
    "MAX_BYTES",
    "MAX_FRAMES",
    "MAX_POINTS",
    "EightPoints",
    "Exploration",
    "LiveResult",
    "LiveRun",
    "ParameterError",
    "Playground",
    "Prediction",
    "by_profile",
    "check_parameters",
    "eight_points",
    "embedded_runs",
    "explore",
    "live_run",
    "predict",
]
