"""What OpenID providers say of themselves: their metadata and keys, kept for minutes.

A key that a provider gives up counts for ten minutes at most. A key that is new is asked for at once, but not more
often than each half minute, because whoever sends a token chooses the key id that it names. Nor is a provider that
failed asked again before.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from joserfc import jws

from embhub.formats import strict_json
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.storage import outgoing
from embhub_registry.storage.logs import log
from embhub_registry.storage.outgoing import SendingError

KEPT_SECONDS = 600.0
REFETCH_SECONDS = 30.0  # between two fetches for a key id that is not known, and after one that failed
MOST_PROVIDERS = 100

Document = Mapping[str, Any]


@dataclass(frozen=True)
class _Kept:
    document: Document
    fetched: float
    tried: float  # also where that failed


@dataclass(frozen=True)
class _Failed:
    reason: str
    tried: float


class ProviderCache:
    """Documents of providers by their address, of one process; of many, those that were asked for last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._failed: OrderedDict[str, _Failed] = OrderedDict()

    def read(
        self, address: str, check: Callable[[Document], None], *, allowed: Sequence[str],
        older_than: float = KEPT_SECONDS,
    ) -> Document:  # fmt: skip
        """What is at an address; fetched where nothing is kept, or what is kept was fetched `older_than` seconds ago.

        Args:
            address: Of the document.
            check: Raises ValueError where a fetched document is not as it should be; such a one is not kept.
            allowed: Hosts that may be inside the network, or take plain http.
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
            failed = self._failed.get(address)
            if failed is not None and present - failed.tried < REFETCH_SECONDS:
                raise unavailable(failed.reason)
        try:
            document = fetch(address, allowed=allowed)
            check(document)
        except (SendingError, ValueError) as error:
            log("error", "the provider cannot be used", address=address, reason=str(error)[:300])
            with self._guard:
                _keep(self._failed, address, _Failed(str(error), self._clock()))
            raise unavailable(str(error)) from error
        with self._guard:
            _keep(self._kept, address, _Kept(document, self._clock(), self._clock()))
        return document


def _keep(kept: OrderedDict[str, Any], address: str, found: object) -> None:
    kept[address] = found
    kept.move_to_end(address)
    while len(kept) > MOST_PROVIDERS * 2:
        kept.popitem(last=False)


CACHE = ProviderCache()


def metadata(issuer: str, *needed: str, allowed: Sequence[str]) -> Document:
    """A provider's description of itself (OpenID Connect Discovery 1.0), which names its issuer exactly.

    Args:
        issuer: The issuer, as the operator or a publisher wrote it.
        *needed: Addresses that the description has to name, beside that of the keys.
        allowed: Hosts that may be inside the network, or take plain http.

    Returns:
        the description.

    Raises:
        RequestDeniedError: 502 where the provider does not answer as it should.
    """

    def check(found: Document) -> None:
        if found.get("issuer") != issuer:
            raise ValueError("it names another issuer than it is set up with here")
        for name in (*needed, "jwks_uri"):
            if not is_safe(found.get(name), issuer):
                raise ValueError(f"its {name} is no https address")

    found = CACHE.read(f"{issuer.rstrip('/')}/.well-known/openid-configuration", check, allowed=allowed)
    try:
        check(found)
    except ValueError as error:
        raise unavailable(str(error)) from error
    return found


def keys_for(token: str, issuer: str, *, allowed: Sequence[str]) -> Document:
    """The provider's key set (RFC 7517), with the key that the token names if the provider has it.

    Args:
        token: The token, not checked yet.
        issuer: Whose keys.
        allowed: Hosts that may be inside the network, or take plain http. Of these the keys may be at the issuer's own
            alone: whoever registers an issuer writes its description.

    Returns:
        the key set.

    Raises:
        RequestDeniedError: 502 where the provider does not answer as it should.
    """
    address = metadata(issuer, allowed=allowed)["jwks_uri"]
    own = [host for host in allowed if host == urlsplit(issuer).hostname]
    found = CACHE.read(address, _check_keys, allowed=own)
    kid = key_id(token)
    if kid is None or kid in {key.get("kid") for key in found["keys"]}:
        return found
    return CACHE.read(address, _check_keys, allowed=own, older_than=REFETCH_SECONDS)


def key_id(token: str) -> str | None:
    """The id of the key that a token says it is signed with; None where it names none."""
    try:
        kid = jws.extract_compact(token.encode()).headers().get("kid")
    except (ValueError, TypeError, KeyError):
        return None
    return kid if isinstance(kid, str) else None


def is_safe(address: object, issuer: str) -> bool:
    """https; plain http only where the issuer has it, and on its host."""
    if not isinstance(address, str):
        return False
    try:
        parts, own = urlsplit(address), urlsplit(issuer)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == own.scheme and parts.hostname == own.hostname)


def fetch(address: str, *, allowed: Sequence[str]) -> Document:
    """A JSON object from a provider.

    Raises:
        SendingError: it does not answer. ValueError: what it answers is none.
    """
    answer = outgoing.ask("issuer", address, headers={"Accept": "application/json"}, allowed=allowed)
    if answer.status != 200 or len(answer.body) > outgoing.MOST_BYTES:
        raise ValueError(f"it answered with status {answer.status}, or too much")
    try:
        found = strict_json.loads(answer.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("it does not answer as it should")
    return found


def unavailable(reason: str) -> RequestDeniedError:
    """502: the provider is not as the operator's settings say."""
    return RequestDeniedError(502, "provider", f"the provider cannot be used: {reason}", "ask the registry's operator")


def _check_keys(found: Document) -> None:
    keys = found.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError("its keys are no key set")
