"""After a restore: the newest keyring that anybody saw takes the backup's place, with all that was revoked since.

The root signed it, so it needs no ceremony. Without it the next keyring would bring back who was removed meanwhile.
"""

from __future__ import annotations

import json
from pathlib import Path

from embhub.client.log.log_reader import FolderLog
from embhub.errors import EmbhubError, UsageError
from embhub.trust import differences, proposal
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Trust, TrustExport
from embhub_registry.database.people import accounts
from embhub_registry.operation.keyrings import keyring_changes, keyrings_in_log
from embhub_registry.repositories import stolen_keys
from embhub_registry.storage.folder import Registry

EXPORT = "embhub/v1/trust"  # in the folder of an export or a mirror
_NOT_SHOWN = "newest_keyring_not_shown"
_HINT = "give the newest `trust export` that a mirror, an export or `curl URL/embhub/v1/trust` of before has"


class NewestKeyringError(UsageError):
    """What was given is not the newest keyring of this registry."""


def ask_for_it(registry: Registry) -> None:
    """Propose nothing until somebody shows the newest keyring."""
    with registry.database.writing() as db:
        accounts.write_setting(db, _NOT_SHOWN, "yes")


def check_shown(registry: Registry) -> None:
    """Refuse to go on from a backup's keyring.

    Raises:
        UsageError: the registry was restored, and nobody showed the newest keyring.
    """
    if registry.setting(_NOT_SHOWN):
        raise UsageError(
            "this registry was restored, and a keyring that came after the backup may have removed or revoked keys",
            "first `backup recovered --keyring FILE`, with the newest trust export that a mirror or a site has",
        )


def take(registry: Registry, place: Path) -> list[str]:
    """Put the newest keyring in force; what it changes against the backup's, in words.

    Args:
        place: a trust export; or the folder of an export or a mirror, whose log has to hold no later keyring.

    Raises:
        NewestKeyringError: it is not this registry's, its root did not sign it, it is older than the backup's, or the
            log beside it has a later one.
    """
    try:
        export = _read(place)
        opened = _open(registry, export, place)
    except NewestKeyringError:
        raise
    except EmbhubError as error:
        raise NewestKeyringError(f"{place}: {error.message}", error.hint or _HINT) from error
    before = registry.trust().keyring if registry.has_keyring else None
    if opened.digest != registry.trust().digest:
        with registry.database.writing() as db:
            keyring_changes.put_in_force(db, opened.keyring, json.dumps(export.keyring.to_json()).encode())
            keyring_changes.refresh_audits(db, opened.keyring, before=before)
        stolen_keys.catch_up(registry)
    with registry.database.writing() as db:
        accounts.write_setting(db, _NOT_SHOWN, "")
    registry.audit_log.write("keyring-caught-up", keyring=opened.keyring.version)
    return [f"since the backup: {line}" for line in differences.describe(before, opened.keyring)]


def _open(registry: Registry, export: TrustExport, place: Path) -> Trust:
    held = registry.trust() if registry.has_keyring else None
    opened = keyrings.open_export(
        export,
        root_fingerprint=str(registry.setting("root_fingerprint")),
        minimum_version=held.keyring.version if held else 1,
    )
    if opened.registry != registry.setting("url"):
        raise NewestKeyringError(f"{place} is of {opened.registry}", _HINT)
    if opened.passed:
        raise NewestKeyringError(
            f"{place} has another root than the backup", "first `keyring install` the signed proposal of that change"
        )
    if held is not None and opened.digest != held.digest:
        proposal.check_succession(held.keyring, opened.keyring)
    log = place / keyrings_in_log.FOLDER
    if opened.keyring.log_key is not None and (log / "checkpoint").is_file():
        source = FolderLog(log)
        signed = keyrings_in_log.newest_checkpoint(source, opened.keyring.log_key)
        keyrings_in_log.check_last(keyrings_in_log.list_keyrings(source, signed, opened.root_keys), export.keyring)
    return opened


def _read(place: Path) -> TrustExport:
    file = place / EXPORT if place.is_dir() else place
    try:
        with file.open("rb") as stream:
            return keyrings.parse_export(stream.read(keyrings.EXPORT_BYTES + 1))
    except OSError as error:
        raise NewestKeyringError(f"cannot read {file}: {error.strerror}", _HINT) from error
