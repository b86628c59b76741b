"""The host names by which pinned registries call themselves: two pins of one name must have one root.

Statements name a registry by its host name alone, so of two roots either could speak for the other's members.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from embhub.errors import ConfigError
from embhub.refusals import ReleaseRefusedError
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import TrustExport
from embhub.trust.origin import origin_of
from embhub.trust.root_keys import follow


class Pin(Protocol):
    """A pinned registry, as `trust_store` keeps it: its address, its root and the keyring seen last."""

    @property
    def address(self) -> str: ...
    @property
    def root_fingerprint(self) -> str: ...
    @property
    def export(self) -> bytes: ...


def check(pins: Sequence[Pin], *, among: Sequence[Pin]) -> None:
    """Such pins are of a version that compared no names: which of them is the registry, a person has to say.

    Raises:
        ConfigError: one of `pins` shares its host name with another, of another root.
    """
    for pin in pins:
        if other := namesake(pin, among=among):
            raise ConfigError(*two_roots(pin, other))


def namesake(pin: Pin, *, among: Sequence[Pin]) -> Pin | None:
    """Another pin whose keyring gives the same host name, and whose root is another one."""
    others = [one for one in among if one.address != pin.address and one.root_fingerprint != pin.root_fingerprint]
    return next((one for one in others if _is_namesake(pin, one)), None)


def _is_namesake(pin: Pin, other: Pin) -> bool:
    one, two = keyrings.parse_export(pin.export), keyrings.parse_export(other.export)
    if origin_of(one.registry) != origin_of(two.registry):
        return False
    # the same registry at two addresses may have changed its root at one of them so far
    return not (_comes_from(one, other.root_fingerprint) or _comes_from(two, pin.root_fingerprint))


def _comes_from(document: TrustExport, earlier: str) -> bool:
    """Whether signed changes lead from this earlier root to that of the export."""
    try:
        return bool(follow(document.roots, registry=document.registry, pinned=earlier, current=document.root))
    except ReleaseRefusedError:  # there are none, or somebody forged them
        return False


def two_roots(pin: Pin, other: Pin) -> tuple[str, str]:
    """What is said of two such pins, and what to do: message and hint of an error."""
    one, two = (keyrings.parse_export(each.export).registry for each in (pin, other))
    return (
        f"{pin.address} calls itself {one} and has the root key {pin.root_fingerprint}; another root key is pinned"
        f" under that host name, {other.root_fingerprint} of {two} at {other.address}. One could speak for the other's"
        " members",
        f"ask the operator of {origin_of(one)} which root key is theirs. If it is not the one that is pinned,"
        f" `embhub trust remove {other.address}`; else keep that one, and remove the other where it is pinned:"
        f" `embhub trust remove {pin.address}`",
    )
