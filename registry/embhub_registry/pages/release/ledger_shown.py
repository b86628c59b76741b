"""Heads of a namespace's privacy ledger that its public releases show, and where the log holds them.

A head is part of a release's publish attestation, which is the log's entry. It is a keyed hash: nothing of patients,
trainings or times can be computed from it without the site's key. Only what every reader may download is shown.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from embhub.errors import EmbhubError
from embhub.log import merkle
from embhub.release.checks import ledger_heads
from embhub.trust import bundle, logged, statement
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import Trust
from embhub.trust.statement import LedgerHeads
from embhub_registry.database import Connection, DatabaseBusyError, DatabaseUnavailableError
from embhub_registry.database.logs import log_rows
from embhub_registry.database.statements import ledger_rows
from embhub_registry.database.statements.ledger_rows import PublicRelease
from embhub_registry.pages.lists.list_facts import LedgerHead
from embhub_registry.storage.stores.blobs import BlobStore, MissingBlobError

MOST = 20  # releases
KEPT = 512  # attestations; each is one file of a few kilobytes, and never changes


def collect(db: Connection, blobs: BlobStore, trust: Trust, namespace: str) -> tuple[LedgerHead, ...]:
    """The heads of the newest public releases, the newest first; empty where none shows one."""
    known: dict[str, dict[int, str]] = {}
    found: list[LedgerHead] = []
    for row in reversed(ledger_rows.public_releases(db, namespace, most=MOST)):
        read = _read(blobs, row.publish)
        if read is None or (read[1] is None and not known):
            continue
        signed, shown = read
        said = ledger_heads.compare(shown, known, namespace=namespace)
        warning = next((finding.text for finding in said if finding.outcome == "warning"), None)
        found.append(_shown(row, shown, entry=_entry_of(db, signed, trust), warning=warning))
        if shown is not None:
            known[shown.id] = ledger_heads.numbered(shown) | known.get(shown.id, {})
    return tuple(reversed(found))


def _shown(row: PublicRelease, shown: LedgerHeads | None, *, entry: int | None, warning: str | None) -> LedgerHead:
    return LedgerHead(
        repository=row.repository, version=row.version, date=row.created, entry=entry, warning=warning,
        address=f"/{quote(row.repository)}/commit/{row.revision}",
        ledger=shown.id if shown else None, number=shown.number if shown else None,
        head=shown.heads[-1] if shown else None,
    )  # fmt: skip


def _entry_of(db: Connection, signed: Bundle, trust: Trust) -> int | None:
    """The entry's index; None where the keyring knows the key no more, or the log has no such entry."""
    key = trust.lookup(signed.hint)
    if key is None:
        return None
    return log_rows.find(db, merkle.leaf_hash(logged.leaf_of(signed.envelope, key.public_key).to_bytes()))


def _read(blobs: BlobStore, digest: str) -> tuple[Bundle, LedgerHeads | None] | None:
    """The attestation and what it shows; None where the file was lost, or is of no form that is read today."""
    try:
        return _parse(blobs.get(digest))
    except (DatabaseBusyError, DatabaseUnavailableError):
        raise
    except (MissingBlobError, EmbhubError):
        return None


@lru_cache(maxsize=KEPT)
def _parse(data: bytes) -> tuple[Bundle, LedgerHeads | None]:
    signed = bundle.parse(data)
    return signed, statement.read_publish(signed.statement).ledger
