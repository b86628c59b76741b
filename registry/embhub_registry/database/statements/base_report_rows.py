"""Reports on bases: of each namespace the newest of a base."""

from __future__ import annotations

from dataclasses import dataclass

from embhub_registry.database.connection import Connection

_SELECT = "SELECT base, namespace, created, fingerprint, bundle, replaced FROM base_report"


@dataclass(frozen=True)
class BaseReportRow:
    """One site's word on the base with this fingerprint (SHA-256). `fingerprint` is the key's, `bundle` the file.

    `replaced` counts the reports of this base and namespace that came before.
    """

    base: str
    namespace: str
    created: str
    fingerprint: str
    bundle: bytes
    replaced: int = 0


def put(db: Connection, row: BaseReportRow) -> None:
    """Keep a report in the place of the earlier one of this base and namespace."""
    db.execute(
        "INSERT INTO base_report (base, namespace, created, fingerprint, bundle, replaced) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (base, namespace) DO UPDATE SET created = excluded.created,"
        " fingerprint = excluded.fingerprint, bundle = excluded.bundle, replaced = excluded.replaced",
        (row.base, row.namespace, row.created, row.fingerprint, row.bundle, row.replaced),
    )


def of(db: Connection, base: str, *, most: int) -> list[BaseReportRow]:
    """The reports on a base, the newest first."""
    return _rows(db, "WHERE base = ? ORDER BY created DESC, namespace LIMIT ?", (base, most))


def by(db: Connection, namespace: str, *, most: int) -> list[BaseReportRow]:
    """The reports by a namespace, the newest first."""
    return _rows(db, "WHERE namespace = ? ORDER BY created DESC, base LIMIT ?", (namespace, most))


def newest(db: Connection, *, most: int) -> list[BaseReportRow]:
    """The newest reports on any base."""
    return _rows(db, "ORDER BY created DESC, base, namespace LIMIT ?", (most,))


def bases(db: Connection) -> list[str]:
    """The fingerprints of all bases that there are reports on."""
    return [row["base"] for row in db.execute("SELECT DISTINCT base FROM base_report ORDER BY base").fetchall()]


def _rows(db: Connection, where: str, values: tuple[object, ...]) -> list[BaseReportRow]:
    return [BaseReportRow(**dict(row)) for row in db.execute(f"{_SELECT} {where}", values).fetchall()]
