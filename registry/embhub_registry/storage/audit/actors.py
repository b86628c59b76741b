"""Who acts, and from where: what every line of the audit log says of itself.

A command is its operating-system user's, from the shell. A request is its account's, from the address that the server
sees: the caller's, where a trusted proxy forwards it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

ANONYMOUS = "anonymous"
SHELL = "shell"


@dataclass
class Actor:
    """`name` is an account, a user of the system, or `server`; a request's is known once its token was looked at."""

    name: str
    address: str


_present: ContextVar[Actor | None] = ContextVar("who acts", default=None)


@contextmanager
def acting(actor: Actor) -> Iterator[Actor]:
    """What is written within this block is this actor's; threads that starlette starts for it included."""
    before = _present.set(actor)
    try:
        yield actor
    finally:
        _present.reset(before)


def present() -> Actor:
    """Who acts now: where nobody said, the user of the operating system, from the shell."""
    return _present.get() or Actor(_user_of_the_system(), SHELL)


def name_present(name: str) -> None:
    """Say whose request this is, once that is known."""
    if (actor := _present.get()) is not None:
        actor.name = name


def _user_of_the_system() -> str:
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container with a number alone
        name = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER", "")  # a claim of the caller's environment, and named as such
    return f"{name} (sudo: {behind[:64]})" if behind and behind.isprintable() and behind != name else name
