"""The newest keyring that root keys signed, or a person confirmed, on this machine: `state/signed-keyrings.json`.

One for each registry and root. Whoever signs compares with it, not with what the file to be signed says is in force.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError
from embhub.formats import strict_json
from embhub.refusals import ReleaseRefusedError
from embhub.site import config
from embhub.trust import multisig
from embhub.trust.keyring import KEYRING_TYPE, parse_keyring
from embhub.trust.keyring_review import Remembered
from embhub.trust.multisig import SignedDocument
from embhub.trust.origin import origin_of

_SCHEMA = "embhub.signed-keyrings/1"
_LIMIT = 64_000_000


def recall(registry: str, roots: Iterable[str]) -> Remembered | None:
    """What is remembered of a registry under one of these roots: of several the keyring of the highest version.

    Args:
        registry: its address, as its keyring names it. Its host name counts: statements name no more of it.
        roots: their fingerprints; two where the root changes.

    Raises:
        ConfigError: the memory is damaged, or another user of this machine may write it.
    """
    rows = _read()
    found = [rows[place] for root in roots if (place := _place(registry, root)) in rows]
    return max(found, key=lambda one: one.keyring.version, default=None)


def recall_any(registry: str) -> Remembered | None:
    """As `recall`, under whichever root."""
    found = [one for place, one in _read().items() if place.startswith(_place(registry, ""))]
    return max(found, key=lambda one: one.keyring.version, default=None)


def remember(registry: str, roots: Iterable[str], known: Remembered) -> None:
    """Keep a keyring in place of the one before, under each of these roots; on the disk when this returns.

    Raises:
        ConfigError: as `recall`; or it cannot be written.
    """
    path = _path()
    with locked(path):
        rows = _read() | {_place(registry, root): known for root in roots}
        listed = {
            place: {"newest": one.newest.to_json(), "before": one.before.to_json() if one.before else None}
            for place, one in rows.items()
        }
        document = {"schema": _SCHEMA, "keyrings": listed}
        write_atomic(path, json.dumps(document, indent=1, sort_keys=True).encode(), mode=0o600)


def _place(registry: str, root: str) -> str:
    return f"{origin_of(registry)} {root}"


def _path() -> Path:
    return config.paths().state / "signed-keyrings.json"


def _read() -> dict[str, Remembered]:
    path = _path()
    try:
        for place in (path, path.parent):
            mode = stat.S_IMODE(place.stat().st_mode)
            if mode & stat.S_IWOTH:
                raise ConfigError(
                    f"{place} can be written by other users of this machine (mode {mode:04o}): anybody may have changed"
                    " which keyring was signed last",
                    f"compare the newest keyring with your binder; then: chmod o-w {place}",
                )
        with path.open("rb") as stream:
            document = strict_json.read_object(stream.read(_LIMIT + 1), limit=_LIMIT)
        if document["schema"] != _SCHEMA:
            raise strict_json.JsonError(f"not {_SCHEMA}")
        return {str(place): _entry(str(place), row) for place, row in document["keyrings"].items()}
    except FileNotFoundError:
        return {}
    except (strict_json.JsonError, ReleaseRefusedError, KeyError, TypeError, ValueError, AttributeError) as error:
        # never start afresh in silence: a memory that is lost is what a thief of the registry's disk needs
        raise _unreadable(path, str(error)) from error
    except OSError as error:
        raise _unreadable(path, error.strerror or "") from error


def _entry(place: str, row: Any) -> Remembered:
    newest = _document(row["newest"])
    before = _document(row["before"]) if row["before"] is not None else None
    if not place.startswith(_place(parse_keyring(newest.payload).registry, "")):
        raise ValueError("a keyring is under the name of another registry")
    return Remembered(newest, before)


def _document(row: Any) -> SignedDocument:
    return multisig.parse(row, payload_type=KEYRING_TYPE, unsigned=True)


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"the memory of keyrings that were signed here is damaged: {path}: {why}",
        "restore it from a backup; or remove it, and have the newest keyring's fingerprint ready from your binder",
    )
