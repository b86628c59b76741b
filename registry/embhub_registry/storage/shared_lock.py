"""A lock that commits hold together, and that whatever removes bytes holds alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from embhub_registry.database import DatabaseBusyError


class SharedLock:
    """`with lock.together():` beside others, `with lock:` alone. Who waits to be alone goes before new company.

    Who waits too long is told so, instead of holding a thread for as long as others need.
    """

    def __init__(self, patience: float = 10.0) -> None:
        self._turn = threading.Condition()
        self._patience = patience
        self._together = 0
        self._waiting = 0
        self._alone = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hold it beside others.

        Raises:
            DatabaseBusyError: its turn did not come.
        """
        with self._turn:
            self._wait(lambda: not self._alone and not self._waiting)
            self._together += 1
        try:
            yield
        finally:
            with self._turn:
                self._together -= 1
                self._turn.notify_all()

    def __enter__(self) -> None:
        with self._turn:
            self._waiting += 1
            try:
                self._wait(lambda: not self._alone and not self._together)
                self._alone = True
            finally:
                self._waiting -= 1
                self._turn.notify_all()

    def __exit__(self, *error: object) -> None:
        with self._turn:
            self._alone = False
            self._turn.notify_all()

    def _wait(self, until: Callable[[], bool]) -> None:
        if not self._turn.wait_for(until, timeout=self._patience):
            raise DatabaseBusyError("the registry is busy with other writers", "try again in a moment")
