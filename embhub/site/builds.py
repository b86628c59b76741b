"""Which build of embhub runs here, by the files of its wheel, and which wheels were released.

A program says this of itself: a changed one can say anything. It tells builds apart where nobody lies, and proves
nothing (docs/reference/privacy-claim.md).
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
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

    `digest` is that of the files as they are now and can be read (64 hex digits), None for `development`.
    """

    version: str
    kind: Kind
    digest: str | None


def installed() -> Installed:
    """The build that runs here. Every file of the package is read; what cannot be read counts as changed.

    Returns:
        Its version, kind and digest. The kind is `wheel` where the files are those of RECORD, with its hashes
        (https://packaging.python.org/en/latest/specifications/recording-installed-packages/), and `development`
        where no RECORD lists the files that run: an installation for editing has one that lists none of them.
    """
    package = Path(__file__).parents[1]
    if not (expected := _recorded_of(package)):
        return Installed(__version__, "development", None)
    files = _read(package)
    actual = {name: _hash(data) for name, data in files.items()}
    return Installed(__version__, "wheel" if actual == expected else "changed", digest_of(files))


def digest_of(files: Mapping[str, bytes]) -> str:
    """The digest of a build: SHA-256 over a line `SHA256  PATH` for each file of the package, ordered by path.

    Args:
        files: All files of a wheel or an installation by path. What is outside `embhub/`, or in a `__pycache__`, is
            left out, so that no installer changes the digest.

    Returns:
        64 hex digits.
    """
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files) if _counts(name))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def recorded(text: str) -> dict[str, str]:
    """The files of the package that a RECORD lists, with their hashes as they stand there.

    Args:
        text: The RECORD; any other text lists what it happens to list.

    Returns:
        `sha256=…` by path; empty for an installation for editing, whose files stay where they are.

    Raises:
        csv.Error: a field of more than 131,072 characters.
    """
    return {row[0]: row[1] for row in csv.reader(text.splitlines()) if len(row) == 3 and _counts(row[0])}


def _recorded_of(package: Path) -> dict[str, str]:
    """What a readable RECORD lists of the package in this folder; nothing where that of another copy is installed."""
    from importlib import metadata  # here, not above: it takes longer to import than most commands need

    try:
        found = metadata.distribution(_PACKAGE)
        listed = recorded(found.read_text("RECORD") or "")
    except (metadata.PackageNotFoundError, OSError, ValueError, csv.Error):
        return {}
    return listed if os.path.realpath(str(found.locate_file(_PACKAGE))) == os.path.realpath(package) else {}


def _read(package: Path) -> dict[str, bytes]:
    """The files of a package that count and can be read. No bad disk ends a training because of them."""
    files = {}
    for folder, _, names in os.walk(package):
        for path in (Path(folder) / name for name in names):
            name = f"{_PACKAGE}/{path.relative_to(package).as_posix()}"
            with contextlib.suppress(OSError):
                if _counts(name) and path.is_file():
                    files[name] = path.read_bytes()
    return files


def _counts(name: str) -> bool:
    return name.startswith(f"{_PACKAGE}/") and "/__pycache__/" not in name


def _hash(data: bytes) -> str:
    return f"sha256={urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()}"
