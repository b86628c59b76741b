"""What an operator's page shows of a registry: health, log, keys, notifications, storage. Nothing is changed by it.

The figures are those of `/metrics`, `quota show` and `show`; nothing is measured a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from embhub.errors import EmbhubError
from embhub.formats import instants
from embhub_registry.admission import quarantining
from embhub_registry.database.logs import outbox
from embhub_registry.database.releases import usage
from embhub_registry.operation.facts import overview
from embhub_registry.operation.facts.registry_facts import Facts
from embhub_registry.people import notifications
from embhub_registry.storage import quotas
from embhub_registry.storage.folder import Registry


@dataclass(frozen=True)
class Storage:
    """What a namespace holds. `objects` are distinct files; of each kind of quota, `used` and `allowed` (or None)."""

    namespace: str
    objects: int
    used: Mapping[str, int]
    allowed: Mapping[str, int | None]

    def is_nearly_full(self, kind: str) -> bool:
        """Whether nine tenths of a limit are used, as the alert counts it."""
        limit = self.allowed[kind]
        return limit is not None and self.used[kind] >= 0.9 * limit


@dataclass(frozen=True)
class OperatorFacts:
    """Everything on the page. Moments are None where there is none: no backup, no keyring, nothing signed."""

    software: str
    keyring_version: int | None
    keyring_issued: str | None
    keyring_ends: str | None
    timestamp_ends: str | None
    certificate_ends: str | None
    checkpoint: str | None
    backup: str | None
    disk_free: int
    disk_size: int
    log_entries: int
    log_pending: int
    witnesses: int
    witnesses_behind: int
    totals: Mapping[str, int]
    webhooks_on: bool
    mail_on: bool
    waiting: int
    failed: int
    webhooks_disabled: int
    quarantined: int
    storage: tuple[Storage, ...]


def collect(registry: Registry) -> OperatorFacts:
    """The facts as they are now. It reads every namespace's usage, so it takes longer on a large registry."""
    db = registry.database.connection()
    said = {name: value for name, labels, value in Facts().read(registry, {}) if not labels}
    shown = _overview(registry)

    def number(name: str) -> int:
        return int(said.get(f"embhub_{name}", 0))

    def moment(name: str) -> str | None:
        return _moment(said.get(f"embhub_{name}_timestamp_seconds"))

    return OperatorFacts(
        software=str(shown.get("software", "")), keyring_version=shown.get("keyring_version"),
        keyring_issued=shown.get("keyring_issued"), keyring_ends=moment("keyring_expiry"),
        timestamp_ends=moment("timestamp_expiry"), certificate_ends=moment("certificate_expiry"),
        checkpoint=moment("log_head"), backup=moment("backup"), disk_free=number("disk_free_bytes"),
        disk_size=number("disk_size_bytes"), log_entries=number("log_entries"),
        log_pending=number("log_pending_entries"), witnesses=number("log_witnesses"),
        witnesses_behind=number("log_witnesses_behind"), totals=usage.totals(db),
        webhooks_on=notifications.webhooks_are_on(db), mail_on=notifications.mail_is_on(db),
        waiting=outbox.count_waiting(db), failed=outbox.count_failed(db),
        webhooks_disabled=outbox.count_disabled_webhooks(db),
        quarantined=len({(row["repository"], row["digest"]) for row in quarantining.list_all(registry)["quarantined"]}),
        storage=tuple(_storage(registry, row) for row in quotas.list_all(registry)["namespaces"]),
    )  # fmt: skip


def _overview(registry: Registry) -> dict[str, Any]:
    try:
        return overview.describe(registry)
    except EmbhubError:  # a keyring that cannot be read is for `check` to name
        return {}


def _storage(registry: Registry, row: Mapping[str, Any]) -> Storage:
    objects = usage.measure(registry.database.connection(), row["namespace"], "objects")
    used = {kind: row[kind]["used"] for kind in quotas.KINDS}
    return Storage(row["namespace"], objects, used, {kind: row[kind]["allowed"] for kind in quotas.KINDS})


def _moment(seconds: float | None) -> str | None:
    return instants.write(datetime.fromtimestamp(seconds, UTC)) if seconds else None
