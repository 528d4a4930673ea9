"""Whether progress bars are wanted, and one."""

from __future__ import annotations

import os

from tqdm.auto import tqdm


def progress_wanted(progress: bool | None = None) -> bool:
    """`progress` if it is given, else what the environment variable ``L2RW_PROGRESS`` says; 0 is no."""
    return os.environ.get("L2RW_PROGRESS", "1") != "0" if progress is None else progress


def bar(what: str, total: int, progress: bool | None = None, initial: int = 0) -> tqdm:
    """A bar that is gone when it is closed, drawn where it is wanted; `total` ticks, of which `initial` are done."""
    return tqdm(desc=what, total=total, initial=initial, leave=False, disable=not progress_wanted(progress))
