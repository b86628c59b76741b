"""Copies of a pinned registry at other addresses: a mirror, an export on a web server, a memory stick.

A pin belongs to the registry that the keyring names, not to the address that is asked. A copy may be older than what
this site knows, which is no fault of it: what is known here stays in force.
"""

from __future__ import annotations

from embhub.errors import ConfigError, RegistryError
from embhub.refusals import Finding, ReleaseRefusedError
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.trust import kept_advisories
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Trust

CHECK = "keyring"


def renew(address: str) -> Finding:
    """Take the keyring and the advisories that a copy brings, where they are newer than those kept; what came of it.

    Raises:
        VerificationError: they are forged, or another keyring under a version that is known.
        ConfigError: a pin is damaged.
    """
    unknown = f"{address} is not pinned here; the keyrings kept of other registries were used, and not renewed"
    try:
        data = _fetch(address)
        pinned = _pinned(data)
    except (RegistryError, ReleaseRefusedError):  # it serves files, and no keyring that can be read
        return Finding(CHECK, "note", unknown)
    if pinned is None:
        return Finding(CHECK, "note", unknown)
    if _is_older(data, pinned):
        text = f"{address} holds an older state of {pinned} than is known here; what is known here was used"
        return Finding(CHECK, "warning", text)
    trust_store.refresh(pinned, data)
    return Finding(CHECK, "note", f"{address} is a copy of {pinned}; the keyring that it holds was checked")


def refresh(address: str) -> str:
    """The address of the pinned registry whose copy this is, after its keyring was taken from there.

    Raises:
        ConfigError: it is not known as a copy of a pinned registry.
        VerificationError: the keyring is older than the one kept here, or forged.
    """
    unknown = _not_pinned(address)
    try:
        data = _fetch(address)
        pinned = _pinned(data)
    except (RegistryError, ReleaseRefusedError) as error:
        unknown.message += f", and no copy of a pinned registry is read there: {error.message}"
        raise unknown from error
    if pinned is None:
        raise unknown
    trust_store.refresh(pinned, data)
    return pinned


def kept_keyring(address: str) -> Trust:
    """The keyring kept here of the registry at `address`, or of the pinned one whose copy it is. Nothing is renewed.

    Raises:
        ConfigError: it is neither pinned nor known as a copy of a pinned registry.
    """
    if address in trust_store.addresses():
        return trust_store.load(address)
    unknown = _not_pinned(address)
    try:
        pinned = _pinned(_fetch(address))
    except (RegistryError, ReleaseRefusedError) as error:
        raise unknown from error
    if pinned is None:
        raise unknown
    return trust_store.load(pinned)


def _not_pinned(address: str) -> ConfigError:
    return ConfigError(f"no root key is pinned for {address}", f"embhub trust add {address}")


def _fetch(address: str) -> bytes:
    from embhub.client.wire.hub import Hub

    return Hub(address, token=config.token_for(address)).trust_export()


def _pinned(data: bytes) -> str | None:
    """Under which address the registry is pinned that a trust export names."""
    named = keyrings.parse_export(data).registry
    return next((place for place in trust_store.addresses() if trust_store.load(place).registry == named), None)


def _is_older(data: bytes, pinned: str) -> bool:
    document, known = keyrings.parse_export(data), trust_store.load(pinned)
    if trust_store.was_replaced(pinned, document.root_fingerprint):
        return True
    found = keyrings.open_export(document, root_fingerprint=known.root_fingerprint)
    if found.keyring.version != known.keyring.version:
        return found.keyring.version < known.keyring.version
    before, now = kept_advisories.listed(known), kept_advisories.listed(found)
    return before is not None and now is not None and now.number < before.number
