"""Logging in as a job in CI: its provider's OIDC token for an access token that lasts 15 minutes (RFC 8693)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from embhub.client.account import accounts
from embhub.client.wire import connecting, http_client
from embhub.client.wire.http_client import RegistryClient, StatusError
from embhub.errors import ConfigError, RegistryError
from embhub.formats.plain_text import plain
from embhub.site import config
from embhub.site.pins import transport

if TYPE_CHECKING:
    from embhub.client.wire.answers import Account

PATH = "/oauth/token"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:id_token"
TOKEN, URL, BEARER = "EMBHUB_ID_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # variables


def log_in(registry: str | None, *, repository: str) -> tuple[Account, Path]:
    """Exchange the job's OIDC token for an access token of one repository, and keep that.

    The OIDC token is in EMBHUB_ID_TOKEN (GitLab's `id_tokens`), or it is asked for at GitHub, for this registry alone.

    Args:
        registry: address of the registry, None for the one that is set.
        repository: `namespace/name` of the only repository that the access token is for.

    Returns:
        the account, and the file (mode 0600) that holds the access token.

    Raises:
        ConfigError: no registry is set, it is a folder, or the job has no OIDC token.
        RegistryError: the registry accepts no such token, or somebody does not answer as they should.
    """
    address = config.load(registry=registry).registry
    if address is None or config.folder_of(address) is not None:
        raise ConfigError("log in to which registry?", "pass --registry https://…: a folder has no accounts")
    address = config.check_registry(address)
    transport.check(address)
    asked = {
        "grant_type": GRANT, "subject_token_type": TYPE, "subject_token": _id_token(address), "resource": repository
    }  # fmt: skip
    try:
        with http_client.in_words(address):
            answer = connecting.open_client(address, None).ask(PATH, method="POST", send=asked)
    except StatusError as error:
        raise RegistryError(
            f"{address} refused: {plain(error.said) or error.status}",
            "compare issuer, audience and claims of the trusted publisher with the job's token",
        ) from error
    except ValueError as error:
        raise _invalid(address) from error
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str):
        raise _invalid(address)
    return accounts.log_in(address, token=token)


def _id_token(audience: str) -> str:
    if given := os.environ.get(TOKEN, "").strip():
        return given
    url, bearer = os.environ.get(URL, ""), os.environ.get(BEARER, "")
    if not url or not bearer:
        raise ConfigError(
            "this job has no OIDC token", f"set {TOKEN}, or give the job at GitHub `permissions: id-token: write`"
        )
    transport.check(url)
    parts = urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    try:
        with http_client.in_words(url):
            client = RegistryClient(f"{parts.scheme}://{parts.netloc}", bearer)
            found = client.ask(f"{parts.path}?{query}audience={quote(audience, safe='')}")
    except (StatusError, ValueError) as error:
        raise _invalid("the job's provider") from error
    token = found.get("value") if isinstance(found, dict) else None
    if not isinstance(token, str):
        raise _invalid("the job's provider")
    return token


def _invalid(who: str) -> RegistryError:
    return RegistryError(f"{who} gave an invalid answer", "inform its operator")
