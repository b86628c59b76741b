"""The only importer of huggingface_hub: moves bytes to and from a registry, decides nothing.

A registry speaks the Hugging Face Hub protocol. Nothing that it answers is trusted here: sizes are bounded, sockets
have deadlines, a token never leaves its origin, no client cache is used, and what arrives goes to
`embhub.verification`, which alone says whether it may be used.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read at import: a hospital's client phones nobody
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # Xet would upload to another host than the registry

import huggingface_hub as hf
from huggingface_hub import errors as hf_errors
from huggingface_hub.utils import _http as hf_http
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but not re-exported for mypy
    build_hf_headers,
    get_session,
    hf_raise_for_status,
)

from embhub import config, faults
from embhub import release as layout
from embhub.checks import attested, yanks
from embhub.errors import EmbhubError, RegistryError
from embhub.faults import plain
from embhub.formats import names
from embhub.listings import Listing as Listing
from embhub.progress import OnProgress, Progress
from embhub.release import Release
from embhub.site import guard
from embhub.site.deadline import within
from embhub.site.guard import Guard

# Releases of huggingface_hub differ in the HTTP library that they speak (httpx, httpx2): take the one it brought.
_http: Any = importlib.import_module(hf_errors.HfHubHTTPError.__mro__[1].__module__.partition(".")[0])

PAUSES = (1.0, 2.0, 4.0)  # seconds before a file is asked for again
_TRANSIENT = {429, 500, 502, 503, 504}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OPERATOR = "inform the registry's operator"
_log = logging.getLogger(__name__)
Given = ParamSpec("Given")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Account:
    """Who a token speaks for."""

    name: str
    namespaces: tuple[str, ...]


@dataclass(frozen=True)
class Receipt:
    """What the registry says it stored."""

    repository: str
    url: str
    commit: str
    digest: str


def _in_time(method: Callable[Concatenate[Hub, Given], Result]) -> Callable[Concatenate[Hub, Given], Result]:
    """The method, ended with TooSlow where it takes longer than anybody waits."""

    @wraps(method)
    def run(hub: Hub, /, *args: Given.args, **choices: Given.kwargs) -> Result:
        late = hub._late(method.__name__, guard.LONGEST_CALL)
        return within(guard.LONGEST_CALL, lambda: method(hub, *args, **choices), otherwise=late)

    return run


class Hub:
    """One registry, spoken to as one account (or as nobody when `token` is None).

    Every method raises RegistryError when the registry refuses, cannot be reached, or answers nonsense.
    """

    def __init__(self, registry: str, *, token: str | None = None) -> None:
        self.registry = config.check_registry(registry)
        self._token: str | bool = token or False  # False, not None: None would send the user's huggingface.co token
        self._api = hf.HfApi(endpoint=self.registry, token=self._token, library_name="embhub")
        _guard.protect(self.registry, token)

    @_in_time
    def whoami(self) -> Account:
        """Ask the registry whom the token speaks for."""
        if not self._token:
            raise RegistryError(f"no token for {self.registry}", "run `embhub login` or set EMBHUB_TOKEN")
        with self._translated("whoami"):
            answer = self._api.whoami(token=self._token)
            orgs = answer.get("orgs") or []
            return Account(plain(answer["name"]), tuple(sorted(plain(org["name"]) for org in orgs)))

    @_in_time
    def push(
        self, release: Release, repository: str, *, onto: str = "", message: str = "",
        on_progress: OnProgress | None = None,
    ) -> Receipt:  # fmt: skip
        """Store the whole `release` as one commit; create the repository where it is missing.

        A file of an earlier release that this one no longer has (an audit, say) is deleted in the same commit. Where
        `onto` names a commit, nothing is stored unless it is still the newest.
        """
        names.check_repository(repository)
        report = on_progress or (lambda _progress: None)
        with self._translated(repository):
            report(Progress("push", 0, 2, repository))
            present, parent = self._find(repository)
            if present is None:
                self._api.create_repo(repository, exist_ok=True, token=self._token)
            else:  # a push that changes nothing sends nothing, and would succeed for a stranger
                self._read_once(f"{self.registry}/api/models/{repository}/auth-check/write", limit=10_000)
            report(Progress("push", 1, 2, f"{len(release.files)} files"))
            operations: list[Any] = [
                hf.CommitOperationAdd(path_in_repo=path, path_or_fileobj=data) for path, data in release.files.items()
            ]
            stale = ((present or set()) & set(layout.LIMITS)) - set(release.files)
            operations += [hf.CommitOperationDelete(path_in_repo=path) for path in sorted(stale)]
            message = message or f"Publish {release.card.name} {release.card.version}"
            try:
                done = self._api.create_commit(
                    repository, operations, commit_message=message, token=self._token, parent_commit=onto or parent
                )
            except Exception:
                if present is None:
                    self._discard(repository)
                raise
            report(Progress("push", 2, 2, "stored"))
            return Receipt(repository, f"{self.registry}/{repository}", plain(done.oid), release.embedding.digest)

    def _find(self, repository: str) -> tuple[set[str] | None, str | None]:
        """The paths in a repository, None where there is none, and the commit to build on."""
        try:
            info = self._api.model_info(repository, token=self._token)
        except hf_errors.RepositoryNotFoundError as error:
            if error.response.status_code != 404:  # the client takes some answers about tokens for this one
                raise
            return None, None
        paths = {sibling.rfilename for sibling in info.siblings or []}
        return paths, info.sha if paths and info.sha and _COMMIT.fullmatch(info.sha) else None

    def _discard(self, repository: str) -> None:
        """Take back a repository that was made for a push which was then refused, if it is still empty."""
        with suppress(RegistryError), self._translated(repository):
            if not (self._find(repository)[0] or set()) & set(layout.LIMITS):
                self._api.delete_repo(repository, token=self._token, missing_ok=True)

    @_in_time
    def fetch(
        self, repository: str, revision: str | None = None, *, on_progress: OnProgress | None = None
    ) -> tuple[Release, str]:
        """Read one commit's release into memory, unverified; returns it with the 40-hex commit it came from.

        Every file is read at the commit that the first answer named, so a push in between cannot mix two releases.
        """
        names.check_repository(repository)
        with self._translated(f"{repository}@{revision}" if revision else repository):
            info = self._api.model_info(repository, revision=revision or "main", files_metadata=True, token=self._token)
            if not info.sha or not _COMMIT.fullmatch(info.sha):
                raise faults.WrongCommit(f"{self.registry} names no commit for {repository}", _OPERATOR)
            if revision and _COMMIT.fullmatch(revision) and info.sha != revision:
                raise faults.another_commit(repository, asked=revision, said=info.sha)
            sizes = {sibling.rfilename: sibling.size for sibling in info.siblings or []}
            paths = [path for path in layout.LIMITS if path in sizes]
            _check_sizes({path: sizes[path] for path in paths}, repository)
            files: dict[str, bytes] = {}
            for done, path in enumerate(paths):
                if on_progress:
                    on_progress(Progress("pull", done, len(paths), path))
                url = hf.hf_hub_url(repository, path, revision=info.sha, endpoint=self.registry)
                files[path] = self._read(url, limit=layout.LIMITS[path], commit=info.sha)
            if on_progress:
                on_progress(Progress("pull", len(paths), len(paths), "fetched"))
        return Release.from_files(files), info.sha

    @_in_time
    def search(self, query: str = "", *, limit: int = 50) -> list[Listing]:
        """List repositories whose name, card or tags match `query`, newest first; one page, of 1,000 at most."""
        asked = {"search": query} if query else {}
        url = f"{self.registry}/api/models?{urlencode({**asked, 'limit': limit, 'sort': 'lastModified', 'full': True})}"
        with self._translated("search"):
            rows = json.loads(self._read_once(url, limit=guard.LARGEST_ANSWER))
            return [Listing.read(row) for row in rows[:limit]]

    @_in_time
    def trust_export(self) -> bytes:
        """The registry's trust document (`GET /embhub/v1/trust`): root key and signed keyring, unverified."""
        with self._translated("trust"):
            data = self._read_once(f"{self.registry}/embhub/v1/trust", limit=4_000_000)
            json.loads(data)  # HTML from some other server is named as what it is, not as a broken signature
            return data

    def status(self, repository: str) -> bytes | None:
        """What the registry says of a repository's revisions, unverified; None where it is no embhub registry.

        `GET /embhub/v1/status/{namespace}/{name}`; `embhub.checks.yanks` reads it.
        """
        names.check_repository(repository)
        return self._ask(f"status/{repository}", what=repository, limit=yanks.MAX_BYTES)

    def audits(self, digest: str) -> bytes | None:
        """Who audited the embedding with this SHA-256, unverified; None where the host keeps no such list.

        `GET /embhub/v1/audits/{digest}`; `embhub.checks.attested` reads it.
        """
        return self._ask(f"audits/{digest}", what=f"audits of {digest[:12]}", limit=attested.MAX_BYTES)

    @_in_time
    def attest(self, digest: str, bundle: bytes) -> None:
        """Send an auditor's attestation of the embedding with this SHA-256; it stands beside the release's own."""
        with self._translated(f"audits of {digest[:12]}"):
            self._read_once(f"{self.registry}/embhub/v1/audits/{digest}", limit=attested.MAX_BYTES, body=bundle)

    def _ask(self, path: str, *, what: str, limit: int) -> bytes | None:
        """A short question under /embhub/v1; None where there is no such address."""

        def ask() -> bytes | None:
            with self._translated(what):
                try:
                    return self._read_once(f"{self.registry}/embhub/v1/{path}", limit=limit)
                except hf_errors.HfHubHTTPError as error:
                    if error.response.status_code == 404:
                        return None
                    raise

        return within(guard.LONGEST_QUESTION, ask, otherwise=self._late(what, guard.LONGEST_QUESTION))

    def _read(self, url: str, *, limit: int, commit: str | None = None) -> bytes:
        """Stream `url` into memory, at most `limit` bytes; what is broken or busy for a moment is asked again."""
        for pause in PAUSES:
            try:
                return self._read_once(url, limit=limit, commit=commit)
            except _http.TransportError as error:
                remark = type(error).__name__
            except hf_errors.HfHubHTTPError as error:
                if error.response.status_code not in _TRANSIENT:
                    raise
                remark = str(error.response.status_code)
            _log.info("%s: %s; asked again in %s s", url, remark, pause)
            time.sleep(pause)  # our own pauses: a registry could ask for a pause of years
        return self._read_once(url, limit=limit, commit=commit)

    def _read_once(self, url: str, *, limit: int, commit: str | None = None, body: bytes | None = None) -> bytes:
        headers = build_hf_headers(token=self._token, library_name="embhub")
        with get_session().stream("POST" if body else "GET", url, headers=headers, content=body) as response:
            hf_raise_for_status(response)
            said = response.headers.get("X-Repo-Commit")
            if commit is not None and said is not None and said != commit:
                raise faults.another_commit(url, asked=commit, said=plain(said))
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > limit:
                    raise faults.too_large(url, limit=limit)
            return bytes(data)

    def _late(self, what: str, seconds: float) -> RegistryError:
        return faults.TooSlow(
            f"{self.registry} did not finish with {what} in {seconds:.0f} s",
            "try later; after a push, `embhub show` says whether it was stored",
        )

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn what huggingface_hub and its HTTP library raise into RegistryError with a hint."""
        try:
            yield
        except EmbhubError:
            raise
        except hf_errors.OfflineModeIsEnabled as error:
            raise faults.Unreachable(f"offline: {self.registry} was not asked", "unset HF_HUB_OFFLINE") from error
        except hf_errors.HfHubHTTPError as error:
            raise _refusal(error, self.registry, what) from error
        except _http.TimeoutException as error:
            raise faults.TooSlow(
                f"{self.registry} cannot be reached: the request timed out", "is it running? try later"
            ) from error
        except _http.RemoteProtocolError as error:
            raise faults.CutShort(
                f"{self.registry} broke off its answer: {plain(error)}",
                "try again; if it persists, inform its operator",
            ) from error
        except (_http.HTTPError, _http.InvalidURL, OSError) as error:
            raise faults.no_answer(self.registry, error) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # the client parses answers without checking their shape: these are what a nonsense answer raises
            raise faults.no_registry(self.registry) from error


def _refusal(error: hf_errors.HfHubHTTPError, registry: str, what: str) -> RegistryError:
    """One refused request in words."""
    status = error.response.status_code
    match error:
        case hf_errors.RevisionNotFoundError():
            return faults.NotFound(f"{registry} has no such revision: {what}", "leave @revision out for the newest")
        case hf_errors.GatedRepoError():
            return faults.gated(registry=registry, what=what, said=_server_message(error))
        case hf_errors.RepositoryNotFoundError() if status == 404:
            return faults.NotFound(f"{registry} has no repository {what}", "`embhub search` lists what you may read")
        case hf_errors.EntryNotFoundError():
            text = f"{registry} lacks a file that it listed for {what}"
            return faults.NotFound(text, "inform the registry's operator")
    return faults.refused(status, registry=registry, what=what, said=_server_message(error))


def _server_message(error: hf_errors.HfHubHTTPError) -> str:
    """The server's own words: X-Error-Message, else a JSON body's `error`; never a page of HTML."""
    if header := error.response.headers.get("X-Error-Message"):
        return plain(header)
    try:
        body = error.response.json()
    except (ValueError, RuntimeError):  # RuntimeError: the body of a streamed answer was never read
        return ""
    return plain(body.get("error", "")) if isinstance(body, dict) else ""


def _check_sizes(sizes: Mapping[str, int | None], repository: str) -> None:
    """Refuse before the first byte is read; an answer that lies about its size meets the limit of the stream."""
    for name, size in sizes.items():
        if size is not None and size > layout.LIMITS[name]:
            raise faults.too_large(f"{name} of {repository}", announced=size, limit=layout.LIMITS[name])


def _guarded_client() -> Any:
    return _guard.attach(_make_client())


# The client that the program (or huggingface_hub itself) chose before us, proxies and certificates included.
_make_client: Any = getattr(hf_http, "_GLOBAL_CLIENT_FACTORY", None) or hf_http.default_client_factory
logging.getLogger("huggingface_hub").handlers.clear()  # its remarks on retries go where the program's own log goes
_guard = Guard(_http)
hf.set_client_factory(_guarded_client)
