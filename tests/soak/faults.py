"""What goes wrong in the run: processes killed and suspended, the database restarted, connections cut."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.postgres import Server
from tests.support.replicas import Replicas, suspend


@dataclass
class Faults:
    """One fault after the other, with a pause in between; each is over before the next begins."""

    replicas: Replicas
    database: Server
    choose: random.Random
    done: Counter[str] = field(default_factory=Counter)

    def work(self, ended: Callable[[], bool]) -> None:
        """Until the run ends; then everything runs again."""
        kinds = [
            self.kill, self.kill, self.kill, self.suspend, self.end_gracefully, self.kill_the_one_that_signs,
            self.cut_connections, self.restart_database, self.crash_database,
        ]  # fmt: skip
        while not ended():
            kind = self.choose.choice(kinds)
            kind()
            self.done[kind.__name__] += 1
            time.sleep(self.choose.uniform(0.3, 3.0))

    def _any(self) -> int:
        return self.choose.randrange(len(self.replicas.servers))

    def kill(self) -> None:
        """kill -9, and started again."""
        number = self._any()
        self.replicas.kill(number)
        time.sleep(self.choose.uniform(0, 2.0))
        self.replicas.start(number)

    def kill_the_one_that_signs(self) -> None:
        """The same of the sequencer."""
        try:
            number = self.replicas.signs(self.database)
        except AssertionError:
            return
        self.replicas.kill(number)
        time.sleep(self.choose.uniform(0, 4.0))
        self.replicas.start(number)

    def end_gracefully(self) -> None:
        """SIGTERM, and started again."""
        number = self._any()
        self.replicas[number].stop()
        self.replicas.start(number)

    def suspend(self) -> None:
        """SIGSTOP for longer than the database waits for a sequencer, or shorter."""
        server = self.replicas[self._any()]
        suspend(server)
        time.sleep(self.choose.uniform(0.5, 12.0))
        suspend(server, how=signal.SIGCONT)

    def cut_connections(self) -> None:
        """Every connection to the database at once."""
        with self.database.connect() as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'embhub-registry'"
            )

    def restart_database(self) -> None:
        """In order."""
        self.database.stop()
        time.sleep(self.choose.uniform(0, 2.0))
        self.database.start()

    def crash_database(self) -> None:
        """As if it had crashed; it recovers from its log."""
        self.database.stop(signal.SIGQUIT)
        time.sleep(self.choose.uniform(0, 2.0))
        self.database.start()
