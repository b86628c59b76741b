"""The host names by which pinned registries call themselves: two pins of one name must have one root.

Statements name a registry by its host name alone, so of two roots either could speak for the other's members. A change
of root reaches the addresses of one registry one after the other. As soon as one pin followed it, the root before
speaks for the name nowhere on this site: the keyring of the pin that followed is used in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol, TypeVar

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
    def version(self) -> int: ...
    @property
    def export(self) -> bytes: ...


P = TypeVar("P", bound=Pin)


def check(pins: Sequence[Pin], *, among: Sequence[Pin]) -> None:
    """Such pins are of a version that compared no names: which of them is the registry, a person has to say.

    Raises:
        ConfigError: one of `pins` shares its host name with another, of another root.
    """
    for pin in pins:
        if other := namesake(pin, among=among):
            raise ConfigError(*two_roots(pin, other))


def namesake(pin: Pin, *, among: Iterable[P]) -> P | None:
    """Another pin whose keyring gives the same host name, and of whose root and this one neither replaced the other."""
    return next((one for one in among if _is_namesake(pin, one)), None)


def replaces(later: Pin, earlier: Pin) -> bool:
    """Whether both pins are of one name, and signed changes lead from the root of `earlier` to that of `later`.

    Only the holders of both roots could lead back as well. Then neither replaces the other.
    """
    if later.root_fingerprint == earlier.root_fingerprint or later.address == earlier.address:
        return False
    if not _has_its_name(later, earlier):
        return False
    return came_after(later, earlier.root_fingerprint) and not came_after(earlier, later.root_fingerprint)


def in_force(pin: P, *, among: Iterable[P]) -> P:
    """The pin whose keyring speaks for the name of `pin`: its own, or the newest under the root that came last."""
    newest = pin
    for one in sorted(among, key=lambda one: one.version, reverse=True):
        if replaces(one, newest):
            newest = one
    return newest


def came_after(pin: Pin, root: str) -> bool:
    """Whether signed changes in the export of this pin lead to its root from an earlier one."""
    document = _parsed(pin.export)
    try:
        return bool(follow(document.roots, registry=document.registry, pinned=root, current=document.root))
    except ReleaseRefusedError:  # there are none, or somebody forged them
        return False


def relies_on(pin: Pin, *, among: Sequence[P]) -> P | None:
    """A pin of a root that was replaced, as `pin` alone shows."""
    for one in among:
        if replaces(pin, one) and not any(replaces(other, one) for other in among if other.address != pin.address):
            return one
    return None


def _is_namesake(pin: Pin, other: Pin) -> bool:
    if pin.root_fingerprint == other.root_fingerprint or pin.address == other.address:
        return False
    # the same registry at two addresses may have changed its root at one of them so far
    if not _has_its_name(pin, other):
        return False
    return came_after(pin, other.root_fingerprint) == came_after(other, pin.root_fingerprint)


def _has_its_name(pin: Pin, other: Pin) -> bool:
    return origin_of(_parsed(pin.export).registry) == origin_of(_parsed(other.export).registry)


@lru_cache(maxsize=8)
def _parsed(export: bytes) -> TrustExport:
    return keyrings.parse_export(export)


def two_roots(pin: Pin, other: Pin) -> tuple[str, str]:
    """What is said of two such pins, and what to do: message and hint of an error."""
    one, two = (_parsed(each.export).registry for each in (pin, other))
    return (
        f"{pin.address} calls itself {one} and has the root key {pin.root_fingerprint}; another root key is pinned"
        f" under that host name, {other.root_fingerprint} of {two} at {other.address}. One could speak for the other's"
        " members",
        f"ask the operator of {origin_of(one)} which root key is theirs. If it is not the one that is pinned,"
        f" `embhub trust remove {other.address}`; else keep that one, and remove the other where it is pinned:"
        f" `embhub trust remove {pin.address}`",
    )


def replaced(pin: Pin, later: Pin) -> tuple[str, str]:
    """What is said of news under a root that was replaced, and what to do: message and hint of an error."""
    name = origin_of(_parsed(pin.export).registry)
    return (
        f"{pin.address} shows a keyring that is new here, by the root key {pin.root_fingerprint} of {name}. That key"
        f" was replaced by {later.root_fingerprint}, as {later.address} showed, and counts no more",
        f"nothing of it was used. A copy that is late shows the change of root in time; until then use {later.address}."
        f" If it stays so, somebody may hold the old key: inform the operator of {name}",
    )
