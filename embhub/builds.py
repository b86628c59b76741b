"""Which build of embhub runs here, by the files of its wheel, and which wheels were released.

A program says this of itself: a changed one can say anything. It tells builds apart where nobody lies, and proves
nothing (docs/reference/privacy-claim.md).
"""

from __future__ import annotations

import csv
import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from embhub.version import __version__

KNOWN: Final[Mapping[str, str]] = {}
"""The digest of each earlier released wheel by its version, as `make dist` wrote it. No wheel can hold its own."""

Kind = Literal["wheel", "changed", "development"]
_PACKAGE = "embhub"


class Installed(NamedTuple):
    """What is installed: `wheel`, as a wheel brought it; `changed` since; or `development`, which no wheel brought.

    `digest` is that of the files as they are now (64 hex digits), None for `development`.
    """

    version: str
    kind: Kind
    digest: str | None


def installed() -> Installed:
    """The build that runs here. Every file of the package is read.

    Returns:
        Its version, kind and digest. The kind is `wheel` where the files are those of RECORD, with its hashes
        (https://packaging.python.org/en/latest/specifications/recording-installed-packages/).

    Raises:
        OSError: a file of the package cannot be read.
    """
    from importlib import metadata  # here, not above: it takes longer to import than most commands need

    package = Path(__file__).parent
    try:
        found = metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        return Installed(__version__, "development", None)
    expected = recorded(found.read_text("RECORD") or "")
    if not expected or Path(str(found.locate_file(_PACKAGE))).resolve() != package.resolve():
        return Installed(__version__, "development", None)
    files = {
        f"{_PACKAGE}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in package.rglob("*")
        if path.is_file()
    }
    actual = {name: _hash(data) for name, data in files.items() if _counts(name)}
    return Installed(__version__, "wheel" if actual == expected else "changed", digest_of(files))


def digest_of(files: Mapping[str, bytes]) -> str:
    """The digest of a build: SHA-256 over a line `SHA256  PATH` for each file of the package, ordered by path.

    Args:
        files: All files of a wheel or an installation by path. What is outside `embhub/` or compiled is left out, so
            that no installer changes the digest.

    Returns:
        64 hex digits.
    """
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files) if _counts(name))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def recorded(text: str) -> dict[str, str]:
    """The files of the package that a RECORD lists, with their hashes as they stand there.

    Args:
        text: The RECORD; any other text lists what it happens to list.

    Returns:
        `sha256=…` by path; empty for an installation for editing, whose files stay where they are.
    """
    return {row[0]: row[1] for row in csv.reader(text.splitlines()) if len(row) == 3 and _counts(row[0])}


def _counts(name: str) -> bool:
    return name.startswith(f"{_PACKAGE}/") and not name.endswith(".pyc")


def _hash(data: bytes) -> str:
    return f"sha256={urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()}"
