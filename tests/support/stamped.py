"""A keyring that names a timestamp key, and exports of it with a timestamp of whatever content."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from embhub.formats import instants
from embhub.trust import keyring as keyrings
from embhub.trust import timestamp as stamping
from tests.support.releases import NOW, ROOT, make_export, make_key, make_keyring

TIMESTAMP = make_key("timestamp")
ONLINE = {"timestamp": {"fingerprint": TIMESTAMP.fingerprint, "public_key_pem": TIMESTAMP.public_pem}}


def stamped(
    ring: keyrings.Keyring, *, days: float = 7, at: datetime = NOW, key: Any = TIMESTAMP, **changes: Any
) -> keyrings.TrustExport:
    """An export with a timestamp for `ring`, or for what `changes` say."""
    export = keyrings.parse_export(make_export(ring))
    current = stamping.CurrentKeyring(version=ring.version, sha256=export.keyring.digest)
    stated = stamping.Timestamp(
        registry="127.0.0.1",
        keyring=current,
        issued=instants.write(at),
        expires=instants.write(at + timedelta(days=days)),
    )
    return replace(export, timestamp=stamping.sign(stated.model_copy(update=changes), key=key))


def opened(export: keyrings.TrustExport) -> keyrings.Trust:
    return keyrings.open_export(keyrings.parse_export(export.to_bytes()), root_fingerprint=ROOT.fingerprint)


RING = make_keyring(online=ONLINE)
