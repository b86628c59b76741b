"""The signed advisories of this registry: what is withdrawn, for everybody, under a number that only grows.

The feed is public, so a private repository's entries name neither the repository nor the reason: whoever holds the
bytes finds them by their SHA-256, and nobody else learns anything.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from urllib.parse import urlsplit

from embhub.formats import instants
from embhub.trust import advisories, dsse
from embhub.trust.advisories import Advisories, Advisory
from embhub_registry.database import Connection, withdrawals
from embhub_registry.database.clock import now
from embhub_registry.database.withdrawals import Withdrawal
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry

UNSAID = "withdrawn; the reason is shown to readers of the repository"


def entries(db: Connection) -> tuple[Advisory, ...]:
    """Every withdrawal as an advisory, those that were lifted marked so. A closed registry names no repository."""
    found = {}
    closed = configuration.read(db, "read.anonymous") is False
    for row in withdrawals.all_rows(db):
        entry = _advisory(replace(row, private=row.private or closed))
        found[entry.id] = entry  # of two alike, which differ by nothing that is told, the later
    return tuple(found.values())


def current_envelope(registry: Registry, key: dsse.Signer | None = None) -> dsse.Envelope | None:
    """The advisories in force, signed; signed anew, with a higher number, only where they changed.

    Args:
        key: The key for advisories. By default the registry's own; None where it has none, and nothing was signed.

    Numbers follow the clock (seconds), so that they also grow over a restored backup.
    """
    key = key or _online_key(registry)
    held = withdrawals.feed(registry.database.connection())
    if key is None:
        return None
    if held is not None and held["content"] == _content(registry, key):
        return advisories.read_envelope(bytes(held["envelope"]))
    with registry.database.writing() as db:
        moment = now()
        number = max(int(moment.timestamp()), (held["number"] if held else 0) + 1)
        document = advisories.build(
            _origin(registry), number=number, issued=instants.write(moment), entries=entries(db)
        )
        envelope = document.sign(key)
        data = json.dumps(envelope.to_json(), separators=(",", ":")).encode()
        withdrawals.set_feed(db, number=number, content=_content(registry, key), envelope=data)
    return envelope


def unsigned(registry: Registry) -> Advisories:
    """The same without a signature, for pages."""
    db = registry.database.connection()
    held = withdrawals.feed(db)
    number = int(held["number"]) if held else 0
    return advisories.build(_origin(registry), number=number, issued=instants.write(now()), entries=entries(db))


def _content(registry: Registry, key: dsse.Signer) -> str:
    """What tells one text from another: the entries and who signs, without number and date."""
    listed = [advisories.to_osv(entry) for entry in entries(registry.database.connection())]
    return hashlib.sha256(json.dumps([key.fingerprint, _origin(registry), listed], sort_keys=True).encode()).hexdigest()


def _online_key(registry: Registry) -> dsse.Signer | None:
    """The one place that asks for the registry's online key."""
    ask = getattr(registry, "online_key", None)
    found: dsse.Signer | None = ask("advisories") if ask is not None else None
    return found


def _origin(registry: Registry) -> str:
    return (urlsplit(registry.setting("url")).hostname or "").lower()


def _advisory(row: Withdrawal) -> Advisory:
    return advisories.new(
        scope="bytes" if row.scope == "bytes" else "release",
        by="operator" if row.authority == "operator" else "publisher" if row.authority == "publisher" else "key-stolen",
        namespace=row.namespace, repository=None if row.private else row.repository, version=row.version,
        digest=row.digest, reason=UNSAID if row.private else row.reason, published=row.created, withdrawn_on=_day(row),
    )  # fmt: skip


def _day(row: Withdrawal) -> str | None:
    return None if row.lifted is None else instants.write(instants.read(row.lifted[:19] + "Z"))
