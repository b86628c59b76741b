"""What a restored registry must not bring back: access tokens revoked since, and a keyring that sites refuse."""

from __future__ import annotations

from embhub.errors import EmbhubError
from embhub_registry.database import accounts, invites, sessions
from embhub_registry.database.clock import stamp
from embhub_registry.operation import administration
from embhub_registry.storage.folder import Registry


def revoke_tokens(registry: Registry) -> int:
    """Revoke every access token in force and open invitation, end every session, link and request; how many tokens."""
    with registry.database.writing() as db:
        sessions.forget_all(db)
        invites.revoke_all(db, now=stamp())
        return accounts.revoke_all_tokens(db, now=stamp())


def raise_keyring(registry: Registry) -> tuple[int, list[str]]:
    """A keyring newer than any that sites saw; its version, and what to tell where the root key cannot sign it here.

    Online keys are in no backup: where they are not on this machine, new ones are made, and the keyring names them.
    """
    try:
        made = administration.raise_keyring(registry, online=registry.private_keys.make_online())
    except EmbhubError as error:
        return registry.trust().keyring.version, [f"the keyring keeps its version: {error.message} ({error.hint})"]
    if not made["pending"]:
        return int(made["keyring_version"]), []
    version = registry.trust().keyring.version
    return version, [
        f"the keyring keeps version {version}, because the root key cannot sign here. Sites that saw a newer one refuse"
        f" this registry, and a new timestamp key may be needed. Version {made['keyring_version']} waits for the root:"
        " `keyring propose`, `keyring sign`, `keyring install`"
    ]
