"""Whether progress bars are wanted."""

from __future__ import annotations

import os


def progress_wanted(progress: bool | None = None) -> bool:
    """`progress` if it is given, else what the environment variable ``L2RW_PROGRESS`` says; 0 is no."""
    return os.environ.get("L2RW_PROGRESS", "1") != "0" if progress is None else progress
