"""Whose access token is at hand, and forgetting one."""

from __future__ import annotations

from typing import Any

from embhub.client.account import accounts
from embhub.errors import ConfigError
from embhub.site import config


def describe_account(registry: str | None = None) -> dict[str, Any]:
    """The account at the registry in force, as the registry names it, and where its access token comes from.

    Raises:
        RegistryError: no token is at hand, the registry does not accept it, or cannot be reached.
        ConfigError: no registry is set.
    """
    hub = accounts.connect(registry)
    account = hub.whoami()
    source = "EMBHUB_TOKEN" if config.variable("EMBHUB_TOKEN") else "embhub login"
    return {
        "account": account.name, "registry": hub.registry, "namespaces": list(account.namespaces),
        "roles": dict(account.roles), "token from": source,
    }  # fmt: skip


def log_out(registry: str | None = None) -> dict[str, Any]:
    """Forget the access token that is stored for a registry. It stays valid there until it ends or is revoked.

    Raises:
        ConfigError: no registry is set, none is stored for it, or the file cannot be written.
    """
    stored = config.registries_logged_in()
    address = config.load(registry=registry).registry or (stored[0] if len(stored) == 1 else None)
    if address is None:
        known = f"; stored for {', '.join(stored)}" if stored else "; none is stored"
        raise ConfigError("log out of which registry?", f"pass --registry https://…{known}")
    if address not in stored:
        raise ConfigError(f"no access token is stored for {address}", f"stored for: {', '.join(stored) or 'none'}")
    path = config.remove_credentials(address)
    left = "EMBHUB_TOKEN is still set" if config.variable("EMBHUB_TOKEN") else None
    return {"logged out of": address, "removed from": str(path), "beware": left}
