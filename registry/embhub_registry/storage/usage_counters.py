"""Counters that change at every read: kept in memory, written now and then, so that a download costs no fsync."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime

from embhub_registry.database import Database, DatabaseBusyError, DatabaseUnavailableError, StorageFullError
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts, sessions
from embhub_registry.database.releases import repositories


class UsageCounters:
    """Downloads a repository and last uses of tokens; a crash may lose the last seconds of both."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._downloads: Counter[int] = Counter()
        self._tokens: dict[str, float] = {}  # when each was used last, in seconds since 1970

    def downloaded(self, repository_id: int) -> None:
        """Count one download of an embedding."""
        with self._guard:
            self._downloads[repository_id] += 1

    def used(self, token_id: str) -> None:
        """Note that a token, or a session, was used now."""
        with self._guard:
            self._tokens[token_id] = time.time()

    def write(self, database: Database) -> None:
        """Store what was counted; where the database cannot be written it is counted on."""
        with self._guard:
            downloads, self._downloads = self._downloads, Counter()
            tokens, self._tokens = self._tokens, {}
        if not downloads and not tokens:
            return
        try:
            with database.writing() as db:
                repositories.count_downloads(db, downloads)
                for token_id, used in tokens.items():
                    touch = sessions.touch if token_id.startswith(sessions.PREFIX) else accounts.touch_token
                    touch(db, token_id, now=stamp(datetime.fromtimestamp(used, UTC)))
        except (DatabaseBusyError, DatabaseUnavailableError, StorageFullError):
            with self._guard:
                self._downloads.update(downloads)
                self._tokens = tokens | self._tokens
