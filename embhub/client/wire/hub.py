"""What a registry is asked, in the words of the Hugging Face Hub's protocol: moves bytes, decides nothing.

Nothing that a registry answers is trusted here: sizes are bounded, sockets have deadlines, a token never leaves its
origin, nothing is cached on disk, and what arrives goes to `embhub.release.verification`, which alone says whether
it may be used. Facts of the wire: `huggingface_hub/hf_api.py` and `huggingface_hub/_commit_api.py`.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote, urlencode

from embhub.client.wire import connecting, guard, http_client, static_list, visibility
from embhub.client.wire import errors as client_errors
from embhub.client.wire.answers import Account as Account
from embhub.client.wire.answers import Present, check_sizes, check_spelling, git_id, read_info
from embhub.client.wire.deadline import within
from embhub.client.wire.http_client import StatusError
from embhub.client.wire.listings import Listing as Listing
from embhub.errors import EmbhubError, RegistryError
from embhub.formats import names, strict_json
from embhub.formats.plain_text import plain
from embhub.progress import OnProgress, Progress
from embhub.release import files as release_files
from embhub.release.checks import yanks
from embhub.release.files import Release
from embhub.site import config
from embhub.site.pins import transport
from embhub.trust import kinds

PAUSES = (1.0, 2.0, 4.0)  # seconds before a file is asked for again
_TRANSIENT = {429, 500, 502, 503, 504}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OPERATOR = "inform the registry's operator"
_log = logging.getLogger(__name__)
Given = ParamSpec("Given")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Receipt:
    """What the registry says it stored.

    Attributes:
        repository: `namespace/name`.
        url: Address of the repository's page.
        commit: The commit, 40 hex digits.
        digest: SHA-256 of the embedding.
        visibility: `public`, `private` or `gated`; empty where the registry does not say.
        created: Whether the push created the repository.
        proposed: Where the release waits for approval: the address of its review; empty where it is published.
    """

    repository: str
    url: str
    commit: str
    digest: str
    visibility: str = ""
    created: bool = False
    proposed: str = ""


def _in_time(method: Callable[Concatenate[Hub, Given], Result]) -> Callable[Concatenate[Hub, Given], Result]:
    """The method, ended with AnswerTooSlowError where it takes longer than anybody waits."""

    @wraps(method)
    def run(hub: Hub, /, *args: Given.args, **choices: Given.kwargs) -> Result:
        late = hub._late(method.__name__, guard.LONGEST_CALL)
        return within(guard.LONGEST_CALL, lambda: method(hub, *args, **choices), otherwise=late)

    return run


class Hub:
    """A client of one registry, for one account or anonymous. It moves bytes and verifies none of them.

    Every method raises RegistryError when the registry refuses, cannot be reached, or gives an invalid answer.

    Args:
        registry: Address, such as `https://hub.example.org`.
        token: Access token, or None to be anonymous.

    Attributes:
        registry: The address, normalised.

    Raises:
        ConfigError: Not the address of a registry, or plain http to another machine that no setting `insecure` allows.

    Example:
        >>> import embhub
        >>> embhub.Hub("https://hub.example.org/").registry
        'https://hub.example.org'
    """

    _check_name = staticmethod(names.check_repository)  # the public Hub takes further names

    def __init__(self, registry: str, *, token: str | None = None) -> None:
        self.registry = config.check_registry(registry)
        transport.check(self.registry)
        self._token = token
        self._client = connecting.open_client(self.registry, token)

    @_in_time
    def whoami(self) -> Account:
        """Ask the registry whose the access token is.

        Returns:
            The account.

        Raises:
            RegistryError: No token was given; or as every method.
        """
        if not self._token:
            raise RegistryError(
                f"no token for {self.registry}", "run `embhub login`, or set EMBHUB_REGISTRY and EMBHUB_TOKEN"
            )
        with self._translated("whoami"):
            answer = self._client.ask("/api/whoami-v2")
            return Account.read(answer)

    @_in_time
    def push(
        self, release: Release, repository: str, *, onto: str = "", message: str = "", visible_to: str = "",
        embargo: str = "", on_progress: OnProgress | None = None, on_commit: Callable[[], None] | None = None,
    ) -> Receipt:  # fmt: skip
        """Store a release as one commit; create the repository where it is missing.

        The commit also deletes files of the earlier release that this one lacks, such as an audit.

        Args:
            release: The release. It is sent as it is.
            repository: `namespace/name`.
            onto: The newest commit as the caller knows it. Nothing is stored if there is a newer one. Empty: any.
            message: Commit message. By default name and version.
            visible_to: `private` or `gated`: what a repository is created as. Nothing is sent to one that exists and is
                something else. Empty: the registry's default.
            embargo: Until when nobody but approvers and the publisher see the release. Empty: no embargo.
            on_progress: Called with each step.
            on_commit: Called right before the commit is sent: until it is answered, nobody knows whether it arrived.

        Returns:
            What the registry says it stored.

        Raises:
            UsageError: Not the name of a repository.
            RegistryError: As every method.
        """
        names.check_repository(repository)
        report = on_progress or (lambda _progress: None)
        with self._translated(repository):
            report(Progress("push", 0, 2, repository))
            present = self._find(repository)
            if present is None:
                seen_as = self._create(repository, visible_to)
            else:  # a push that changes nothing sends nothing, and would succeed for a stranger
                self._client.read(f"/api/models/{repository}/auth-check/write", limit=10_000)
                visibility.check(repository, wanted=visible_to, found=present.visibility)
                seen_as = present.visibility
            report(Progress("push", 1, 2, f"{len(release.files)} files"))
            stale = {path for path in (present.paths if present else ()) if release_files.limit_of(path) is not None}
            stale -= set(release.files)
            parent = present.parent if present else None
            message = message or f"Publish {release.card.name} {release.card.version}"
            if on_commit:
                on_commit()
            try:
                further = {"parentCommit": onto or parent, "embargo": embargo}
                commit, proposed = self._commit(repository, release.files, stale, message, further)
            except Exception:
                if present is None:
                    self._discard(repository)
                raise
            report(Progress("push", 2, 2, "stored"))
            url, digest = f"{self.registry}/{repository}", release.embedding.digest
            return Receipt(repository, url, plain(commit), digest, seen_as, present is None, plain(proposed))

    def _ask_about(self, repository: str, which: str = "") -> tuple[str, dict[str, Any]]:
        """The newest commit, or another one, empty where none is named; and its paths, with their sizes if asked."""
        said = self._client.ask(f"/api/models/{repository}{which}")
        check_spelling(repository, said.get("id"), self.registry)
        return read_info(said)

    def _find(self, repository: str) -> Present | None:
        """What is in a repository; None where there is none."""
        try:
            said = self._client.ask(f"/api/models/{repository}")
        except StatusError as error:
            if (error.status, error.code) != (404, "RepoNotFound"):
                raise
            return None
        check_spelling(repository, said.get("id"), self.registry)
        commit, paths = read_info(said)
        return Present(set(paths), commit if paths and _COMMIT.fullmatch(commit) else None, visibility.read(said))

    def _create(self, repository: str, visible_to: str) -> str:
        """Make the repository, unless somebody made it meanwhile; returns its visibility, as far as it is stated.

        What a registry made of `visible_to` is looked at before anything is sent: one that knows no gates ignores it.
        """
        namespace, _, name = repository.partition("/")
        send = {"name": name, "organization": namespace, **visibility.WANTED.get(visible_to, {})}
        try:
            seen_as = visibility.read(self._client.ask("/api/repos/create", method="POST", send=send))
        except StatusError as error:
            if error.status != 409:
                raise
            made = self._find(repository)
            visibility.check(repository, wanted=visible_to, found=made.visibility if made else "")
            return made.visibility if made else ""
        if visible_to and seen_as != visible_to:
            self._discard(repository)
            raise client_errors.VisibilityError(
                f"{self.registry} cannot create {visible_to} repositories; nothing was sent",
                f"leave --{visible_to} out, or choose another registry",
            )
        return seen_as

    def _commit(
        self, repository: str, files: Mapping[str, bytes], stale: set[str], message: str, further: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Send what the newest commit does not have yet as one commit; returns the newest one, or where it waits.

        The second is the address of its review, empty where it is published. `further` belongs to the header.
        """
        changed = self._find_changed(repository, files)
        if not changed.keys() & {release_files.EMBEDDING, release_files.CARD}:  # what others attested of it stays
            stale = stale & release_files.LIMITS.keys()
        if not changed and not stale:
            return self._ask_about(repository)[0], ""
        header = {"summary": message, "description": "", **{name: said for name, said in further.items() if said}}
        lines: list[dict[str, Any]] = [{"key": "header", "value": header}]
        for path, data in changed.items():
            content = base64.b64encode(data).decode()
            lines.append({"key": "file", "value": {"content": content, "path": path, "encoding": "base64"}})
        lines += [{"key": "deletedFile", "value": {"path": path}} for path in sorted(stale)]
        body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        answer = self._client.read(
            f"/api/models/{repository}/commit/main", limit=guard.LARGEST_ANSWER, method="POST", body=body,
            content_type="application/x-ndjson",
        )  # fmt: skip
        said = strict_json.loads(answer)
        return str(said["commitOid"]), str((said.get("proposal") or {}).get("url", ""))

    def _find_changed(self, repository: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """The files that the newest commit does not have with these bytes; names and sizes are announced first."""
        announced = [
            {"path": path, "size": len(data), "sample": base64.b64encode(data[:512]).decode()}
            for path, data in files.items()
        ]
        said = self._client.ask(f"/api/models/{repository}/preupload/main", method="POST", send={"files": announced})
        present = {row["path"]: row for row in said["files"]}
        if elsewhere := [path for path in files if present[path].get("uploadMode") != "regular"]:
            raise RegistryError(
                f"{self.registry} wants {elsewhere[0]} by large file storage", "push to an embhub registry"
            )
        return {path: data for path, data in files.items() if present[path].get("oid") != git_id(data)}

    def _discard(self, repository: str) -> None:
        """Take back a repository that was made for a push which was then refused, if it is still empty."""
        with suppress(RegistryError), self._translated(repository):
            present = self._find(repository)
            if not any(release_files.limit_of(path) for path in (present.paths if present else ())):
                namespace, _, name = repository.partition("/")
                send = json.dumps({"name": name, "organization": namespace}).encode()
                self._client.read(
                    "/api/repos/delete", limit=10_000, method="DELETE", body=send, content_type="application/json"
                )

    @_in_time
    def fetch(
        self, repository: str, revision: str | None = None, *, on_progress: OnProgress | None = None
    ) -> tuple[Release, str]:
        """Read the release of one commit into memory.

        Every file is read at the commit that the first answer named. A push in between cannot mix two releases.

        Args:
            repository: `namespace/name`.
            revision: A commit, branch or tag; None for the newest.
            on_progress: Called with each file.

        Returns:
            The release, unverified, and its commit of 40 hex digits.

        Raises:
            UsageError: Not the name of a repository.
            RegistryError: As every method.
        """
        self._check_name(repository)
        report = on_progress or (lambda _progress: None)
        with self._translated(f"{repository}@{revision}" if revision else repository):
            which = f"/revision/{quote(revision or 'main', safe='')}?blobs=true"
            commit, sizes = self._ask_about(repository, which)
            if not _COMMIT.fullmatch(commit):
                raise client_errors.WrongCommitError(f"{self.registry} names no commit for {repository}", _OPERATOR)
            if revision and names.is_commit(revision) and not commit.startswith(revision):
                raise client_errors.another_commit(repository, asked=revision, said=commit)
            paths = release_files.in_order(path for path in sizes if release_files.limit_of(path) is not None)
            release_files.check_count(paths)
            check_sizes({path: sizes[path] for path in paths}, repository)
            files: dict[str, bytes] = {}
            for done, path in enumerate(paths):
                report(Progress("pull", done, len(paths), path))
                files[path] = self._read_file(f"/{repository}/resolve/{commit}/{quote(path)}", path, commit)
            report(Progress("pull", len(paths), len(paths), "fetched"))
        return Release.from_files(files), commit

    @_in_time
    def search(
        self, query: str = "", *, limit: int = 50, facets: Mapping[str, Sequence[str]] | None = None
    ) -> list[Listing]:
        """Find repositories by name, card or tags.

        Args:
            query: Words to search for; empty lists all.
            limit: The most to return, up to 1,000.
            facets: Values that a listing must all have, by facet: `modality`, `anatomy`, `finding`, `base`, `privacy`
                (`none` or `claimed`), `audit`, `confirmation`. Only an embhub registry knows them.

        Returns:
            Unverified listings, newest first.

        Raises:
            RegistryError: As every method.
        """
        asked: dict[str, Any] = {"search": query} if query else {}
        asked |= dict(facets or {})
        parameters = urlencode({**asked, "limit": limit, "sort": "lastModified", "full": True}, doseq=True)
        with self._translated("search"):
            rows = static_list.choose(self._client.ask(f"/api/models?{parameters}"), query, facets or {})
            return [Listing.read(row) for row in rows[:limit]]

    @_in_time
    def trust_export(self) -> bytes:
        """Fetch the registry's trust document (`GET /embhub/v1/trust`).

        Returns:
            Root key and signed keyring as JSON, unverified.

        Raises:
            RegistryError: As every method.
        """
        with self._translated("trust"):
            data = self._client.read("/embhub/v1/trust", limit=4_000_000)
            strict_json.loads(data)  # HTML from some other server is named as what it is, not as a broken signature
            return data

    @_in_time
    def read(self, path: str, *, what: str, limit: int) -> bytes:
        """Fetch the bytes at an address that has no method of its own.

        Args:
            path: The address from the registry's root on, escaped.
            what: What it is about, for messages.
            limit: The most bytes that are taken.

        Returns:
            The answer's bytes, unverified.

        Raises:
            RegistryError: As every method.
        """
        with self._translated(what):
            return self._client.read(path, limit=limit)

    @_in_time
    def call(self, path: str, *, what: str, method: str = "GET", send: Mapping[str, Any] | None = None) -> Any:
        """Ask for an address that has no method of its own.

        Args:
            path: The address from the registry's root on, escaped.
            what: What it is about, for messages.
            method: The method of HTTP.
            send: What is sent along as JSON.

        Returns:
            The answer's JSON, unverified.

        Raises:
            RegistryError: As every method.
        """
        with self._translated(what):
            return self._client.ask(path, method=method, send=send)

    def status(self, repository: str) -> bytes | None:
        """Fetch the yank status of a repository's revisions (`GET /embhub/v1/status/{namespace}/{name}`).

        Args:
            repository: `namespace/name`.

        Returns:
            JSON, unverified, for `embhub.release.checks.yanks`; None where the host keeps no such list.

        Raises:
            UsageError: Not the name of a repository.
            RegistryError: As every method.
        """
        names.check_repository(repository)
        return self.question(f"status/{repository}", what=repository, limit=yanks.MAX_BYTES)

    def statements(self, listed: str, digest: str) -> bytes | None:
        """Fetch the signed statements of one kind about an embedding (`GET /embhub/v1/{listed}/{digest}`).

        Args:
            listed: `audits`, `designs` of registered audits, or `evaluations`.
            digest: SHA-256 of the embedding in hex.

        Returns:
            JSON, unverified, for `embhub.trust.bundle.rows`; None where the host keeps no such list.

        Raises:
            RegistryError: As every method.
        """
        limit = kinds.LISTED[listed].listed.bytes
        return self.question(f"{listed}/{digest}", what=f"{listed} of {digest[:12]}", limit=limit)

    def submit(self, listed: str, digest: str, statement: Mapping[str, Any], *, what: str) -> Any:
        """Send a signed statement about an embedding to its list (`POST /embhub/v1/{listed}/{digest}`).

        Args:
            listed: As for `statements`.
            digest: SHA-256 of the embedding in hex.
            statement: What the list takes: a Sigstore bundle, or a design with its notice.
            what: What it is about, for messages.

        Returns:
            The answer's JSON, unverified.

        Raises:
            RegistryError: As every method.
        """
        return self.call(f"/embhub/v1/{listed}/{digest}", what=what, method="POST", send=statement)

    def question(self, path: str, *, what: str, limit: int) -> bytes | None:
        """Ask for a short answer under `/embhub/v1` that no other host than an embhub registry has.

        Args:
            path: The address from there on, escaped.
            what: What it is about, for messages.
            limit: The most bytes that are taken.

        Returns:
            The answer's bytes, unverified; None where there is no such address.

        Raises:
            RegistryError: As every method.
        """

        def ask() -> bytes | None:
            with self._translated(what):
                try:
                    return self._client.read(f"/embhub/v1/{path}", limit=limit)
                except StatusError as error:
                    if error.status != 404:
                        raise
                    return None

        return within(guard.LONGEST_QUESTION, ask, otherwise=self._late(what, guard.LONGEST_QUESTION))

    def _read_file(self, address: str, path: str, commit: str) -> bytes:
        """One file of a release, at `commit`; what is broken or busy for a moment is asked again."""
        for pause in PAUSES:
            try:
                return self._client.read(address, limit=release_files.limit_of(path) or 0, commit=commit)
            except http_client.TransportError as error:
                remark = type(error).__name__
            except StatusError as error:
                if error.status not in _TRANSIENT:
                    raise
                remark = str(error.status)
            _log.info("%s: %s; asked again in %s s", address, remark, pause)
            time.sleep(pause)  # our own pauses: a registry could ask for a pause of years
        return self._client.read(address, limit=release_files.limit_of(path) or 0, commit=commit)

    def _late(self, what: str, seconds: float) -> RegistryError:
        return client_errors.AnswerTooSlowError(
            f"{self.registry} did not finish with {what} in {seconds:.0f} s",
            "try later; after a push, `embhub show` says whether it was stored",
        )

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn what the client raises into RegistryError with a hint."""
        try:
            with http_client.in_words(self.registry):
                yield
        except EmbhubError:
            raise
        except StatusError as error:
            raise client_errors.from_status(
                error.status, error.code, error.said, registry=self.registry, what=what, anonymous=not self._token
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # answers are read without checking their shape: these are what a nonsense answer raises
            raise client_errors.no_registry(self.registry) from error
