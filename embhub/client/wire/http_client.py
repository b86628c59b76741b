"""HTTP with one registry: a client of our own, so that nothing is set for the rest of the program.

huggingface_hub has one client for the whole process, and no way to give an `HfApi` another one: deadlines, bounds and
hooks could be set there for everybody or not at all. This file knows HTTP; `embhub.client.wire.hub` knows what a
registry is asked.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import httpx2

from embhub.client.wire import errors as client_errors
from embhub.client.wire import guard
from embhub.client.wire.guard import Guard
from embhub.formats import strict_json
from embhub.formats.plain_text import plain
from embhub.version import __version__

TransportError = httpx2.TransportError
_LONGEST_REASON = 64_000  # bytes of an error's body that are read for its words
_BAD_CREDENTIALS = "Invalid credentials in Authorization header"  # by this exactly the Hub's clients tell a bad token
_TREE_SIZE = "text/x.tlog.size"  # C2SP tlog-witness
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # what huggingface_hub obeys too


class StatusError(Exception):
    """An answer with another status than success.

    Attributes:
        status: the status of HTTP.
        code: the registry's `X-Error-Code`, empty where there is none.
        said: the registry's own words, fit for a terminal; never a page of HTML.
    """

    def __init__(self, status: int, *, code: str = "", said: str = "") -> None:
        super().__init__(f"status {status}")
        self.status, self.code, self.said = status, code, said


class RegistryClient:
    """Connections to one registry, kept open between requests; safe to use from several threads.

    Proxies and certificates are those of the environment (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE) and of the system.
    `files_elsewhere`: whether files may come from another host that the answer names, as those of the public Hub do.
    """

    def __init__(self, registry: str, token: str | None, *, files_elsewhere: bool = False) -> None:
        self._registry, self._files_elsewhere = registry, files_elsewhere
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None
        self.certificate_issuer: str | None = None  # who signed the certificate of the last answer, by its own words

    def read(
        self, path: str, *, limit: int, method: str = "GET", body: bytes | None = None, commit: str | None = None,
        content_type: str = "application/octet-stream",
    ) -> bytes:  # fmt: skip
        """The body of one answer, at most `limit` bytes of it.

        Args:
            path: what is asked for, from the registry's root on, escaped.
            limit: bytes; one more, and AnswerTooLargeError is raised.
            method: the method of HTTP.
            body: what is sent along.
            commit: 40 hex digits that the answer must be for, where it says what it is for.
            content_type: media type of `body`.

        Raises:
            StatusError: the registry did not answer with success.
            RegistryError: the answer is too large, too slow, compressed or leads elsewhere, or this machine is offline.
            TransportError, OSError: the connection failed; `in_words` translates them.
        """
        url, headers = f"{self._registry}{path}", dict(self._headers)
        if body is not None:
            headers["content-type"] = content_type
        with self._open().stream(method, url, headers=headers, content=body, timeout=guard.SILENCE) as response:
            self.certificate_issuer = _issuer(response)
            if not response.is_success:
                code = response.headers.get("X-Error-Code", "")
                raise StatusError(response.status_code, code=code, said=_said(response))
            said = response.headers.get("X-Repo-Commit")
            if commit is not None and said is not None and said != commit:
                raise client_errors.another_commit(url, asked=commit, said=plain(said))
            data = bytearray()
            for chunk in response.iter_raw():
                data += chunk
                if len(data) > limit:
                    raise client_errors.too_large(url, limit=limit)
            return bytes(data)

    def ask(self, path: str, *, method: str = "GET", send: Mapping[str, Any] | None = None) -> Any:
        """What the registry answers in JSON, to a question that may be JSON too. Raises as `read`, and ValueError."""
        body = None if send is None else json.dumps(send).encode()
        return strict_json.loads(
            self.read(path, limit=guard.LARGEST_ANSWER, method=method, body=body, content_type="application/json")
        )

    def _open(self) -> httpx2.Client:
        for name in _OFFLINE:
            if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
                raise client_errors.UnreachableError(f"offline: {self._registry} was not asked", f"unset {name}")
        with self._lock:
            if self._client is None:
                self._client = _make_client(self._registry, files_elsewhere=self._files_elsewhere)
                weakref.finalize(self, self._client.close)
            return self._client


def _make_client(registry: str, *, files_elsewhere: bool) -> httpx2.Client:
    rules = Guard(registry, httpx2, files_elsewhere=files_elsewhere)
    try:
        authorities = _authorities(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    except OSError as error:
        raise client_errors.UnreachableError(
            f"{registry} was not asked: the certificate authorities cannot be read: {plain(error)}",
            "correct SSL_CERT_FILE or SSL_CERT_DIR",
        ) from error
    try:
        return httpx2.Client(
            headers={"user-agent": f"embhub/{__version__}", "accept-encoding": "identity"},
            event_hooks={"request": [rules.on_request], "response": [rules.on_response]},
            follow_redirects=True,
            verify=authorities,
        )
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        raise client_errors.UnreachableError(
            f"{registry} was not asked: the proxy that is set cannot be used: {plain(error)}",
            "correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the registry's host in NO_PROXY",
        ) from error


@lru_cache(maxsize=4)
def _authorities(file: str | None, folder: str | None) -> ssl.SSLContext:  # noqa: ARG001  # httpx2 reads these two
    """Whom to trust for certificates. Reading them takes as long as the rest of a pull, so it is done once."""
    return httpx2.create_ssl_context()


def _issuer(response: httpx2.Response) -> str | None:
    """Organisation or name of who signed the certificate; a hospital's proxy that opens TLS is named here."""
    stream = response.extensions.get("network_stream")
    opened = stream.get_extra_info("ssl_object") if stream is not None else None
    if opened is None:
        return None
    parts = dict(pair for group in (opened.getpeercert() or {}).get("issuer", ()) for pair in group)
    return plain(parts.get("organizationName") or parts.get("commonName") or "somebody without a name")


def _said(response: httpx2.Response) -> str:
    """The server's own words: X-Error-Message, else a JSON body's `error`; never a page of HTML.

    Where the header is the Hub's fixed sentence, the body says more: whether the token expired, say.
    """
    header = response.headers.get("X-Error-Message")
    if response.headers.get("Content-Type") == _TREE_SIZE:  # a witness's 409: the size that it knows
        return _start(response)
    if header and header != _BAD_CREDENTIALS:
        return plain(header)
    return _said_in_body(response) or plain(header or "")


def _start(response: httpx2.Response) -> str:
    for chunk in response.iter_raw():
        return plain(chunk[:30].decode("ascii", "replace").strip())
    return ""


def _said_in_body(response: httpx2.Response) -> str:
    data = bytearray()
    try:
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > _LONGEST_REASON:
                return ""
        body = strict_json.loads(bytes(data))
    except (httpx2.TransportError, ValueError):
        return ""
    said = plain(body.get("error", "")) if isinstance(body, dict) else ""
    return said.removeprefix(f"token: {_BAD_CREDENTIALS}: ")


@contextmanager
def in_words(registry: str) -> Iterator[None]:
    """Turn what the connection raises into RegistryError with a hint."""
    try:
        yield
    except httpx2.TimeoutException as error:
        raise client_errors.AnswerTooSlowError(
            f"{registry} cannot be reached: the request timed out", "is it running? try later"
        ) from error
    except httpx2.RemoteProtocolError as error:
        raise client_errors.AnswerCutShortError(
            f"{registry} broke off its answer: {plain(error)}", "try again; if it persists, inform its operator"
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise client_errors.no_answer(registry, error) from error
