"""The timestamp that the server signs each day and at every change, by which a site sees that nothing is held back.

Its key signs nothing else, and needs no password: whoever steals it can make an old keyring look current, no more.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

from embhub.formats import instants
from embhub.refusals import ReleaseRefusedError
from embhub.trust import dsse
from embhub.trust import timestamp as stamping
from embhub.trust.keyring import TrustExport
from embhub.trust.origin import origin_of
from embhub.trust.timestamp import CurrentAdvisories, CurrentKeyring, Timestamp
from embhub_registry.database import Connection
from embhub_registry.database.clock import now
from embhub_registry.database.logs import root_rows

RENEWED_EVERY = timedelta(days=1)


def attach(export: TrustExport, db: Connection) -> TrustExport:
    """The export with the newest timestamp, if that speaks of this keyring and these advisories."""
    found = root_rows.timestamp(db)
    key = export.claimed.online_key("timestamp")
    if found is None or key is None:
        return export
    try:
        envelope = dsse.parse(found[1], payload_type=stamping.TIMESTAMP_TYPE)
        stated = stamping.parse(envelope, public_key=key)
    except ReleaseRefusedError:  # signed by a key that the keyring names no more
        return export
    current = _current(export)
    return replace(export, timestamp=envelope) if (stated.keyring, stated.advisories) == current else export


def is_due(db: Connection, export: TrustExport) -> bool:
    """Whether the timestamp is a day old, or speaks of something else than what is current."""
    found = root_rows.timestamp(db)
    if found is None or attach(replace(export, timestamp=None), db).timestamp is None:
        return True
    return instants.read(found[0]) + RENEWED_EVERY <= now()


def renew(db: Connection, export: TrustExport, *, key: dsse.Signer, days: float) -> None:
    """Sign that this keyring and these advisories are the current ones, for `days` from now."""
    keyring, advisories = _current(export)
    issued = instants.write(now())
    stated = Timestamp(
        registry=origin_of(export.registry), keyring=keyring, advisories=advisories, issued=issued,
        expires=instants.write(now() + timedelta(days=days)),
    )  # fmt: skip
    envelope = json.dumps(stamping.sign(stated, key=key).to_json()).encode()
    root_rows.set_timestamp(db, envelope, issued=issued)


def _current(export: TrustExport) -> tuple[CurrentKeyring, CurrentAdvisories | None]:
    keyring = CurrentKeyring(version=export.claimed.version, sha256=export.keyring.digest)
    if export.advisories is None:
        return keyring, None
    number = json.loads(export.advisories.payload)["number"]
    digest = hashlib.sha256(export.advisories.payload).hexdigest()
    return keyring, CurrentAdvisories(number=number, sha256=digest)
