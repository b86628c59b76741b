"""Who sees a repository: what a push asks for when it creates one, and what a registry says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embhub.client.wire.errors import VisibilityError
from embhub.errors import UsageError

WANTED: Mapping[str, Mapping[str, Any]] = {
    "private": {"private": True},
    "gated": {"private": False, "gated": "manual"},
}
"""What is sent for each visibility that a push can ask for."""


def choose(*, private: bool, gated: bool, dry_run: bool) -> str:
    """The visibility that was asked for; empty where the registry's default is to hold.

    Raises:
        UsageError: both, or with a dry run, which creates nothing.
    """
    if private and gated:
        raise UsageError("--private and --gated exclude each other", "pass one of them")
    if dry_run and (private or gated):
        raise UsageError(
            "--private and --gated say how a registry creates a repository; --dry-run asks none",
            "pass them to the later `embhub push --from`",
        )
    return "private" if private else "gated" if gated else ""


def read(said: Mapping[str, Any]) -> str:
    """`public`, `private` or `gated`, as a registry states it; empty where it does not."""
    if not isinstance(said.get("private"), bool):
        return ""
    if said["private"]:
        return "private"
    return "gated" if said.get("gated") else "public"


def check(repository: str, *, wanted: str, found: str) -> None:
    """Refuse to send to a repository that others see otherwise than was asked for.

    Raises:
        VisibilityError: it is not what was asked for.
    """
    if wanted and found != wanted:
        raise VisibilityError(
            f"{repository} exists already and is {found or 'of unknown visibility'}; --{wanted} counts only when a push"
            " creates it. Nothing was sent",
            f"leave --{wanted} out, choose another name, or ask the registry's operator to change it",
        )


def in_words(repository: str, visibility: str, *, waits: bool) -> str:
    """What a new repository is to others, and what its publisher can do about it; `waits`: for an approval."""
    namespace = repository.partition("/")[0]
    if waits:
        return f"{repository} was created {visibility}: nobody can download it before the release is approved"
    match visibility:
        case "private":
            who = f"only members of {namespace} and the registry's operator see it"
        case "gated":
            who = f"its card is shown, its files to accounts that you let in: embhub curate access list {repository}"
        case _:
            who = "everybody who can read the registry can download it"
    return f"{repository} was created {visibility}: {who}"
