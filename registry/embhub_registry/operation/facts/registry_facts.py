"""What `/metrics` says of the registry as a whole: totals, disk, log, quotas, and what will end.

Moments are seconds since 1970, as is the custom: `time() - moment` is an age, `moment - time()` what is left. Nothing
names a namespace, a repository or a person.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from cryptography import x509

from embhub.errors import EmbhubError
from embhub.trust import timestamp as stamping
from embhub_registry.database import DatabaseUnavailableError
from embhub_registry.database.logs import log_rows
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import usage
from embhub_registry.storage import configuration, quotas
from embhub_registry.storage.folder import Registry

BACKED_UP = "backup.finished"  # a row among the settings: when the last backup was complete
SLOW_SECONDS = 60.0  # for which what takes many reads is kept
NEARLY_FULL = 0.9
Sample = tuple[str, dict[str, str], float]

FACTS = {
    "embhub_objects": "Stored objects",
    "embhub_bytes": "Bytes of stored objects",
    "embhub_repositories": "Repositories, private ones included",
    "embhub_releases": "Commits that published a release",
    "embhub_yanked": "Versions and commits that were yanked",
    "embhub_deleted": "Names of deleted repositories",
    "embhub_accounts": "Accounts that are not disabled",
    "embhub_tokens": "Tokens that were not revoked",
    "embhub_disk_free_bytes": "Free bytes on the registry's disk",
    "embhub_disk_size_bytes": "Size of the registry's disk",
    "embhub_audit_lines": "Lines of the audit log so far",
    "embhub_log_entries": "Entries of the transparency log, signed or not",
    "embhub_log_pending_entries": "Entries that no checkpoint covers yet",
    "embhub_log_head_timestamp_seconds": "When the newest checkpoint was written",
    "embhub_log_witnesses": "Witnesses that are asked to cosign",
    "embhub_log_witnesses_behind": "Witnesses that have not cosigned the newest checkpoint",
    "embhub_backup_timestamp_seconds": "When the last backup was complete; 0 before the first",
    "embhub_keyring_expiry_timestamp_seconds": "When the signed keyring ends",
    "embhub_timestamp_expiry_timestamp_seconds": "When the newest signed timestamp ends",
    "embhub_certificate_expiry_timestamp_seconds": "When the proxy's TLS certificate ends (setting certificate.file)",
    "embhub_quota_highest_used_ratio": "Of all namespaces, the one nearest to its limit: the part that is used",
    "embhub_quota_namespaces_nearly_full": "Namespaces that use nine tenths of a limit or more",
}

HANGS = "does not answer"
"""What readiness says of a database that did not answer in time."""


class Facts:
    """Reads them; what takes many reads is kept for a minute."""

    def __init__(self) -> None:
        self._slow: tuple[float, list[Sample]] | None = None

    def read(self, registry: Registry, checks: Mapping[str, str]) -> Iterator[Sample]:
        """Every fact that can be known now: without its database, a registry still has a disk."""
        disk = shutil.disk_usage(registry.folder)
        yield "embhub_disk_free_bytes", {}, disk.free
        yield "embhub_disk_size_bytes", {}, disk.total
        if checks.get("database", "ok") == HANGS:
            return
        try:
            found = [*self._totals(registry), *self._slow_facts(registry)]
        except DatabaseUnavailableError:
            return
        yield from found

    def _totals(self, registry: Registry) -> Iterator[Sample]:
        db = registry.database.connection()
        for name, value in usage.totals(db).items():
            yield f"embhub_{name}", {}, value
        yield "embhub_audit_lines", {}, registry.audit_log.head().number
        newest, size = log_rows.newest(db), log_rows.size(db)
        yield "embhub_log_entries", {}, size
        yield "embhub_log_pending_entries", {}, size - (newest.size if newest else 0)
        witnesses = log_rows.witnesses(db)
        yield "embhub_log_witnesses", {}, len(witnesses)
        behind = sum(witness.seen < newest.size for witness in witnesses) if newest else 0
        yield "embhub_log_witnesses_behind", {}, behind
        state = registry.private_keys.log_state
        if state.exists():
            yield "embhub_log_head_timestamp_seconds", {}, state.stat().st_mtime
        backed_up = accounts.read_setting(db, BACKED_UP)
        yield "embhub_backup_timestamp_seconds", {}, _moment(backed_up) if backed_up else 0.0

    def _slow_facts(self, registry: Registry) -> list[Sample]:
        if self._slow is None or time.monotonic() - self._slow[0] > SLOW_SECONDS:
            self._slow = (time.monotonic(), [*_ends(registry), *_quotas(registry)])
        return self._slow[1]


def _ends(registry: Registry) -> Iterator[Sample]:
    db = registry.database.connection()
    if registry.has_keyring:
        try:
            export = registry.export()
            yield "embhub_keyring_expiry_timestamp_seconds", {}, _moment(export.claimed.expires)
            key = export.claimed.online_key("timestamp")
            if export.timestamp is not None and key is not None:
                stated = stamping.parse(export.timestamp, public_key=key)
                yield "embhub_timestamp_expiry_timestamp_seconds", {}, _moment(stated.expires)
        except DatabaseUnavailableError:
            raise
        except EmbhubError:  # a keyring that cannot be read is for `check` to name
            pass
    if file := configuration.word(db, "certificate.file"):
        try:
            chain = x509.load_pem_x509_certificates(Path(file).read_bytes())
        except (OSError, ValueError):  # the alert on a missing series names it
            return
        ends = min(certificate.not_valid_after_utc for certificate in chain)
        yield "embhub_certificate_expiry_timestamp_seconds", {}, ends.timestamp()


def _quotas(registry: Registry) -> Iterator[Sample]:
    highest, nearly = dict.fromkeys(quotas.KINDS, 0.0), dict.fromkeys(quotas.KINDS, 0)
    for row in quotas.list_all(registry)["namespaces"]:
        for kind in quotas.KINDS:
            used, allowed = row[kind]["used"], row[kind]["allowed"]
            if allowed is None:
                continue
            part = used / allowed if allowed else float(used > 0)
            highest[kind] = max(highest[kind], part)
            nearly[kind] += part >= NEARLY_FULL
    for kind in quotas.KINDS:
        yield "embhub_quota_highest_used_ratio", {"kind": kind}, highest[kind]
        yield "embhub_quota_namespaces_nearly_full", {"kind": kind}, nearly[kind]


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
