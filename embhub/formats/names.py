"""What namespaces, repositories and versions may be called: names that are safe in a URL, a path and a log line."""

from __future__ import annotations

import re
import unicodedata

from packaging.version import InvalidVersion, Version

from embhub.errors import UsageError

MAX_NAMESPACE = 39
MAX_REPOSITORY = 96
RESERVED = frozenset(
    re.findall(
        r"\w+",
        "api admin assets auth datasets docs embhub healthz join kernels login logout models new search settings "
        "spaces static tokens trust",
    )
)
_NAMESPACE = re.compile(r"[a-z0-9](?:-?[a-z0-9])*", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,78}[A-Za-z0-9])?", re.ASCII)
_COMMIT_DIGITS = 40
_COMMIT = re.compile(r"[0-9a-f]{7,40}", re.ASCII)
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,39}", re.ASCII)


def namespace_fault(text: str) -> str | None:
    """Why `text` cannot be a namespace, or None."""
    if len(text) > MAX_NAMESPACE or not _NAMESPACE.fullmatch(text):
        return f"{text[:60]!r} is not a namespace: lower-case letters, digits and single hyphens, at most 39"
    if text in RESERVED:
        return f"the namespace {text!r} is reserved"
    return None


def repository_fault(text: str) -> str | None:
    """Why `text` cannot be a repository `namespace/name`, or None. The Hub's rules on names hold too."""
    namespace, slash, name = text.partition("/")
    if not slash or len(text) > MAX_REPOSITORY:
        return f"{text[:60]!r} is not a repository: say namespace/name, at most {MAX_REPOSITORY} characters"
    if not _NAME.fullmatch(name) or ".." in name or "--" in name or name.endswith((".git", ".ipynb")):
        return f"{name[:60]!r} is not a repository name: letters, digits, single '-', '_' or '.' between them"
    return namespace_fault(namespace)


def check_repository(text: str) -> str:
    """`text` itself if it can be a repository's name.

    Raises:
        UsageError: it cannot.
    """
    if fault := repository_fault(text):
        raise UsageError(fault, "for example radboud/prostate-csPCa")
    return text


def namespace_of(repository: str) -> str:
    """The part before the slash."""
    return repository.partition("/")[0]


def version_fault(text: str) -> str | None:
    """Why `text` cannot be a release's version, or None. Versions are ordered as PEP 440 orders them."""
    try:
        Version(text if _VERSION.fullmatch(text) else "")
    except InvalidVersion:
        return f"{text[:60]!r} is not a version: say for example 1.0 or 1.2.3"
    return None


def is_commit(revision: str) -> bool:
    """Whether a revision names a commit: all 40 hex digits, or the first 7 or more, where they can be no version.

    Digits that can be both, as 20261121, are a version. If they were a commit, a registry could answer a request for
    that version with any older release, by giving it such a commit.
    """
    if not _COMMIT.fullmatch(revision):
        return False
    return len(revision) == _COMMIT_DIGITS or version_fault(revision) is not None


def version_order(text: str) -> Version:
    """A value that sorts as the versions do; `text` has no `version_fault`."""
    return Version(text)


def is_another(said: str, known: str) -> bool:
    """Whether the organisation that a text names is another than `known`; case, spaces and a place after it aside."""
    first, second = (" ".join(unicodedata.normalize("NFKC", name).casefold().split()) for name in (said, known))
    return first != second and not first.startswith(f"{second},")
