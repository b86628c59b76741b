"""What a PostgreSQL server or the network says, as the registry's own errors."""

from __future__ import annotations

from typing import NoReturn

import psycopg

from embhub_registry.database.connection import (
    DatabaseBusyError,
    DatabaseTakenError,
    DatabaseUnavailableError,
    StorageFullError,
)

_BUSY = {"55P03", "40P01", "40001", "57014"}
_AWAY = ("08", "57P", "53", "25006", "28", "3D000", "25P0")


def unavailable(detail: str) -> DatabaseUnavailableError:
    """The server is not there; `detail` is for the operator."""
    return DatabaseUnavailableError(
        "the registry's database cannot be reached", "try again in a moment", detail=detail.strip()
    )


def taken() -> DatabaseTakenError:
    """Another process has the lock that one process at a time may hold."""
    return DatabaseTakenError(
        "another process has taken this registry's database, or a newer release has migrated it",
        "try again in a moment",
    )


def is_outdated(error: psycopg.Error) -> bool:
    """Whether a statement was prepared for a table that has another column since: a new connection knows better."""
    return error.sqlstate == "0A000" and "cached plan" in str(error)


def raise_translated(error: psycopg.Error) -> NoReturn:
    """Raise an error of the driver as ours; a constraint that fails stays what it is."""
    state = error.sqlstate or ""
    if state in {"53100", "58030"}:
        raise StorageFullError(
            "the registry could not store this: its database's disk is full", "ask the operator to free space"
        ) from error
    if state in _BUSY or is_outdated(error):
        raise DatabaseBusyError("the registry is busy with other writers", "try again in a moment") from error
    lost = isinstance(error, psycopg.OperationalError) and not state
    if lost or state.startswith(_AWAY):
        raise unavailable(str(error)) from error
    raise error
