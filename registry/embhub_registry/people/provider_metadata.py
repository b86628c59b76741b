"""What OpenID providers say of themselves: their metadata and keys, kept for minutes.

A key that a provider gives up counts for ten minutes at most. A key that is new is asked for at once, but not more
often than each half minute, because whoever sends a token chooses the key id that it names.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jws

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.storage.logs import log

SECONDS = 10.0  # that a provider has for each answer
MOST_BYTES = 500_000
KEPT_SECONDS = 600.0
REFETCH_SECONDS = 30.0  # between two fetches for a key id that is not known
MOST_PROVIDERS = 100

Document = Mapping[str, Any]


@dataclass(frozen=True)
class _Kept:
    document: Document
    fetched: float
    tried: float  # also where that failed


class ProviderCache:
    """Documents of providers by their address, of one process; of many, those that were asked for last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def read(self, address: str, check: Callable[[Document], None], *, older_than: float = KEPT_SECONDS) -> Document:
        """What is at an address; fetched where nothing is kept, or what is kept was fetched `older_than` seconds ago.

        Args:
            address: Of the document.
            check: Raises where a fetched document is not as it should be; such a one is not kept.
            older_than: From how many seconds after the last fetch on it is fetched anew.

        Returns:
            the document.

        Raises:
            RequestDeniedError: 502 where the provider does not answer as it should.
        """
        with self._guard:
            found = self._kept.get(address)
            present = self._clock()
            if found is not None and present - found.fetched < KEPT_SECONDS:
                self._kept.move_to_end(address)
                if present - found.tried < older_than:
                    return found.document
                self._kept[address] = replace(found, tried=present)
        document = fetch(address)
        check(document)
        with self._guard:
            self._kept[address] = _Kept(document, self._clock(), self._clock())
            self._kept.move_to_end(address)
            while len(self._kept) > MOST_PROVIDERS * 2:
                self._kept.popitem(last=False)
        return document


CACHE = ProviderCache()


def metadata(issuer: str, *needed: str) -> Document:
    """A provider's description of itself (OpenID Connect Discovery 1.0), which names its issuer exactly.

    Args:
        issuer: The issuer, as the operator wrote it.
        *needed: Addresses that the description has to name, beside that of the keys.

    Returns:
        the description.

    Raises:
        RequestDeniedError: 502 where the provider does not answer as it should.
    """

    def check(found: Document) -> None:
        if found.get("issuer") != issuer:
            raise unavailable("the provider names another issuer than it is set up with here")
        for name in (*needed, "jwks_uri"):
            if not is_safe(found.get(name), issuer):
                raise unavailable(f"the provider's {name} is no https address")

    found = CACHE.read(f"{issuer.rstrip('/')}/.well-known/openid-configuration", check)
    check(found)
    return found


def keys_for(token: str, issuer: str) -> Document:
    """The provider's key set (RFC 7517), with the key that the token names if the provider has it.

    Args:
        token: The token, not checked yet.
        issuer: Whose keys.

    Returns:
        the key set.

    Raises:
        RequestDeniedError: 502 where the provider does not answer as it should.
    """
    address = metadata(issuer)["jwks_uri"]
    found = CACHE.read(address, _check_keys)
    kid = key_id(token)
    if kid is None or kid in {key.get("kid") for key in found["keys"]}:
        return found
    return CACHE.read(address, _check_keys, older_than=REFETCH_SECONDS)


def key_id(token: str) -> str | None:
    """The id of the key that a token says it is signed with; None where it names none."""
    try:
        kid = jws.extract_compact(token.encode()).headers().get("kid")
    except (ValueError, TypeError, KeyError):
        return None
    return kid if isinstance(kid, str) else None


def is_safe(address: object, issuer: str) -> bool:
    """https; plain http only where the issuer, which the operator wrote, is on this machine."""
    if not isinstance(address, str):
        return False
    parts, own = urlsplit(address), urlsplit(issuer)
    return parts.scheme == "https" or (parts.scheme == own.scheme and parts.hostname == own.hostname)


def fetch(address: str) -> Document:
    """A JSON object from a provider: no redirects, ten seconds a read, half a megabyte.

    Raises:
        RequestDeniedError: 502 where it does not answer so.
    """
    data = bytearray()
    try:
        with OAuth2Client(timeout=SECONDS) as client, client.stream("GET", address, withhold_token=True) as response:
            response.raise_for_status()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MOST_BYTES:
                    raise unavailable("its answer is too long")
        found = json.loads(bytes(data))
    except (httpx2.HTTPError, ValueError, OSError) as error:
        log("error", "the provider does not answer", address=address, reason=str(error)[:300])
        raise unavailable("it does not answer as it should") from error
    if not isinstance(found, dict):
        raise unavailable("it does not answer as it should")
    return found


def unavailable(reason: str) -> RequestDeniedError:
    """502: the provider is not as the operator's settings say."""
    return RequestDeniedError(502, "provider", f"the provider cannot be used: {reason}", "ask the registry's operator")


def _check_keys(found: Document) -> None:
    keys = found.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise unavailable("its keys are no key set")
