"""Studies of several sites, and what was signed about each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from embhub_registry.database.connection import Connection, Row

Kind = Literal["proposal", "join", "withdrawal"]
_SELECT = "SELECT digest, repository, sites, created, released FROM study"


@dataclass(frozen=True)
class StudyRow:
    """A study that was proposed here; `released` says since when a release of it is published, None before."""

    digest: str
    repository: str
    sites: tuple[str, ...]
    created: str
    released: str | None = None

    @property
    def coordinator(self) -> str:
        """The namespace that proposed it."""
        return self.repository.partition("/")[0]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Everybody whom it names."""
        return tuple(dict.fromkeys((self.coordinator, *self.sites)))


@dataclass(frozen=True)
class Signed:
    """One signed statement about a study; `created` is the registry's time, `bundle` the file."""

    study: str
    kind: Kind
    namespace: str
    created: str
    bundle: bytes


def add(db: Connection, row: StudyRow) -> None:
    """Keep a study."""
    db.execute(
        f"INSERT INTO study ({_SELECT[7:].partition(' FROM')[0]}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608  # a constant
        (row.digest, row.repository, json.dumps(row.sites), row.created, row.released),
    )


def sign(db: Connection, row: Signed) -> None:
    """Keep a statement, in the place of an earlier one of this kind and namespace."""
    db.execute(
        "INSERT INTO study_statement (study, kind, namespace, created, bundle) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (study, kind, namespace) DO UPDATE SET created = excluded.created, bundle = excluded.bundle",
        (row.study, row.kind, row.namespace, row.created, row.bundle),
    )


def find(db: Connection, digest: str) -> StudyRow | None:
    """One study, or None."""
    row = db.execute(f"{_SELECT} WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else _study(row)


def all_of(db: Connection) -> list[StudyRow]:
    """Every study, the newest first."""
    return [_study(row) for row in db.execute(f"{_SELECT} ORDER BY created DESC, digest")]


def in_the_name_of(db: Connection, repository: str) -> list[StudyRow]:
    """The studies whose release goes to this repository."""
    return [_study(row) for row in db.execute(f"{_SELECT} WHERE repository = ? ORDER BY digest", (repository,))]


def statements(db: Connection, digest: str) -> list[Signed]:
    """What was signed about a study: by kind, then by namespace."""
    rows = db.execute(
        "SELECT study, kind, namespace, created, bundle FROM study_statement WHERE study = ? ORDER BY kind, namespace",
        (digest,),
    )
    return [Signed(**dict(row)) for row in rows]


def withdrew(db: Connection, digest: str) -> str | None:
    """Who withdrew first from a study, or None."""
    row = db.execute(
        "SELECT namespace FROM study_statement WHERE study = ? AND kind = 'withdrawal' ORDER BY created, namespace"
        " LIMIT 1", (digest,),
    ).fetchone()  # fmt: skip
    return None if row is None else str(row[0])


def count_open(db: Connection, namespace: str) -> int:
    """How many studies a namespace proposed that are neither released nor withdrawn."""
    found: Row | None = db.execute(
        "SELECT count(*) FROM study WHERE repository LIKE ? AND released IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM study_statement WHERE study = digest AND kind = 'withdrawal')", (f"{namespace}/%",),
    ).fetchone()  # fmt: skip
    return 0 if found is None else int(found[0])


def release(db: Connection, digest: str, *, now: str, since: str = "") -> None:
    """Note that a release of the study is published, in a repository that was made at `since`.

    The first one there counts; one in an earlier repository of this name, which was deleted, no longer does.
    """
    db.execute(
        "UPDATE study SET released = ? WHERE digest = ? AND (released IS NULL OR released < ?)", (now, digest, since)
    )


def _study(row: Row) -> StudyRow:
    return StudyRow(**{**dict(row), "sites": tuple(json.loads(row["sites"]))})
