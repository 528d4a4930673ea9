"""Shared by all tests: helper modules beside the tests can be imported, and no test draws a progress bar."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("L2RW_PROGRESS", "0")

from hypothesis import settings

settings.register_profile("steady", deadline=None)  # a busy machine is not a failed test
settings.load_profile("steady")
