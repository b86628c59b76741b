"""Patients under this site's key: what stands in the place of an id that a hospital's own system gave out.

HMAC-SHA256(site key, kind | issuer | id), as the privacy ledger computes it: so one patient is one number there,
whether the id came in a manifest or in a DICOM header.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from embhub.audits.commitments import derive_key

_KEYED = re.compile(r"keyed-([0-9a-f]{64})")


def key_patient(patient_id: str, *, issuer: str = "") -> str:
    """`keyed-` and 64 hex digits; white space at the ends and in rows does not count, an id that is keyed stays.

    Raises:
        ConfigError: the site's key cannot be read or made.
    """
    name = " ".join(patient_id.split())
    if is_keyed(name):
        return name
    message = f"patient\0{' '.join(issuer.split())}\0{name}".encode("utf-8", "surrogatepass")
    return f"keyed-{hmac.new(derive_key('budget units'), message, hashlib.sha256).hexdigest()}"


def is_keyed(name: str) -> bool:
    """Whether an id is one of `key_patient`."""
    return _KEYED.fullmatch(name) is not None


def ledger_number(name: str) -> int | None:
    """The first 64 bits of a keyed id, which is what the ledger's sets hold; None for any other id."""
    found = _KEYED.fullmatch(name)
    return int(found[1][:16], 16) if found else None
