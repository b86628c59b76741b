"""The signed advisories of this registry: what is withdrawn, for everybody, under a number that only grows.

The feed is public, so a private repository's entries name neither the repository nor the reason: whoever holds the
bytes finds them by their SHA-256, and nobody else learns anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import replace

from embhub.errors import EmbhubError
from embhub.formats import instants
from embhub.trust import advisories, dsse, freshness
from embhub.trust.advisories import Advisories, Advisory
from embhub.trust.origin import origin_of
from embhub_registry.database import Connection
from embhub_registry.database.clock import now
from embhub_registry.database.standing import withdrawals
from embhub_registry.database.standing.withdrawals import Withdrawal
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.storage import configuration, log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log

UNSAID = "withdrawn; the reason is shown to readers of the repository"
BRIEF = "withdrawn; the registry's page has the reason"
_FRAME = 2_000  # bytes of the document and its envelope beside the entries
_log = logging.getLogger(__name__)


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
        held, content = withdrawals.feed(db), _content(registry, key)
        if held is not None and held["content"] == content:  # another server was faster
            return advisories.read_envelope(bytes(held["envelope"]))
        moment = now()
        number = _following(int(moment.timestamp()), held["number"] if held else 0)
        envelope = _document(registry, db, number=number, issued=instants.write(moment)).sign(key)
        data = json.dumps(envelope.to_json(), separators=(",", ":")).encode()
        withdrawals.set_feed(db, number=number, content=content, envelope=data)
        log_entries.add_envelope(db, envelope, key.public_pem)
    registry_log.publish_if_possible(registry)
    return envelope


def _following(seconds: int, before: int) -> int:
    """The next number. After one far ahead of the clock, a thief's that no site took, it is the clock's."""
    return seconds if before > seconds + freshness.AHEAD.total_seconds() else max(seconds, before + 1)


def publish(registry: Registry) -> None:
    """Sign what changed, where the key is at hand: advisories first, then the timestamp that names them.

    Where it is not, the server does so within seconds, for its key is.
    """
    sign_due(registry)
    registry_log.publish_if_possible(registry)


def sign_due(registry: Registry) -> None:
    """The same without the log. Of servers that share a registry any with the key does it, whichever signs the log."""
    if registry.has_keyring and registry.online_key("advisories") is not None:
        current_envelope(registry)
        registry.renew_timestamp()


def publish_if_possible(registry: Registry) -> None:
    """`publish` after something that is stored already: what hinders it (a full disk, a busy database) is no failure of
    that. The server tries again within seconds.
    """
    with contextlib.suppress(EmbhubError, OSError):
        publish(registry)


def publish_if_changed(registry: Registry) -> None:
    """`publish_if_possible` after a push, which changes the list if it signed anew what was withdrawn: else nothing.

    A timestamp whose time has come is signed by the server within seconds.
    """
    with contextlib.suppress(EmbhubError, OSError):
        key = registry.online_key("advisories")
        held = withdrawals.feed(registry.database.connection())
        if key is not None and (held is None or held["content"] != _content(registry, key)):
            publish(registry)


def check_room(db: Connection, *, publisher: bool) -> None:
    """Refuse one withdrawal more where the list could not travel any longer, within the transaction that added it.

    Sites refuse a list that is too long, and with it every withdrawal in it. So that no publisher can bring that about,
    a fifth of the room is the operator's.

    Raises:
        RequestDeniedError: 409, the list is full.
    """
    room = advisories.MAX_BYTES * 4 // 5 if publisher else advisories.MAX_BYTES
    held = _briefly(_in_force(entries(db)))
    if _size(held) > room:
        who = "for publishers" if publisher else "for everybody"
        raise RequestDeniedError(
            409, "withdrawals-full", f"the registry's list of withdrawals is full {who}: {len(held):,} are in force",
            "ask the registry's operator, who can delete what is withdrawn" if publisher
            else "delete withdrawn repositories with scope bytes, so that one entry stands for all their versions",
        )  # fmt: skip


def _document(registry: Registry, db: Connection, *, number: int, issued: str) -> Advisories:
    """The list in the fullest form that fits: with what was lifted, without, without reasons; never longer.

    What no check could keep out, such as a thief's thousands of releases, is cut in the end: publishers' withdrawals of
    single releases first, the oldest first. The operator's stay.
    """
    listed = entries(db)
    held = _in_force(listed)
    chosen = next((form for form in (listed, held, _briefly(held)) if _size(form) <= advisories.MAX_BYTES), None)
    if chosen is None:
        chosen = _cut(_briefly(held))
        _log.error("%d withdrawals do not fit the signed list and are left out of it", len(held) - len(chosen))
    return advisories.build(origin_of(registry.setting("url")), number=number, issued=issued, entries=chosen)


def _in_force(listed: Iterable[Advisory]) -> tuple[Advisory, ...]:
    return tuple(entry for entry in listed if entry.withdrawn_on is None)


def _briefly(listed: Iterable[Advisory]) -> tuple[Advisory, ...]:
    return tuple(replace(entry, reason=BRIEF) for entry in listed)


def _size(listed: Iterable[Advisory]) -> int:
    """Of the envelope, at least: Base64 takes four bytes for three."""
    return (sum(map(_bytes_of, listed)) + _FRAME) * 4 // 3


def _bytes_of(entry: Advisory) -> int:
    return len(json.dumps(advisories.to_osv(entry), ensure_ascii=False, separators=(",", ":")).encode()) + 1


def _cut(listed: tuple[Advisory, ...]) -> tuple[Advisory, ...]:
    """As many as fit: the operator's first, then those on bytes, then the newest."""
    room = advisories.MAX_BYTES * 3 // 4 - _FRAME
    kept = []
    newest = sorted(listed, key=lambda entry: entry.published, reverse=True)
    for entry in sorted(newest, key=lambda entry: (entry.by != "operator", entry.scope != "bytes")):
        room -= _bytes_of(entry)
        if room < 0:
            break
        kept.append(entry)
    return tuple(kept)


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
        numbers=row.numbers,
    )  # fmt: skip


def _day(row: Withdrawal) -> str | None:
    return None if row.lifted is None else instants.write(instants.read(row.lifted[:19] + "Z"))
