"""How long work will take, from a little of it."""

from __future__ import annotations

import time
from collections.abc import Callable

_TRIED = 3


def seconds_each(act: Callable[[int], object]) -> float:
    """Seconds for one call, `act(1)` and some more, after a first one, `act(0)`, which is slower."""
    act(0)
    started = time.monotonic()
    for number in range(1, _TRIED + 1):
        act(number)
    return (time.monotonic() - started) / _TRIED


def in_words(seconds: float) -> str:
    """A time as people say it: "40 seconds", "3 minutes", "2.5 hours"."""
    if seconds < 90:
        return f"{max(round(seconds / 5) * 5, 5)} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
