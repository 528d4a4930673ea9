"""Ctrl-C and SIGTERM that wait for the end of a training step, so that what is saved then is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_held() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM are only noted: the function that is yielded says whether one came.

    A second Ctrl-C acts at once; whoever sends SIGTERM again can send SIGKILL instead.

    Where Python delivers no signals, outside the main thread, nothing changes and the answer is always no.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and noted.is_set():
            signal.default_int_handler(number, frame)
        noted.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
