"""What a registry says of one repository: its newest commit, its paths, and who sees it. Nothing of it is verified."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from embhub.client.wire import errors as client_errors
from embhub.release import files as release_files


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
