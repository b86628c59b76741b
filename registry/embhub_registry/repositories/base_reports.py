"""Reports on bases: what is taken, and what is shown. Of each namespace the newest counts.

A report is on a base that its makers published, so whoever may read the registry may read all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from embhub.formats import instants
from embhub.refusals import ReleaseRefusedError
from embhub.release.checks import base_report
from embhub.release.checks.base_report import Reported
from embhub.trust import bundle, kinds
from embhub.trust.keyring import Trust
from embhub_registry.database import Connection
from embhub_registry.database.clock import now
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.statements import base_report_rows
from embhub_registry.database.statements.base_report_rows import BaseReportRow
from embhub_registry.http_errors import RequestDeniedError, key_out_of_use, statement_refusals
from embhub_registry.people import auth
from embhub_registry.storage import log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log

MOST = kinds.BASE_REPORT.listed.most
MOST_BASES, MOST_REPLACED = 100, 20
"""Of one namespace: bases with a report, and how often each report is replaced: every one taken is a log entry."""
SHOWN = 500
"""Reports that are verified for the page."""
SLACK = timedelta(hours=1)
_NAME = kinds.BASE_REPORT.listed.name


def answer(registry: Registry, _: Account | None, base: str) -> dict[str, Any]:
    """The reports on the base with this fingerprint."""
    return {"base": base, _NAME: to_json(base_report_rows.of(registry.database.connection(), base, most=MOST),
                                         registry.trust())}  # fmt: skip


def to_json(rows: Iterable[BaseReportRow], trust: Trust) -> list[dict[str, Any]]:
    """Rows of the answer; what a stolen key signed is left out."""
    stolen = trust.keyring.stolen()
    return [
        {"namespace": row.namespace, "date": row.created, "replaced": row.replaced, "bundle": json.loads(row.bundle)}
        for row in rows if row.fingerprint not in stolen
    ]  # fmt: skip


def shown(db: Connection, trust: Trust) -> list[Reported]:
    """The newest reports on all bases, as far as their signatures count."""
    found = []
    for row in base_report_rows.newest(db, most=SHOWN):
        try:
            found.append(base_report.read(bundle.parse(row.bundle), trusts=[trust], fingerprint=row.base))
        except ReleaseRefusedError:
            continue  # its key was stolen, or is in the keyring no more
    return found


def take(registry: Registry, account: Account, base: str, document: dict[str, Any]) -> dict[str, Any]:
    """Take a report. Returns what `answer` says then, and the date of the one that it replaced, if any.

    Raises:
        RequestDeniedError: 422 for one that does not verify, or is dated ahead; 403 for another namespace's, or where
            there is no room; 409 unless it is newer than the one there.
    """
    data, trust = json.dumps(document).encode(), registry.trust()
    with statement_refusals():
        signed = bundle.parse(data)
        found = base_report.read(signed, trusts=[trust], fingerprint=base)
    if trust.keyring.revocation_of(found.key) is not None:
        raise key_out_of_use(found.key)
    auth.require(account, found.namespace, "evaluate")
    if instants.read(found.created) - now() > SLACK:
        raise RequestDeniedError(422, "date", f"the report is dated {found.created}", "set your machine's clock")
    row = BaseReportRow(
        base=base, namespace=found.namespace, created=found.created, fingerprint=found.key,
        bundle=bundle.to_json(signed.envelope),
    )  # fmt: skip
    before: list[BaseReportRow] = []

    def put(writing: Connection) -> None:
        before[:] = _put(writing, row)
        log_entries.add_bundle(writing, data, trust.keyring)

    registry.sequencer.run(put)
    registry_log.publish_if_possible(registry)
    replaced = before[0].created if before else None
    registry.audit_log.write(
        "base-reported", user=account.user, namespace=found.namespace, base=base, name=found.report.base.name,
        passed=len(found.report.passed), replaced=replaced,
    )  # fmt: skip
    return {**answer(registry, account, base), "replaced": replaced}


def _put(db: Connection, row: BaseReportRow) -> list[BaseReportRow]:
    """Store a row; the one that it replaced, if any."""
    mine = base_report_rows.by(db, row.namespace, most=MOST_BASES)
    before = [one for one in mine if one.base == row.base]
    if before and instants.read(before[0].created) >= instants.read(row.created):
        raise RequestDeniedError(409, "older", f"there is one of {before[0].created}, which is not older",
                                 "run `embhub report` anew")  # fmt: skip
    if before and before[0].replaced >= MOST_REPLACED:
        raise RequestDeniedError(403, "quota", f"{row.namespace} replaced its report {MOST_REPLACED} times",
                                 "no more are taken on this base")  # fmt: skip
    if not before:
        if len(mine) >= MOST_BASES:
            raise RequestDeniedError(403, "quota", f"{row.namespace} has {MOST_BASES} reports", "no more are taken")
        if len(base_report_rows.of(db, row.base, most=MOST)) >= MOST:
            raise RequestDeniedError(403, "quota", f"there are {MOST} reports on this base", "no more are taken")
    base_report_rows.put(db, BaseReportRow(**{**vars(row), "replaced": before[0].replaced + 1 if before else 0}))
    return before
