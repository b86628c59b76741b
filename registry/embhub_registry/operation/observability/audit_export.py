"""Reading the audit log: export, head, verification."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from embhub.errors import UsageError
from embhub_registry.operation.observability import audit_following
from embhub_registry.operation.observability.syslog import Sender
from embhub_registry.storage.folder import Registry


def export(registry: Registry, *, since: int = 1) -> Iterator[str]:
    """The sealed lines from number `since` on."""
    return audit_following.follow(registry, since=since, until=lambda: True)


def pass_on(
    registry: Registry, write: Callable[[str], object], *, since: int, following: bool, syslog: str | None,
    position: Path | None,
) -> None:  # fmt: skip
    """Hand lines to `write`, or to a syslog server; with `following` those to come too, without end.

    `position` keeps up to where, and the next call starts after it. It is written once lines were handed over: after a
    crash the last ones may come twice, and none is left out.

    Raises:
        UsageError: no address of a syslog server, or no position. ConfigError: the server takes no message, or the
        position cannot be kept.
    """
    sender = Sender(syslog) if syslog else None
    reached = audit_following.Position(position)
    start = max(since, audit_following.read_position(position)) if position else since

    def idle() -> bool:
        reached.keep()
        return not following

    try:
        for line in audit_following.follow(registry, since=start, until=idle):
            (sender.send if sender else write)(line)
            reached.reached(audit_following.number_of(line))
    finally:
        reached.keep()
        if sender:
            sender.close()


def head(registry: Registry) -> dict[str, Any]:
    """Number and digest of the last line; `head` is both in one word, as `verify` takes it."""
    found = registry.audit_log.head()
    return {"head": f"{found.number}:{found.digest}", "number": found.number, "digest": found.digest}


def verify(registry: Registry, *, known: str | None = None) -> dict[str, Any]:
    """What is wrong with the chain, and whether a head that was written down is still in it.

    Raises:
        UsageError: `known` is not NUMBER:DIGEST.
    """
    problems = registry.audit_log.problems(known=None if known is None else _parse(known))
    unsealed = registry.audit_log.unsealed()
    return {
        "whole": not problems,
        "problems": problems,
        "number": registry.audit_log.head().number,
        "unsealed": unsealed,
    }


def _parse(text: str) -> tuple[int, str]:
    number, _, digest = text.partition(":")
    if not number.isdigit() or len(digest) != 64:
        raise UsageError(f"{text!r} is not the head of an audit log", "give what `audit head` printed")
    return int(number), digest
