"""Shared by all tests: helper modules beside the tests can be imported, and no test draws a progress bar.

Tests are small, so they run on one thread: sharing them out costs more than it saves, most of all on a busy machine.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("L2RW_PROGRESS", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("steady", deadline=None)  # a busy machine is not a failed test
settings.load_profile("steady")
