"""What a restored registry must not bring back: access tokens revoked since, and a keyring that sites refuse."""

from __future__ import annotations

from embhub.errors import EmbhubError
from embhub_registry.database import accounts
from embhub_registry.database.clock import stamp
from embhub_registry.operation import administration
from embhub_registry.storage.folder import Registry


def revoke_tokens(registry: Registry) -> int:
    """Revoke every access token in force; returns how many."""
    with registry.database.writing() as db:
        return accounts.revoke_all_tokens(db, now=stamp())


def raise_keyring(registry: Registry) -> tuple[int, list[str]]:
    """A keyring newer than any that sites saw; its version, and what to tell where the root key cannot sign it."""
    try:
        return int(administration.raise_keyring(registry)["keyring_version"]), []
    except EmbhubError as error:
        version = registry.trust().keyring.version
        return version, [
            f"the keyring keeps version {version}, because the root key cannot sign: {error.message}. Sites that saw a"
            " newer one refuse this registry. Put the root key, without a passphrase, into keys/root.pem, run"
            f" `key raise`, and put it away again ({error.hint})"
        ]
