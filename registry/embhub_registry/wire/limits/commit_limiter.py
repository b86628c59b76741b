"""How many commits may be on their way at once: each may hold some megabytes until it is stored or refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embhub_registry.http_errors import RequestDeniedError

MOST = 24
MOST_OF_ONE = 8
MOST_JUDGED = 4


class CommitLimiter:
    """Counts the commits that are being received; holds back the judging of all but a few."""

    def __init__(self) -> None:
        self._receiving: Counter[str] = Counter()
        self.judging = asyncio.Semaphore(MOST_JUDGED)

    @asynccontextmanager
    async def commit(self, user: str) -> AsyncIterator[None]:
        """One commit of `user`, from its first byte to its answer.

        Raises:
            RequestDeniedError: 503, which clients repeat, where too many are under way.
        """
        if self._receiving[user] >= MOST_OF_ONE or self._receiving.total() >= MOST:
            whose = f"of {user} " if self._receiving[user] >= MOST_OF_ONE else ""
            denied = RequestDeniedError(503, "busy", f"too many commits {whose}are under way", "try again in a moment")
            denied.headers = {"Retry-After": "2"}
            raise denied
        self._receiving[user] += 1
        try:
            yield
        finally:
            self._receiving[user] -= 1
            if not self._receiving[user]:
                del self._receiving[user]
