"""What this process is about to store, counted before it is kept: what a quota refuses never reaches the store.

Over an object store what was written cannot be removed at once, because another server may be about to name it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from weakref import WeakValueDictionary

Check = Callable[[Mapping[str, int], int], None]


class Uploads:
    """The pushes under way in one process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._under_way: dict[str, list[tuple[Mapping[str, int], str]]] = {}
        self._turns: WeakValueDictionary[int, threading.Lock] = WeakValueDictionary()

    @contextmanager
    def turn(self, repository_id: int) -> Iterator[None]:
        """Pushes to one repository one after another: who loses the race for its branch sees so before it stores."""
        with self._guard:
            lock = self._turns.setdefault(repository_id, threading.Lock())
        with lock:
            yield

    @contextmanager
    def counted(self, namespace: str, files: Mapping[str, int], release: str, check: Check) -> Iterator[None]:
        """Count a push with the others that are under way, until it is named or refused.

        Args:
            namespace: Whose quota it is.
            files: The sizes of what it brings, in bytes, by SHA-256.
            release: What names the release that it makes; empty where it makes none that is new.
            check: Raises where a quota does not allow all files, and as many new releases, that are under way with it.
        """
        one = (files, release)
        with self._guard:
            others = self._under_way.setdefault(namespace, [])
            coming = {digest: size for held, _ in (*others, one) for digest, size in held.items()}
            check(coming, len({name for _, name in (*others, one) if name}))
            others.append(one)
        try:
            yield
        finally:
            with self._guard:
                others.remove(one)
                if not others:
                    self._under_way.pop(namespace, None)
