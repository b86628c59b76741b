"""What a person is asked before new keys count as confirmed, and what is said of pins that contradict one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from embhub.errors import PolicyError
from embhub.refusals import Finding
from embhub.site import seen, trust_store
from embhub.trust import differences
from embhub.trust.keyring import Keyring, Trust

Agree = Callable[[str, Sequence[str]], bool]
CHECK = "pins"


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
    """Note that a person agreed to this keyring: its keys are no news from now on."""
    trust_store.confirm(address)
    seen.confirm(opened.registry, opened.keyring.fingerprints())


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
