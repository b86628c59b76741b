"""The lock file: which releases exactly, by their digests, so that another machine or another year gets the same ones.

JSON that people read and version control compares: fixed order, one member a line, the same bytes for the same
releases. Read strictly: an unknown member may be one that restricts, so it is refused. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from embhub.errors import UsageError
from embhub.formats import names, strict_json
from embhub.refusals import LockMismatchError
from embhub.trust.origin import origin_fault

SCHEMA = "embhub.lock/1"
MAX_BYTES = 1_000_000
_DIGEST, _COMMIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_HINT = "`embhub pull --lock` writes such a file; do not edit it by hand"


@dataclass(frozen=True)
class Locked:
    """One release, exactly.

    `registry` is the origin (host name) of the registry whose keyring vouches for the signer, `root` the fingerprint of
    the root that was pinned for it. `commit` is None where the release came as files and nobody knows its commit.
    `embedding` and `statement` are SHA-256: of the embedding's file, and the identity of the signed statement.
    """

    repository: str
    registry: str
    version: str
    commit: str | None
    embedding: str
    statement: str
    signer: str
    root: str

    def check(self, found: Locked) -> None:
        """Compare with what came. A commit that one of the two does not know is not compared.

        Raises:
            LockMismatchError: a member differs.
        """
        for name, wanted in asdict(self).items():
            came = getattr(found, name)
            if wanted != came and not (name == "commit" and None in (wanted, came)):
                raise LockMismatchError(
                    f"{self.repository} is locked to {_LABELS[name]} {wanted}, and this release has {came}",
                    "nothing was written; if it is intended, write the lock file anew with `embhub pull --lock`",
                )


_LABELS = {
    "repository": "the repository", "registry": "the registry", "version": "version", "commit": "commit",
    "embedding": "the embedding", "statement": "the signed statement", "signer": "the key", "root": "the root key",
}  # fmt: skip


def _check_with(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    return lambda text: None if pattern.fullmatch(text) else "not of its form"


_CHECKS: Mapping[str, Callable[[str], str | None]] = {
    "repository": names.repository_fault,
    "registry": origin_fault,
    "version": names.version_fault,
    "commit": _check_with(_COMMIT),
    "embedding": _check_with(_DIGEST),
    "statement": _check_with(_DIGEST),
    "signer": _check_with(_FINGERPRINT),
    "root": _check_with(_FINGERPRINT),
}


def to_bytes(releases: Iterable[Locked]) -> bytes:
    """The file: sorted by registry and repository, so that the same releases give the same bytes.

    Raises:
        UsageError: two releases of one repository.
    """
    rows = sorted(set(releases), key=_place)
    _check_once(rows, lambda reason: UsageError(reason, "a lock file holds one release of each repository"))
    document = {"schema": SCHEMA, "releases": [asdict(row) for row in rows]}
    return json.dumps(document, indent=2).encode() + b"\n"


def parse(data: bytes) -> tuple[Locked, ...]:
    """Read a lock file.

    Raises:
        UsageError: anything else, unknown members and two releases of one repository included.
    """
    try:
        document = strict_json.exact(
            strict_json.read_object(data, limit=MAX_BYTES), {"schema", "releases"}, what="the lock file"
        )
        if document["schema"] != SCHEMA or not isinstance(document["releases"], list):
            raise strict_json.JsonError(f"it is not {SCHEMA}")
        rows = tuple(_read(row) for row in document["releases"])
    except strict_json.JsonError as error:
        raise _malformed(str(error)) from error
    _check_once(rows, _malformed)
    return rows


def _read(row: object) -> Locked:
    members: Mapping[str, Any] = strict_json.exact(row, set(_CHECKS), what="a release")
    for name, fault_of in _CHECKS.items():
        value = members[name]
        if name == "commit" and value is None:
            continue
        fault = fault_of(value) if isinstance(value, str) else "no text"
        if fault is not None:
            raise strict_json.JsonError(f"{name}: {fault}")
    return Locked(**members)


def _place(row: Locked) -> tuple[str, str]:
    return row.registry, row.repository


def _check_once(rows: Iterable[Locked], refusal: Callable[[str], UsageError]) -> None:
    places: set[tuple[str, str]] = set()
    for row in rows:
        if _place(row) in places:
            raise refusal(f"{row.repository} of {row.registry} is there twice")
        places.add(_place(row))


def _malformed(reason: str) -> UsageError:
    return UsageError(f"not a lock file that embhub reads: {reason}", _HINT)
