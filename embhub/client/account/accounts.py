"""Who this site is at a registry: logging in, and the namespace that a push without one goes to."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.errors import ConfigError
from embhub.site import config
from embhub.site.memory import seen
from embhub.site.pins import trust_store

if TYPE_CHECKING:
    from embhub.client.wire.answers import Account
    from embhub.client.wire.hub import Hub

_log = logging.getLogger(__name__)


def log_in(registry: str | None = None, *, token: str) -> tuple[Account, Path]:
    """Check `token` with the registry, keep it and the namespace that it publishes under.

    Returns:
        the account, and the file (mode 0600) that holds the token.

    Raises:
        RegistryError: the registry does not accept the token.
        ConfigError: no registry is set, or the file cannot be written.
    """
    from embhub.client.wire.hub import Hub

    address = config.load(registry=registry).registry
    if address is None:
        raise _no_registry()  # a new token goes where its owner says, not where others went
    account = Hub(address, token=config.check_token(token)).whoami()
    path = config.save_credentials(address, token)
    seen.remember_namespace(address, account.publishes[0] if len(account.publishes) == 1 else None)
    return account, path


def connect(registry: str | None = None, *, token: str | None = None) -> Hub:
    """The registry in force, as the account whose token is at hand (as nobody without one).

    Where none is set, it is the only one that this site logged in to or trusts, with the token stored for it.
    EMBHUB_TOKEN goes to the registry of EMBHUB_REGISTRY and to no other.

    Raises:
        ConfigError: no registry is set and several are known, or none; or a token came without a registry.
    """
    from embhub.client.wire.hub import Hub

    address = config.load(registry=registry).registry
    if address is None:
        address = only_registry()
        loose = config.load(token=token).token  # given without saying for whom: it goes to nobody by a guess
        if address is None or loose:
            raise _no_registry()
        _log.warning("registry: %s, the only one known here", address)
    if token is None and config.token_kept_back(address):
        _log.warning("EMBHUB_TOKEN is not sent to %s: it goes to the registry of EMBHUB_REGISTRY alone", address)
    return Hub(address, token=config.load(registry=address, token=token).token)


def only_registry() -> str | None:
    """The registry in force: EMBHUB_REGISTRY > config.yaml > the only one that this site logged in to or trusts."""
    if address := config.load().registry:
        return address
    known = _known_registries()
    return known[0] if len(known) == 1 else None


def _known_registries() -> list[str]:
    return sorted({*config.registries_logged_in(), *trust_store.addresses()})


def _no_registry() -> ConfigError:
    hint = "pass --registry https://…, set EMBHUB_REGISTRY, or put `registry:` in config.yaml"
    if known := _known_registries():
        hint += f"; known here: {', '.join(known)}"
    return ConfigError("no registry is set", hint)


def default_namespace(hub: Hub | None = None) -> str:
    """The namespace to publish under where none is named: settings, else the only one in which the account publishes.

    `login` notes that one, and the registry is asked where there is no note.

    Raises:
        ConfigError: nobody says, or the account publishes in several or in none.
    """
    settings = config.load(registry=hub.registry if hub else only_registry())
    known = settings.namespace or (seen.namespace(settings.registry) if settings.registry else None)
    if known:
        return known
    account = hub.whoami() if hub else None
    offered = account.publishes if account else ()
    if len(offered) != 1:
        raise ConfigError(_which(account), "pass the repository as namespace/name, or set EMBHUB_NAMESPACE")
    if settings.registry:
        seen.remember_namespace(settings.registry, offered[0])
    return offered[0]


def _which(account: Account | None) -> str:
    if account is None:
        return "no namespace is set"
    if account.publishes:
        return f"which namespace? you publish in {' and '.join(account.publishes)}"
    return f"{account.name} may publish in no namespace; its namespaces: {account.in_words() or 'none'}"
