"""An interrupt that waits for the end of the step, so that what is left behind is a whole one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """`asked` is true after the first interrupt; a second one ends the program at once."""

    asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal handlers are given
        """The handler."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interrupts_wait() -> Iterator[Stop]:
    """While open, SIGINT is noted. Only the main thread gets signals; in others nothing changes."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, stop.ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
