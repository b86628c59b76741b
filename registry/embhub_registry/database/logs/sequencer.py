"""Group commit: what several callers store becomes durable by one COMMIT, in the order in which it came.

Whoever waits first leads: it takes everything that is queued, runs it in one transaction, and wakes the others. What
comes meanwhile is the next group, with a leader of its own. So a lone caller waits for nobody, and needs no thread.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from embhub_registry.database.connection import Connection, Database, DatabaseBusyError

T = TypeVar("T")


class Ticket(Generic[T]):
    """Work in the queue; `result` waits until it is durable."""

    __slots__ = ("_context", "_error", "_sequencer", "_value", "_work", "done")

    def __init__(self, sequencer: Sequencer, work: Callable[[Connection], T]) -> None:
        self._sequencer = sequencer
        self._work = work
        self._context = contextvars.copy_context()
        self._value: T
        self._error: BaseException | None = None
        self.done = False

    def result(self) -> T:
        """What the work returned, once it is durable.

        Raises:
            StorageFullError, DatabaseBusyError: nothing was stored. What the work raised: nothing of it was stored.
        """
        if not self.done:
            self._sequencer.wait(self)
        if self._error is not None:
            with self._sequencer.database.translated():
                raise self._error
        return self._value

    def run(self, db: Connection) -> None:
        """Within the group's transaction: all of the work, or nothing of it."""
        db.execute("SAVEPOINT one")
        try:
            self._value = self._context.run(self._work, db)
        except Exception as error:
            if not db.in_transaction:  # SQLite gave up the whole of it: the disk is full, say
                raise
            db.execute("ROLLBACK TO one")
            self._error = error
        db.execute("RELEASE one")

    def fail(self, error: BaseException) -> None:
        """The group was not stored."""
        self._error = error


class Sequencer:
    """The queue of one process in front of a database. Other processes, and `Database.writing`, take turns with it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._turn = threading.Condition()
        self._queue: list[Ticket[object]] = []
        self._leader: int | None = None

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do the work in a transaction that it may share with others; durable when this returns.

        `work` may run in another thread, on that thread's connection. It is run once at most.

        Raises:
            StorageFullError, DatabaseBusyError: nothing was stored. What `work` raised: nothing of it was stored.
        """
        return self.submit(work).result()

    def submit(self, work: Callable[[Connection], T]) -> Ticket[T]:
        """The same without waiting. Nothing happens before somebody waits, for this work or for other work."""
        ticket = Ticket(self, work)
        with self._turn:
            self._queue.append(ticket)  # type: ignore[arg-type]
        return ticket

    def wait(self, ticket: Ticket[T]) -> None:
        """Until the ticket is done: by leading the group that it is in, or by waiting for the one who does."""
        with self._turn:
            if self._leader == threading.get_ident():
                raise RuntimeError("work waits within its own transaction")
            self._turn.wait_for(lambda: ticket.done or self._leader is None)
            if ticket.done:
                return
            self._leader = threading.get_ident()
            group, self._queue = self._queue, []
        try:
            self._commit(group)
        finally:
            with self._turn:
                for member in group:
                    member.done = True
                self._leader = None
                self._turn.notify_all()

    def _commit(self, group: list[Ticket[object]]) -> None:
        try:
            with self.database.writing() as db:
                for ticket in group:
                    ticket.run(db)
        except Exception as error:  # noqa: BLE001  # whatever it is, each who waits is told
            for ticket in group:
                ticket.fail(error)
        except BaseException:
            for ticket in group:
                ticket.fail(DatabaseBusyError("the registry's server was stopped", "try again in a moment"))
            raise
