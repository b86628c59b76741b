"""An error as JSON, for a program that called with `--json`: one document on stdout, as a result would be.

    {"error": {"type": "UsageError", "message": "…", "hint": "…", "exit_code": 2}}

A release that was refused also lists its checks, under `findings`. Words for people go to stderr as always.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from embhub.cli.output import print_json

if TYPE_CHECKING:
    from embhub.errors import EmbhubError


def wanted(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; what stands after `--` is no option."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


def print_error(error: EmbhubError) -> None:
    """The error, and of a refused release every check up to the one that failed."""
    _print({**_refusal(error), **_document(type(error).__name__, error.message, error.hint, error.exit_code)})


def print_other(kind: str, message: str, exit_code: int) -> None:
    """What is no error of embhub's own: a wrong option, an interruption."""
    _print(_document(kind, message, "", exit_code))


def _print(document: dict[str, Any]) -> None:
    with suppress(OSError):  # stderr has said it, and the error may be that stdout takes nothing more
        print_json(document)


def _document(kind: str, message: str, hint: str, exit_code: int) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, "hint": hint, "exit_code": exit_code}}


def _refusal(error: EmbhubError) -> dict[str, Any]:
    from embhub.refusals import ReleaseRefusedError
    from embhub.release.demands import PolicyRefusedError

    if not isinstance(error, ReleaseRefusedError | PolicyRefusedError):
        return {}
    unmet = {"unmet": list(error.unmet)} if isinstance(error, PolicyRefusedError) else {}
    said = {"verified": False, "rule": error.rule, "message": error.message, "hint": error.hint}
    return {**said, **unmet, "findings": [asdict(finding) for finding in error.findings]}
