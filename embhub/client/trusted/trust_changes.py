"""What a person is asked before new keys count as confirmed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from embhub.durable import locked
from embhub.errors import ConfigError, PolicyError
from embhub.site.memory import seen
from embhub.site.pins import pin_files, pin_names, trust_store
from embhub.trust import differences
from embhub.trust.keyring import ROLES, Role, Trust, parse_export

Agree = Callable[[str, Sequence[str]], bool]


@dataclass(frozen=True)
class Changes:
    """What is different in a registry's keyring since a person of this site agreed to one; `lines` in plain words.

    `agreed`: whether nothing needs a person's word, or they gave it.
    """

    lines: tuple[str, ...]
    agreed: bool


def settle(address: str, opened: Trust, *, agree: Agree | None) -> Changes:
    """Compare a keyring with the one that was confirmed last, and ask for a confirmation where something is different.

    Args:
        agree: asked with the address and the difference; None where there is nobody to ask.

    Raises:
        ConfigError: the pin or the memory cannot be written.
    """
    lines = tuple(differences.describe(trust_store.confirmed(address), opened.keyring))
    if lines and not (agree is not None and agree(address, lines)):
        return Changes(lines, agreed=False)
    confirm(address, opened)
    return Changes(lines, agreed=True)


def confirm(address: str, opened: Trust) -> None:
    """Note that a person agreed to this keyring: its keys are no news from now on.

    Raises:
        ConfigError: another one counts by now, which nobody saw; or the pin or the memory cannot be written.
    """
    where = pin_files.require(address).address
    with locked(pin_files.path_of(where)):
        pin = pin_files.require(where)
        current = parse_export(pin_names.in_force(pin, among=pin_files.read_all()).export).keyring
        if current.digest != opened.digest:
            raise ConfigError(
                f"the keyring of {where} changed while you looked at it, and nothing was confirmed",
                f"look at the new one: `embhub trust refresh {where}`",
            )
        pin_files.save(replace(pin, confirmed=current.payload))
    seen.confirm(opened.registry, opened.keyring.fingerprints())


def agreed_roles(registry: str, namespace: str, fingerprint: str) -> frozenset[Role]:
    """The roles that a person of this site agreed to for this key in this namespace; none where nobody did.

    `registry` is what its keyrings name it, and a keyring at any address that is pinned counts.

    Raises:
        ConfigError: a pin is damaged.
    """
    keyrings = [trust_store.confirmed(root.registry) for root in trust_store.list_roots()]
    members = [one for ring in keyrings if ring and ring.registry == registry for one in ring.members]
    held = {
        key.role
        for member in members
        if member.namespace == namespace
        for key in member.keys
        if key.fingerprint == fingerprint
    }
    return frozenset(role for role in ROLES if role in held)


def refuse_unconfirmed(address: str, changes: Changes) -> None:
    """With the policy `strict` a person confirms what changed.

    Raises:
        PolicyError: nobody did.
    """
    if not changes.agreed:
        raise PolicyError(
            f"nobody confirmed what changed in the keyring of {address}: {'; '.join(changes.lines)}",
            "ask the members concerned by another way, then `embhub trust refresh --yes`; until then the policy strict"
            " refuses what new keys sign",
        )
