"""Who this site is at a registry: logging in, and the namespace that a push without one goes to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from embhub import config
from embhub.errors import ConfigError
from embhub.site import seen

if TYPE_CHECKING:
    from embhub.hub import Account, Hub


def log_in(registry: str | None = None, *, token: str) -> tuple[Account, Path]:
    """Check `token` with the registry, keep it and the namespace that it publishes under.

    Returns:
        the account, and the file (mode 0600) that holds the token.

    Raises:
        RegistryError: the registry does not accept the token.
        ConfigError: no registry is set, or the file cannot be written.
    """
    from embhub.hub import Hub

    address = registry_address(registry)
    account = Hub(address, token=config.check_token(token)).whoami()
    path = config.save_credentials(address, token)
    if account.namespaces:
        seen.remember_namespace(address, account.namespaces[0])
    return account, path


def connect(registry: str | None = None, *, token: str | None = None) -> Hub:
    """The registry in force, as the account whose token is at hand (as nobody without one).

    Raises:
        ConfigError: no registry is set.
    """
    from embhub.hub import Hub

    address = registry_address(registry)
    return Hub(address, token=config.load(registry=address, token=token).token)


def registry_address(registry: str | None = None) -> str:
    """The registry in force: argument > EMBHUB_REGISTRY > config.yaml.

    Raises:
        ConfigError: none is set.
    """
    address = config.load(registry=registry).registry
    if address is None:
        raise ConfigError(
            "no registry is set", "say --registry https://…, set EMBHUB_REGISTRY, or put `registry:` in config.yaml"
        )
    return address


def default_namespace(hub: Hub | None = None) -> str:
    """The namespace to publish under where none is named: settings, else login's, else what the registry says now.

    Raises:
        ConfigError: nobody says, or the account has several.
    """
    settings = config.load(registry=hub.registry if hub else None)
    known = settings.namespace or (seen.namespace(settings.registry) if settings.registry else None)
    if known:
        return known
    offered = hub.whoami().namespaces if hub else ()
    if len(offered) != 1:
        raise ConfigError(
            f"which namespace? yours are {', '.join(offered)}" if offered else "no namespace is set",
            "name the repository as namespace/name, or set EMBHUB_NAMESPACE",
        )
    if settings.registry:
        seen.remember_namespace(settings.registry, offered[0])
    return offered[0]
