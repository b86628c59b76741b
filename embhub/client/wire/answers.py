"""What a registry says of an account, and of a repository: its newest commit, its paths, and who sees it. Nothing of it
is verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from embhub.client.wire import errors as client_errors
from embhub.formats.plain_text import plain
from embhub.release import files as release_files

_PUBLISH = ("publisher", "write", "admin")  # the last two on the public Hub


@dataclass(frozen=True)
class Account:
    """The account of an access token.

    Attributes:
        name: Name of the account.
        namespaces: Namespaces that it belongs to, sorted.
        roles: Its role in each of them, as the registry calls it.
        publishes: Those of its namespaces in which it may publish.
    """

    name: str
    namespaces: tuple[str, ...]
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def publishes(self) -> tuple[str, ...]:
        """Those of its namespaces in which it may publish."""
        return tuple(name for name in self.namespaces if self.roles.get(name) in _PUBLISH)

    def in_words(self) -> str:
        """Each namespace with its role."""
        return ", ".join(f"{name} ({self.roles[name]})" if name in self.roles else name for name in self.namespaces)

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Account:
        """Read what `/api/whoami-v2` answered.

        Args:
            answer: The answer, as the registry wrote it.

        Returns:
            The account; a role that a registry states beside the Hub's own is taken before it.
        """
        orgs = answer.get("orgs") or []
        roles = {plain(org["name"]): plain(org.get("role") or org.get("roleInOrg") or "") for org in orgs}
        return cls(plain(answer["name"]), tuple(sorted(roles)), dict(sorted(roles.items())))


class Present(NamedTuple):
    """A repository that is there: its paths, the commit to build on, and who sees it."""

    paths: set[str]
    parent: str | None
    visibility: str


def check_spelling(asked: str, said: object, registry: str) -> None:
    """A registry finds names in another case too. What is signed is signed for one spelling."""
    if isinstance(said, str) and said.isascii() and said != asked and said.lower() == asked.lower():
        raise client_errors.NotFoundError(
            f"{registry} has no {asked}, it has {said}", f"use the other spelling: {said}"
        )


def read_info(said: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The commit that a registry names, empty where it names none; and its paths with their sizes, if stated."""
    return said.get("sha") or "", {row["rfilename"]: row.get("size") for row in said.get("siblings") or []}


def check_sizes(sizes: Mapping[str, int | None], repository: str) -> None:
    """Refuse before the first byte is read; an answer that lies about its size meets the limit of the stream."""
    for name, size in sizes.items():
        limit = release_files.limit_of(name) or 0
        if size is not None and size > limit:
            raise client_errors.too_large(f"{name} of {repository}", announced=size, limit=limit)


def git_id(data: bytes) -> str:
    """The name that git gives to these bytes, by which a registry says what it has."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
