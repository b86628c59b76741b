"""What may be called what at this server, on top of `embhub.formats.names`: ASCII, so that no two look alike."""

from __future__ import annotations

import re

from embhub.errors import UsageError
from embhub.formats.names import namespace_fault, repository_fault
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people.personal_data import find_in_name

# First segments of our own and the Hub's addresses beyond the core's list: such a namespace could not be reached.
RESERVED_USERS = frozenset({"operator", "anonymous", "server", "shell"})
"""What the audit log calls those who have no account: whoever works at the registry's own machine, and itself."""
RESERVED = frozenset(
    [
        "about",
        "account",
        "bases",
        "buckets",
        "collections",
        "compare",
        "feed.atom",
        "findings",
        "log",
        "operator",
        "login",
        "metrics",
        "oauth",
        "organizations",
        "raw",
        "readyz",
        "resolve",
        "root",
        "tree",
        "trust",
    ]
)
LONGEST_DISPLAY = 100  # as the keyring's schema has it
_USER = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_REF = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/+-]{0,98}[A-Za-z0-9])?")
_SEGMENT = re.compile(r"\.?[A-Za-z0-9](?:[A-Za-z0-9._ -]{0,98}[A-Za-z0-9_-])?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def check_namespace(name: str) -> str:
    """`name` itself; UsageError where an operator may not create such a namespace."""
    fault = f"the namespace {name!r} is reserved" if name in RESERVED else namespace_fault(name)
    if fault:
        raise UsageError(fault, "for example radboud")
    return name


def check_display(name: str) -> str:
    """`name` itself; UsageError where nobody, and no registry, may be shown under it."""
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_DISPLAY:
        raise UsageError(
            f"the display name {name[:40]!a} cannot be shown",
            f"give one line of at most {LONGEST_DISPLAY} printable characters with --name",
        )
    return name


def check_user(name: str) -> str:
    """`name` itself; UsageError where no user may be called that."""
    if name in RESERVED_USERS:
        raise UsageError(f"the user name {name!r} is reserved", "choose another one")
    if not _USER.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a user name", "use lower-case ASCII letters, digits, dots, dashes, underscores"
        )
    return name


def check_repository(namespace: str, name: str) -> str:
    """`namespace/name`; Denied where no repository may be called that."""
    full = f"{namespace}/{name}"
    if fault := repository_fault(full):
        raise RequestDeniedError(400, "name", fault, "for example radboud/prostate-csPCa")
    _check_persons(name, "repository")
    return full


def check_ref(name: str) -> str:
    """`name` itself; Denied where no branch or tag may be called that."""
    if not is_ref(name):
        raise RequestDeniedError(
            400, "name", f"{name!a} is not a name for a branch or tag", "use ASCII letters, digits, . _ - /"
        )
    _check_persons(name, "branch or tag")
    return name


def is_ref(name: str) -> bool:
    """Whether a branch, a tag or a version has a name of this form."""
    is_odd = ".." in name or "//" in name or name.startswith("refs/") or name == "HEAD" or is_commit(name)
    return _REF.fullmatch(name) is not None and not is_odd


def check_path(path: str) -> str:
    """`path` itself; Denied where a repository may hold no such path (traversal, absolute, hidden, not ASCII)."""
    segments = path.split("/")
    if (
        len(path) > 240
        or len(segments) > 6
        or not all(_SEGMENT.fullmatch(s) for s in segments)
        or segments[0] == ".git"
    ):
        raise malformed(
            f"{path[:120]!a} is not a file path of a repository", "use relative ASCII paths like audit.json"
        )
    return path


def _check_persons(name: str, what: str) -> None:
    if kind := find_in_name(name):
        raise RequestDeniedError(
            422, "personal-data", f"the name of the {what} seems to hold {kind}", "call it after what it teaches"
        )


def is_commit(revision: str) -> bool:
    """Whether a revision is a whole commit id."""
    return _COMMIT.fullmatch(revision) is not None
