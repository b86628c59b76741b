"""Patients under this site's key: what stands in the place of an id that a hospital's own system gave out.

HMAC-SHA256(site key, kind | issuer | id), as the privacy ledger computes it: so one patient is one number there,
whether the id came in a manifest or in a DICOM header.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata

from embhub.site.memory.secret import derive_key

_KEYED = re.compile(r"keyed-([0-9a-f]{64})")
_FOLDED = re.compile(r"folded-([0-9a-f]{64})")
_likenesses: dict[str, str] = {}
"""How ids looked that this process keyed, folded and keyed too: the ledger warns where two look alike."""
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def key_patient(patient_id: str, *, issuer: str = "") -> str:
    """`keyed-` and 64 hex digits of the `tidy` id; one that is keyed stays.

    Raises:
        ConfigError: the site's key cannot be read or made.
    """
    name = tidy(patient_id)
    if is_keyed(name):
        return name
    key = derive_key("budget units")
    message = f"patient\0{tidy(issuer)}\0{name}".encode("utf-8", "surrogatepass")
    keyed = f"keyed-{hmac.new(key, message, hashlib.sha256).hexdigest()}"
    _likenesses[keyed] = _fold(name, key)
    return keyed


def tidy(name: str) -> str:
    """An id as it is told from others: white space at the ends and in rows does not count, nor how Unicode writes it.

    A file system may hand out a letter and its accent as two characters where a table has one.
    """
    return " ".join(unicodedata.normalize("NFC", name).split())


def is_keyed(name: str) -> bool:
    """Whether an id is one of `key_patient`."""
    return _KEYED.fullmatch(name) is not None


def ledger_number(name: str) -> int | None:
    """The first 64 bits of a keyed id, which is what the ledger's sets hold; None for any other id."""
    found = _KEYED.fullmatch(name)
    return int(found[1][:16], 16) if found else None


def likeness(name: str) -> str | None:
    """`folded-` and 64 hex digits: equal for ids that differ in case, in leading zeros, or in who gave them out.

    Spreadsheets drop leading zeros, people change case. HMAC-SHA256 under the site's key. None for an id that was keyed
    in another process: nobody knows any more what it looked like.

    Raises:
        ConfigError: the site's key cannot be read or made.
    """
    name = tidy(name)
    return _likenesses.get(name) if is_keyed(name) else _fold(name, derive_key("budget units"))


def folded_number(likeness: str) -> int:
    """The first 64 bits of what `likeness` gives.

    Raises:
        ValueError: it gave something else.
    """
    if (found := _FOLDED.fullmatch(likeness)) is None:
        raise ValueError("not a folded id")
    return int(found[1][:16], 16)


def _fold(name: str, key: bytes) -> str:
    plain = _LEADING_ZEROS.sub("", name.casefold())
    message = b"folded\0" + plain.encode("utf-8", "surrogatepass")
    return f"folded-{hmac.new(key, message, hashlib.sha256).hexdigest()}"
