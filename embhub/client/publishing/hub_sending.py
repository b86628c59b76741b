"""Writing to the public Hub with its own client, huggingface_hub, which knows how the Hub takes large files.

The client is given the person's own token of the Hub, and nothing of a registry's. It is imported where it is used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from embhub.client.pulling import public_hub
from embhub.client.wire import visibility
from embhub.client.wire.errors import NotAllowedError, UnreachableError, VisibilityError
from embhub.errors import ConfigError, RegistryError
from embhub.formats.plain_text import plain
from embhub.progress import OnProgress, Progress
from embhub.project import how_to_install
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.site.pins import transport
from embhub.trust import statement
from embhub.version import __version__

_OF_THE_HUB = frozenset({".gitattributes"})


@dataclass(frozen=True)
class Sent:
    """What the Hub stored: its commit, who sees it, and whether the repository was created."""

    commit: str
    visibility: str
    created: bool


def check_installed() -> None:
    """Raises ConfigError where huggingface_hub is not installed."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError("publishing on the Hub needs huggingface_hub", how_to_install("hub"))


def open_account(address: str, token: str | None) -> HubAccount:
    """The account of a token at the Hub.

    Raises:
        ConfigError: no token, or plain http to another machine.
        RegistryError: the Hub does not accept it, or cannot be reached.
    """
    transport.check(address)
    if token is None:
        raise ConfigError(f"there is no token for {address}", "set HF_TOKEN, or run `hf auth login`")
    from huggingface_hub import HfApi

    api = HfApi(endpoint=address, token=token, library_name="embhub", library_version=__version__)
    with _in_words(address):
        return HubAccount(api, address, token, str(api.whoami()["name"]))


class HubAccount:
    """An account of the Hub that may write; `name` is the account's."""

    def __init__(self, api: Any, address: str, token: str, name: str) -> None:
        self._api, self._address, self._token = api, address, token
        self.name = name

    def send(
        self, release: Release, repository: str, *, visible_to: str, on_sent: Callable[[], None],
        on_progress: OnProgress | None = None,
    ) -> Sent:  # fmt: skip
        """Store a release as one commit, and read it back: the Hub has to serve the bytes that were sent.

        Args:
            release: the release. It is sent as it is.
            repository: `OWNER/NAME`.
            visible_to: `public`, `private` or `gated`; one that exists must be so.
            on_sent: called once the Hub stored it, also where reading it back then fails.
            on_progress: called with each step.

        Returns:
            What the Hub stored.

        Raises:
            RegistryError: the Hub refuses or cannot be reached, or the repository holds other things.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        report = on_progress or (lambda _progress: None)
        report(Progress("push", 0, 3, repository))
        with _in_words(self._address):
            present = self._find(repository)
            created = present is None
            if present is None:
                present = self._create(repository, visible_to)
            paths = {row.rfilename for row in present.siblings or []}
            self._check(repository, present, paths, visible_to, created=created)
            if release_files.PUBLISH_BUNDLE in paths:
                self._check_same(release, repository, present.sha)
            report(Progress("push", 1, 3, f"{len(release.files)} files"))
            stale = sorted(paths - release.files.keys() - _OF_THE_HUB)
            operations = [CommitOperationAdd(name, data) for name, data in release.files.items()]
            commit = self._api.create_commit(
                repository, [*operations, *(CommitOperationDelete(name) for name in stale)],
                commit_message=f"Publish {release.card.name} {release.card.version}",
                parent_commit=None if created else present.sha,
            ).oid  # fmt: skip
        on_sent()
        report(Progress("push", 2, 3, "reading it back"))
        try:
            self._read_back(release, repository, commit)
        except RegistryError as error:
            error.message = f"{repository} was stored at {self._address}, and could not be read back: {error.message}"
            raise
        report(Progress("push", 3, 3, "stored"))
        return Sent(commit, visible_to, created)

    def _find(self, repository: str) -> Any | None:
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return self._api.model_info(repository)
        except RepositoryNotFoundError:
            return None

    def _create(self, repository: str, visible_to: str) -> Any:
        """A new repository. It is private until it has its gate, so that nothing is shown before."""
        self._api.create_repo(repository, private=visible_to != "public")
        if visible_to == "gated":
            self._api.update_repo_settings(repository, gated="manual")
            self._api.update_repo_settings(repository, private=False)
        return self._api.model_info(repository)

    def _check(self, repository: str, present: Any, paths: set[str], visible_to: str, *, created: bool) -> None:
        """Nothing is sent to a repository that others see otherwise, or that holds what nobody signed."""
        found = visibility.read({"private": present.private, "gated": present.gated})
        if found == "gated" and present.gated != "manual":
            found = "gated, but lets in everybody who asks"
        if found != visible_to:
            what = "was created" if created else "exists and is"
            raise VisibilityError(
                f"{repository} {what} {found or 'of unknown visibility'} at {self._address}, not {visible_to}: nothing"
                " was sent",
                f"make it {visible_to} on the Hub, pass the option for what it is, or choose another name",
            )
        if others := sorted(name for name in paths - _OF_THE_HUB if release_files.limit_of(name) is None):
            raise RegistryError(
                f"{repository} holds other files at {self._address}, such as {plain(others[0])}: nothing was sent",
                "choose another --to hub:OWNER/NAME; no signature would cover them",
            )

    def _check_same(self, release: Release, repository: str, revision: str) -> None:
        """A repository that holds another release than an earlier version of this one is not written over."""
        held, _ = public_hub.PublicHub(self._address, token=self._token).fetch(repository, revision)
        names = [statement.read_publish(one.publish_bundle.statement).repository for one in (held, release)]
        if names[0] != names[1]:
            raise RegistryError(
                f"{repository} holds {plain(names[0])} at {self._address}, not {names[1]}: nothing was sent",
                "choose another --to hub:OWNER/NAME",
            )

    def _read_back(self, release: Release, repository: str, commit: str) -> None:
        served, _ = public_hub.PublicHub(self._address, token=self._token).fetch(repository, commit)
        for name, data in release.files.items():
            if served.files.get(name) != data:
                raise RegistryError(
                    f"{self._address} serves another {name} of {repository} than was sent",
                    "delete the repository there, and look at what changed it",
                )


@contextmanager
def _in_words(address: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into RegistryError with a hint."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        said = plain(error.server_message or "") or f"status {status}"
        if status in (401, 403):
            raise NotAllowedError(
                f"{address} does not allow it: {said}", "use a token of the Hub that may write there: `hf auth login`"
            ) from error
        raise RegistryError(f"{address} refuses: {said}", "correct what it names, then try again") from error
    except HFValidationError as error:
        raise RegistryError(f"{address} takes no such name: {plain(error)}", "choose another name") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(
            f"{address} returned an invalid answer: {plain(error)}", "is HF_ENDPOINT the address of the Hub?"
        ) from error
    except (httpx.HTTPError, OfflineModeIsEnabled, OSError) as error:
        raise UnreachableError(f"{address} cannot be reached: {plain(error)}", "is HF_ENDPOINT right?") from error
