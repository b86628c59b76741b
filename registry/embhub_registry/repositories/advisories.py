"""The signed advisories of this registry: what is withdrawn, for everybody, under a number that only grows.

The feed is public, so a private repository's entries name neither the repository nor the reason: whoever holds the
bytes finds them by their SHA-256, and nobody else learns anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import replace

from embhub.errors import EmbhubError
from embhub.formats import instants
from embhub.trust import advisories, dsse
from embhub.trust.advisories import Advisories, Advisory
from embhub.trust.origin import origin_of
from embhub_registry.database import Connection, withdrawals
from embhub_registry.database.clock import now
from embhub_registry.database.withdrawals import Withdrawal
from embhub_registry.storage import configuration, log_entries, registry_log
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
        key: The key for advisories. By default the registry's own; without one, what was signed last, or None.

    Numbers follow the clock (seconds), so that they also grow over a restored backup.
    """
    key = key or registry.online_key("advisories")
    held = withdrawals.feed(registry.database.connection())
    if key is None or (held is not None and held["content"] == _content(registry, key)):
        return None if held is None else advisories.read_envelope(bytes(held["envelope"]))
    with registry.database.writing() as db:
        held = withdrawals.feed(db)
        moment = now()
        number = max(int(moment.timestamp()), (held["number"] if held else 0) + 1)
        envelope = _document(registry, db, number=number, issued=instants.write(moment)).sign(key)
        data = json.dumps(envelope.to_json(), separators=(",", ":")).encode()
        withdrawals.set_feed(db, number=number, content=_content(registry, key), envelope=data)
        log_entries.add_envelope(db, envelope, key.public_pem)
    registry_log.publish_if_possible(registry)
    return envelope


def publish(registry: Registry) -> None:
    """Sign what changed, where the key is at hand: advisories first, then the timestamp that names them.

    Where it is not, the server does so within seconds, for its key is.
    """
    if registry.has_keyring and registry.online_key("advisories") is not None:
        current_envelope(registry)
        registry.renew_timestamp()
    registry_log.publish_if_possible(registry)


def publish_if_possible(registry: Registry) -> None:
    """`publish` after something that is stored already: what hinders it (a full disk, a busy database) is no failure of
    that. The server tries again within seconds.
    """
    with contextlib.suppress(EmbhubError, OSError):
        publish(registry)


def _document(registry: Registry, db: Connection, *, number: int, issued: str) -> Advisories:
    """The whole list; where it grows too long to travel, without what was lifted."""
    origin, listed = origin_of(registry.setting("url")), entries(db)
    document = advisories.build(origin, number=number, issued=issued, entries=listed)
    if len(document.to_bytes()) * 4 // 3 + 1_000 <= advisories.MAX_BYTES:
        return document
    held = [entry for entry in listed if entry.withdrawn_on is None]
    return advisories.build(origin, number=number, issued=issued, entries=held)


def unsigned(registry: Registry) -> Advisories:
    """The same without a signature, for pages."""
    db = registry.database.connection()
    held = withdrawals.feed(db)
    number = int(held["number"]) if held else 0
    return advisories.build(
        origin_of(registry.setting("url")), number=number, issued=instants.write(now()), entries=entries(db)
    )


def _content(registry: Registry, key: dsse.Signer) -> str:
    """What tells one text from another: the entries and who signs, without number and date."""
    listed = [advisories.to_osv(entry) for entry in entries(registry.database.connection())]
    return hashlib.sha256(
        json.dumps([key.fingerprint, origin_of(registry.setting("url")), listed], sort_keys=True).encode()
    ).hexdigest()


def _advisory(row: Withdrawal) -> Advisory:
    return advisories.new(
        scope="bytes" if row.scope == "bytes" else "release",
        by="operator" if row.authority == "operator" else "publisher" if row.authority == "publisher" else "key-stolen",
        namespace=row.namespace, repository=None if row.private else row.repository, version=row.version,
        digest=row.digest, reason=UNSAID if row.private else row.reason, published=row.created, withdrawn_on=_day(row),
    )  # fmt: skip


def _day(row: Withdrawal) -> str | None:
    return None if row.lifted is None else instants.write(instants.read(row.lifted[:19] + "Z"))
