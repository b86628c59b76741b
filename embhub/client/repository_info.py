"""What a registry says of one repository: its newest commit, its paths, and who sees it. Nothing of it is verified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from embhub.client import errors as client_errors


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
