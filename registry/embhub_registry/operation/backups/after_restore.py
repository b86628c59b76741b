"""What a restored registry must not bring back: access tokens revoked since, and a keyring that sites refuse."""

from __future__ import annotations

from pathlib import Path

from embhub.errors import EmbhubError
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts, invites, sessions
from embhub_registry.operation import administration
from embhub_registry.operation.keyrings import newest_keyring
from embhub_registry.repositories import advisories
from embhub_registry.storage.folder import Registry

COMES_BACK = (
    "everything else is as it was then: an account that left since can log in again, by a passkey or a recovery code,"
    " and what was made private, yanked, set aside or deleted since is there again. Repeat it before `serve`: the audit"
    " log of the lost registry lists it"
)
_NOT_COMPARED = (
    "keys that were removed or revoked since the backup count again by this keyring, and sites that saw it refuse the"
    " registry: remove and revoke them again, or restore with --keyring"
)


def revoke_tokens(registry: Registry) -> int:
    """Revoke every access token in force and open invitation, end every session, link and request; how many tokens."""
    with registry.database.writing() as db:
        sessions.forget_all(db)
        invites.revoke_all(db, now=stamp())
        return accounts.revoke_all_tokens(db, now=stamp())


def raise_keyring(registry: Registry, newest: Path | None = None) -> tuple[int, list[str]]:
    """A keyring newer than any that sites saw; its version, and what to tell, also where the root cannot sign it here.

    Online keys are in no backup: where they are not on this machine, new ones are made, and the keyring names them.

    Args:
        newest: the newest keyring that anybody saw (`newest_keyring.take`). Without it nothing is proposed to a root
            that is elsewhere; one that is here signs what the backup has.

    Raises:
        NewestKeyringError: it is none of this registry.
    """
    told = newest_keyring.take(registry, newest) if newest is not None else []
    root_is_here = registry.private_keys.local_root() is not None
    if newest is None and registry.has_keyring and not root_is_here:
        newest_keyring.ask_for_it(registry)
        version = registry.trust().keyring.version
        return version, [
            f"the keyring keeps version {version}, and `keyring propose` waits. A later keyring may have removed or"
            " revoked keys: run `backup recovered --keyring FILE` with the newest trust export that a mirror or a site"
            " has"
        ]
    try:
        made = administration.raise_keyring(registry, online=registry.private_keys.make_online())
    except EmbhubError as error:
        version = registry.trust().keyring.version
        return version, [*told, f"the keyring keeps its version: {error.message} ({error.hint})"]
    advisories.publish_if_possible(registry)  # under the new key; sites miss a list that they saw before
    if not made["pending"]:
        return int(made["keyring_version"]), told if newest is not None else [_NOT_COMPARED]
    version = registry.trust().keyring.version
    return version, [
        *told,
        f"the keyring keeps version {version}, because the root key cannot sign here. Sites that saw a newer one refuse"
        f" this registry, and a new timestamp key may be needed. Version {made['keyring_version']} waits for the root:"
        " `keyring propose`, `keyring sign`, `keyring install`",
    ]
