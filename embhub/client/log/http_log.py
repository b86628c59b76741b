"""A registry's log over HTTP."""

from __future__ import annotations

from embhub.client.log.log_reader import NOT_IN_LOG, NotInLogError
from embhub.client.wire import connecting, http_client
from embhub.client.wire import errors as client_errors
from embhub.client.wire.http_client import StatusError
from embhub.log import notes


class HttpLog:
    """The log of the registry at an address."""

    def __init__(self, registry: str, token: str | None = None) -> None:
        self._registry = registry
        self._client = connecting.open_client(registry, token)

    def read(self, name: str, *, limit: int) -> bytes | None:
        """As `LogSource`. Raises RegistryError; NotInLogError where a running registry says so of an entry."""
        try:
            with http_client.in_words(self._registry):
                return self._client.read(f"/log/{name}", limit=limit)
        except StatusError as error:
            if error.status == 404 and error.code == NOT_IN_LOG:
                raise NotInLogError(name) from error
            if error.status == 404:
                return None
            raise client_errors.from_status(
                error.status, error.code, error.said, registry=self._registry, what="its log", anonymous=False
            ) from error

    def post(self, name: str, body: bytes) -> bytes:
        """Send something to `/log/NAME`. Raises RegistryError."""
        try:
            with http_client.in_words(self._registry):
                return self._client.read(f"/log/{name}", limit=notes.MAX_BYTES, method="POST", body=body)
        except StatusError as error:
            raise client_errors.from_status(
                error.status, error.code, error.said, registry=self._registry, what="its log", anonymous=False
            ) from error
