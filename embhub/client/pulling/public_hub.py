"""The public Hugging Face Hub as a place to read from: its address, the reader's own token there, and a client.

Everything on it is hostile input: anybody may publish there under any name. Sizes are bounded before and while a file
is read. The Hub's token and a registry's token are never sent to the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from embhub.client.pulling.received import HUB
from embhub.client.wire.errors import NotAllowedError, NotFoundError, UnreachableError
from embhub.client.wire.http_client import RegistryClient
from embhub.client.wire.hub import Hub
from embhub.errors import ConfigError, UsageError
from embhub.site import config

PREFIX = HUB
ADDRESS = "https://huggingface.co"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,98}[A-Za-z0-9])?", re.ASCII)
_TRUE = ("1", "ON", "YES", "TRUE")


class Place(NamedTuple):
    """A repository of the Hub, and a commit, tag or branch of it; `revision` is empty for the newest commit."""

    repository: str
    revision: str

    def __str__(self) -> str:
        return PREFIX + self.repository + (f"@{self.revision}" if self.revision else "")


def is_reference(text: str) -> bool:
    """Whether a reference names a repository of the public Hub: `hub:OWNER/NAME[@REVISION]`."""
    return text.startswith(PREFIX)


def parse(reference: str) -> Place:
    """What `hub:OWNER/NAME[@REVISION]` names.

    Raises:
        UsageError: it is no such reference.
    """
    repository, at, revision = reference.removeprefix(PREFIX).partition("@")
    check_name(repository)
    if at and (not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision):
        raise UsageError(f"{revision[:60]!a} is no revision of the Hub", "name a commit, a tag or a branch")
    return Place(repository, revision)


def check_name(text: str) -> str:
    """`text` itself if the Hub may have a model repository of this name.

    Raises:
        UsageError: it cannot.
    """
    parts = text.split("/")
    if len(parts) != 2 or not all(map(_NAME.fullmatch, parts)) or "--" in text or ".." in text:
        raise UsageError(f"{text[:100]!a} is no repository of the Hub", "say OWNER/NAME, such as radboudumc/prostate")
    return text


def endpoint() -> str:
    """The Hub's address: HF_ENDPOINT, else huggingface.co.

    Raises:
        ConfigError: HF_ENDPOINT is not the address of a host.
    """
    address = config.check_registry(config.variable("HF_ENDPOINT") or ADDRESS)
    if config.folder_of(address) is not None:
        raise ConfigError("HF_ENDPOINT is not the address of a host", f"unset it, or give one such as {ADDRESS}")
    return address


def token() -> str | None:
    """The person's own token for the Hub, where its programs look for it: HF_TOKEN, else the file of `hf auth login`.

    Raises:
        ConfigError: it is not one word of ASCII text, or is a registry's; or as `endpoint`.
    """
    found = config.variable("HF_TOKEN") or config.variable("HUGGING_FACE_HUB_TOKEN")
    if found is None:
        home = config.variable("HF_HOME") or "~/.cache/huggingface"
        try:
            file = Path(config.variable("HF_TOKEN_PATH") or f"{home}/token").expanduser()
            found = file.read_text()[:1_000].strip()
        except (OSError, ValueError, RuntimeError):  # the last one: there is no such home
            return None
    return _check_token(found) if found else None


def _check_token(found: str) -> str:
    """Programs of the Hub that are set up for a registry have its token in HF_TOKEN; the Hub must not get it."""
    try:
        found = config.check_token(found)
    except ConfigError as error:
        error.message = "the Hub's token (HF_TOKEN) is not one word of ASCII text"
        raise
    kept = [config.variable("EMBHUB_TOKEN"), *map(config.token_for, config.registries_logged_in())]
    if found in kept or (found.startswith("hf_emb_") and endpoint() == ADDRESS):
        raise ConfigError(
            "HF_TOKEN holds a registry's token: nothing was sent to the Hub", "set HF_TOKEN to your token of the Hub"
        )
    return found


def open_hub() -> PublicHub:
    """A client of the Hub with the person's own token; one for nobody where HF_HUB_DISABLE_IMPLICIT_TOKEN is set.

    Raises:
        ConfigError: as `endpoint` and `token`; or plain http to another machine.
    """
    implicit = (config.variable("HF_HUB_DISABLE_IMPLICIT_TOKEN") or "").upper() not in _TRUE
    return PublicHub(endpoint(), token=token() if implicit else None)


class PublicHub(Hub):
    """A client of the public Hub. It takes the Hub's names, and follows a file to the hosts on which the Hub keeps it.

    Such a host is asked by https and without the token.
    """

    _check_name = staticmethod(check_name)

    def __init__(self, registry: str, *, token: str | None = None) -> None:
        super().__init__(registry, token=token)
        self._client = RegistryClient(self.registry, token, files_elsewhere=True)


@contextmanager
def in_words(place: Place) -> Iterator[None]:
    """Say what to do at the Hub, where a refusal would name commands for a registry."""
    try:
        yield
    except NotAllowedError as error:
        error.hint = f"{place} may not exist, or be private or gated: set HF_TOKEN or run `hf auth login`"
        raise
    except NotFoundError as error:
        error.hint = "look at its page on the Hub; where HF_ENDPOINT is set, is it the Hub's address?"
        raise
    except UnreachableError as error:
        error.hint = "is this machine online, and HF_ENDPOINT, where it is set, the Hub's address?"
        raise
