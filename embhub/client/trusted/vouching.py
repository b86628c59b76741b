"""By which keyrings a release is judged: the pinned ones, renewed or as kept, and what they say differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from embhub.client.trusted import mirrors
from embhub.errors import RegistryError
from embhub.refusals import Finding
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.site.signing import keys
from embhub.trust.keyring import Keyring, Member, MemberKey, Trust

CHECK = "pins"
_NEVER = "9999-12-31T23:59:59Z"


def trusted_by(registry: str) -> tuple[list[Trust], list[Finding]]:
    """The keyrings to judge a release from `registry` by, its own fetched anew; and a finding where it was not.

    An address that is not pinned may be a copy of a registry that is: then every pinned keyring may vouch for the
    release, and a newer one that the copy holds is taken.

    Raises:
        ConfigError: nothing is pinned.
        VerificationError: the registry offers an older keyring, or one signed by another key.
    """
    address = config.check_registry(registry)
    pinned = {root.registry: root.root_fingerprint for root in trust_store.list_roots()}
    if address in pinned:
        try:
            opened = refresh(address)
            said = say_root(address, opened, pinned=pinned[address])
            return with_namesakes(opened), [*said, *_contradictions()]
        except RegistryError as error:  # it serves files and no keyring just now: the one kept here still decides
            text = f"{address} gave no keyring just now, the one kept here was used: {error.message}"
            return with_namesakes(trust_store.load(address)), [Finding("keyring", "warning", text)]
    trusted_offline(hint=f"embhub trust add {address}")
    finding = mirrors.renew(address)
    return trusted_offline(), [finding]


def with_namesakes(opened: Trust) -> list[Trust]:
    """A keyring and those that other addresses of the same registry showed, the newest first.

    So a late address brings back no key that was revoked, and no release that was withdrawn.

    Raises:
        ConfigError, VerificationError: a pin is damaged.
    """
    others = [one for one in trust_store.load_all() if one.registry == opened.registry and one != opened]
    known = [opened, *(replace(one, namespaces=opened.namespaces) for one in others)]
    return sorted(known, key=lambda one: one.keyring.version, reverse=True)


def _contradictions() -> list[Finding]:
    """What pinned registries say differently about one namespace."""
    if len(trust_store.addresses()) < 2:
        return []
    return [Finding(CHECK, "warning", line) for line in conflicts(trust_store.load_all())]


def is_itself(address: str, name: str) -> bool:
    """Whether the registry of this name answers at `address`: its own, or the only one that is pinned for it.

    Of two pinned addresses, neither of which is the registry's own, each may be a copy.

    Raises:
        ConfigError, VerificationError: a pin is damaged.
    """
    places = [place for place in trust_store.addresses() if trust_store.load(place).registry == name]
    return address == config.check_registry(name) or places == [address]


def name_of(address: str) -> str:
    """How the registry at `address` calls itself in its keyring, if it is pinned; else the address.

    Raises:
        ConfigError, VerificationError: a pin is damaged.
    """
    return trust_store.load(address).registry if address in trust_store.addresses() else address


def trusted_offline(*, hint: str = "embhub trust add URL") -> list[Trust]:
    """Every pinned keyring as it is kept here; ConfigError where there is none."""
    return trust_store.load_some(hint=hint)


def vouch_for_own_keys(namespace: str, now: str, *, origin: str) -> Trust:
    """A keyring made up here, by which this site's own keys may publish under `namespace`; for its own releases.

    It stands for the registry of this `origin`, for which the release was signed. A key that a pinned registry knows
    as stolen vouches for nothing: a thief can name any registry and namespace.

    Raises:
        ConfigError, VerificationError: a pin is damaged.
    """
    revoked = [row for trust in trust_store.load_all() for row in trust.keyring.revoked]
    stolen = {row.fingerprint for row in revoked if row.reason == "stolen"}
    held = tuple(
        MemberKey(fingerprint=key.fingerprint, public_key_pem=keys.public_pem(key.name), role="publish", added=now)
        for key in keys.list_keys()
        if key.fingerprint not in stolen
    )
    member = Member(namespace=namespace, name=None, keys=held)
    address = f"https://[{origin}]" if ":" in origin else f"https://{origin}"
    made_up = Keyring(registry=address, version=1, issued=now, expires=_NEVER, members=(member,))
    return Trust("this site", "", made_up)


def refresh(address: str) -> Trust:
    """The pinned registry's keyring, fetched anew and kept. Raises as `trust_store.refresh`, or RegistryError."""
    from embhub.client.wire.hub import Hub

    return trust_store.refresh(address, Hub(address, token=config.token_for(address)).trust_export())


def say_root(address: str, opened: Trust, *, pinned: str) -> Iterator[Finding]:
    """Whether the pin moved from the root `pinned` to another one just now, or will have to."""
    if opened.passed:
        text = (
            f"the root of {address} changed from {opened.passed[0]} to {opened.root_fingerprint}, in a statement that"
            " the old root signed; the pin moved with it"
        )
        yield Finding("root", "warning", text)
    elif opened.root_fingerprint != pinned:
        text = (
            f"{address} still shows the keyring of the root {pinned}, which {opened.root_fingerprint} replaced; what is"
            " known here was used"
        )
        yield Finding("root", "warning", text)


def conflicts(trusts: Sequence[Trust]) -> list[str]:
    """Namespaces for which two pinned registries name different keys, or revoke differently: one line each."""
    lines = []
    for one, other in combinations(trusts, 2):
        first, second = _members(one), _members(other)
        for namespace in sorted(first.keys() & second.keys()):
            if first[namespace] != second[namespace]:
                lines.append(
                    f"{one.registry} and {other.registry} name different keys for {namespace}: each counts for releases"
                    " that were signed for that registry. To leave one out: `embhub trust add URL --namespaces …`"
                )
    return lines


def _members(trust: Trust) -> dict[str, set[str]]:
    ring: Keyring = trust.keyring
    revoked = {row.fingerprint: row.reason for row in ring.revoked}
    return {
        member.namespace: {f"{key.fingerprint} {revoked.get(key.fingerprint, '')}" for key in member.keys}
        for member in ring.members
        if trust.namespaces is None or member.namespace in trust.namespaces
    }
