"""Offboarding as the operator's command does it: the account, and the signing keys of the person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embhub.errors import UsageError
from embhub_registry.operation import administration
from embhub_registry.operation.keyrings import keyring_changes
from embhub_registry.repositories import offboarding
from embhub_registry.storage.folder import Registry


@dataclass(frozen=True)
class Choices:
    """What becomes of what the account leaves behind. `revoke` are fingerprints of its person's keys."""

    hand_over_to: str | None = None
    keep: bool = False
    erase: bool = False
    revoke: tuple[str, ...] = ()


def offboard(registry: Registry, user: str, choices: Choices, *, dry_run: bool) -> dict[str, Any]:
    """Let an account leave, and revoke keys as superseded; says which keys of its namespaces stay in force.

    Raises:
        UsageError: no such user or key, or something that has to be decided first. Nothing was changed.
    """
    keyring = keyring_changes.latest(registry)
    known = {key.fingerprint: member.namespace for member in keyring.members for key in member.keys}
    gone = {row.fingerprint for row in keyring.revoked}
    for fingerprint in choices.revoke:
        if fingerprint not in known or fingerprint in gone:
            raise UsageError(f"no key in force has the fingerprint {fingerprint[:60]}", "`key list` shows them")
    before = offboarding.preview(registry, user)
    left = [
        {"fingerprint": fingerprint, "namespace": namespace}
        for fingerprint, namespace in sorted(known.items())
        if namespace in before["roles"] and fingerprint not in gone and fingerprint not in choices.revoke
    ]
    if dry_run:
        return {**before, "dry_run": True, "keys_in_force": left, "keys_revoked": []}
    if before["left"] and choices.erase:
        done = {**before, **offboarding.erase_name(registry, user)}
    else:
        done = offboarding.leave(
            registry, user, hand_over_to=choices.hand_over_to, keep=choices.keep, erase=choices.erase
        )
    revoked = [administration.revoke_key(registry, key, reason="superseded") for key in choices.revoke]
    pending = any(row["pending"] for row in revoked)
    return {**done, "keys_in_force": left, "keys_revoked": list(choices.revoke), "pending": pending}


def lines(result: dict[str, Any]) -> list[str]:
    """The result for a person."""
    held = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in result["holds"].items() if count)
    verb = "would end or stay" if result.get("dry_run") else "ended or stayed"
    found = [f"{result.get('name', result['user'])}: {verb}: {held or 'nothing'}"]
    found += [f"without another publisher: {name}" for name in result["repositories"]]
    found += [f"trusted publisher of theirs: {name}" for name in result["trusted_publishers"]]
    found += [f"key revoked: {fingerprint}" for fingerprint in result["keys_revoked"]]
    found += [f"key still in force: {key['fingerprint']} ({key['namespace']})" for key in result["keys_in_force"]]
    found += ["the keyring waits for its signature: `keyring propose`"] if result.get("pending") else []
    return [*found, *(f"stays: {words}" for words in result["kept"])]
