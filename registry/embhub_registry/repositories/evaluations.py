"""Evaluations by those who pulled a release: what is taken, for whom it is shown, and what an operator removes.

A publisher has no say in them. Of each namespace the newest counts, and the operator alone removes one, with a reason
that is shown in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from embhub.errors import UsageError
from embhub.formats import instants
from embhub.refusals import ReleaseRefusedError
from embhub.release.checks import evaluated
from embhub.release.checks.evaluated import Evaluated
from embhub.trust import bundle, kinds
from embhub.trust.keyring import Trust
from embhub_registry.database import Connection
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.database.statements import evaluation_rows
from embhub_registry.database.statements.evaluation_rows import EvaluationRow
from embhub_registry.http_errors import RequestDeniedError, key_out_of_use, statement_refusals
from embhub_registry.people import auth, personal_data
from embhub_registry.repositories import access, attesting, repos
from embhub_registry.storage import log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log

MAX_BYTES = kinds.EVALUATION.bytes
MOST = kinds.EVALUATION.listed.most
MOST_REPLACED = 10
MOST_NAMES = 3
"""Repositories under which one namespace may evaluate the same bytes: it cannot take the room of all others."""
SLACK = timedelta(hours=1)
LONGEST_REASON = 500


def answer(registry: Registry, account: Account | None, digest: str) -> dict[str, Any]:
    """What was found of these bytes by whoever evaluated them, for who may read the release that each was pulled as."""
    db, trust = registry.database.connection(), registry.trust()
    rows = [row for row in evaluation_rows.of(db, digest, most=MOST) if access.may_read_statement(db, account, row)]
    return {"embedding": digest, "evaluations": to_json(rows, trust)}


def to_json(rows: Iterable[EvaluationRow], trust: Trust) -> list[dict[str, Any]]:
    """Rows of the answer; what a stolen key signed is left out."""
    stolen, said = trust.keyring.stolen(), []
    for row in rows:
        facts = {
            "namespace": row.namespace, "own": row.own, "repository": row.repository, "version": row.version,
            "date": row.created, "replaced": row.replaced,
        }  # fmt: skip
        if row.bundle is None:
            said.append({**facts, "removed": row.removed, "reason": row.reason, "bundle": None})
        elif row.fingerprint not in stolen:
            said.append({**facts, "bundle": json.loads(row.bundle)})
    return said


def shown(
    db: Connection, digest: str, repository: Repository, trust: Trust, *, reader: Account | None
) -> list[tuple[EvaluationRow, Evaluated | None]]:
    """What the page of a release shows: evaluations of its bytes, and those of other versions of its repository.

    Each with what it says; None where the operator removed it. Of another repository with the same bytes only what
    everybody is shown, because a page may be kept and shown to others; of this one nothing that is set aside, unless
    this reader sees that.
    """
    name = repository.full_name

    def visible(row: EvaluationRow) -> bool:
        if row.repository == name:
            return not repos.hides_bytes(db, repository, row.digest, reader)
        return access.may_read_statement(db, None, row)

    others = evaluation_rows.of_repository(db, name, most=MOST)
    rows = [*evaluation_rows.of(db, digest, most=MOST), *(row for row in others if row.digest != digest)]
    found: list[tuple[EvaluationRow, Evaluated | None]] = []
    for row in filter(visible, rows):
        if row.bundle is None:
            found.append((row, None))
            continue
        try:
            found.append((row, evaluated.read(row.bundle, digest=row.digest, trusts=[trust])))
        except ReleaseRefusedError:
            continue  # its key was stolen, or is in the keyring no more
    return found


def take(registry: Registry, account: Account, digest: str, document: dict[str, Any]) -> dict[str, Any]:
    """Take an evaluation. Returns what `answer` says then, and the date of the one that it replaced, if any.

    Raises:
        RequestDeniedError: 422 for one that does not verify; 403 for another namespace's, or where there is no room or
            the operator removed one; 404 where no release that the caller may read has these bytes under that name and
            version; 409 where a newer one is there.
    """
    data, trusted = json.dumps(document).encode(), registry.trust()
    if len(data) > MAX_BYTES:
        raise RequestDeniedError(413, "too-large", f"an evaluation has at most {MAX_BYTES:,} bytes",
                                 "publish it with `embhub evaluate --publish-to`")  # fmt: skip
    with statement_refusals():
        found = evaluated.read(data, digest=digest, trusts=[trusted])
    if trusted.keyring.revocation_of(found.fingerprint) is not None:
        raise key_out_of_use(found.fingerprint)
    auth.require(account, found.namespace, "evaluate")
    if abs(instants.read(found.created) - now()) > SLACK:
        raise RequestDeniedError(422, "date", f"the evaluation is dated {found.created}", "set your machine's clock")
    attesting.require_release(registry, account, found, digest, then="evaluate it")
    row = EvaluationRow(
        digest=digest, namespace=found.namespace, repository=found.repository, version=found.version,
        created=found.created, fingerprint=found.fingerprint, bundle=bundle.to_json(bundle.parse(data).envelope),
    )  # fmt: skip
    before: list[EvaluationRow] = []

    def put(writing: Connection) -> None:
        before[:] = _put(writing, row)
        log_entries.add_bundle(writing, data, trusted.keyring)

    registry.sequencer.run(put)
    registry_log.publish_if_possible(registry)
    replaced = before[0].created if before else None
    registry.audit_log.write(
        "evaluated", user=account.user, namespace=found.namespace, repository=found.repository, version=found.version,
        embedding=digest, outcome=found.figures.outcome, replaced=replaced,
    )  # fmt: skip
    return {**answer(registry, account, digest), "replaced": replaced}


def remove(registry: Registry, repository: str, namespace: str, *, reason: str) -> list[dict[str, Any]]:
    """Remove what `namespace` published of any version of a repository. The reason is shown in its place.

    Raises:
        UsageError: there is none, or the reason is empty, too long or looks like it names a person.
    """
    text = " ".join(reason.split())
    if not 3 <= len(text) <= LONGEST_REASON or not text.isprintable():
        raise UsageError("the reason is empty, too long or not printable", f"at most {LONGEST_REASON} characters")
    if personal_data.find_in_words(text):
        raise UsageError("the reason looks like it names a person", "others read it: leave names out")
    with registry.database.writing() as db:
        mine = [row for row in _of_namespace(db, repository, namespace) if row.removed is None]
        if not mine:
            raise UsageError(
                f"{namespace} published no evaluation of {repository}", "`curate evaluation list` shows them"
            )
        for row in mine:
            evaluation_rows.remove(db, row, now=stamp(), reason=text)
    registry.audit_log.write("evaluation-removed", repository=repository, namespace=namespace, reason=text)
    return listed(registry, repository)


def allow(registry: Registry, repository: str, namespace: str) -> list[dict[str, Any]]:
    """Forget that evaluations by `namespace` were removed, so that it may publish one again.

    Raises:
        UsageError: none was removed.
    """
    with registry.database.writing() as db:
        gone = [row for row in _of_namespace(db, repository, namespace) if row.removed is not None]
        if not gone:
            raise UsageError(
                f"no evaluation of {repository} by {namespace} was removed", "`curate evaluation list` shows them"
            )
        for row in gone:
            evaluation_rows.forget(db, row)
    registry.audit_log.write("evaluation-allowed", repository=repository, namespace=namespace)
    return listed(registry, repository)


def lines(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The same for a person, a line each."""
    return [
        f"{row['namespace']}  {row['repository']} {row['version']}  {row['date'][:10]}"
        + (f"  removed {row['removed'][:10]}: {row['reason']}" if row["bundle"] is None else "")
        for row in rows
    ]


def listed(registry: Registry, repository: str) -> list[dict[str, Any]]:
    """Every evaluation of a repository, removed ones among them."""
    db = registry.database.connection()
    return to_json(evaluation_rows.of_repository(db, repository, most=MOST), registry.trust())


def _of_namespace(db: Connection, repository: str, namespace: str) -> list[EvaluationRow]:
    rows = evaluation_rows.of_repository(db, repository, most=MOST * 100)
    return [row for row in rows if row.namespace == namespace]


def _put(db: Connection, row: EvaluationRow) -> list[EvaluationRow]:
    """Store a row; the one that it replaced, if any."""
    before = evaluation_rows.find(db, row.digest, namespace=row.namespace, repository=row.repository)
    if before is None:
        if evaluation_rows.count(db, row.digest) >= MOST:
            raise RequestDeniedError(403, "quota", f"there are {MOST} evaluations of this release already",
                                     "no more are taken")  # fmt: skip
        if evaluation_rows.count(db, row.digest, namespace=row.namespace) >= MOST_NAMES:
            raise RequestDeniedError(403, "quota", f"{row.namespace} evaluated these bytes under {MOST_NAMES} names",
                                     "no more are taken")  # fmt: skip
        evaluation_rows.put(db, row)
        return []
    if before.removed is not None:
        raise RequestDeniedError(403, "removed", f"the operator removed what {row.namespace} published: "
                                 f"{before.reason}", "ask the registry's operator")  # fmt: skip
    if before.created >= row.created:
        raise RequestDeniedError(409, "older", f"there is one of {before.created}, which is not older",
                                 "publish it anew")  # fmt: skip
    if before.replaced >= MOST_REPLACED:
        raise RequestDeniedError(403, "quota", f"{row.namespace} replaced its evaluation {before.replaced} times",
                                 "no more are taken: each one reveals a little more of the patients")  # fmt: skip
    evaluation_rows.put(db, EvaluationRow(**{**vars(row), "replaced": before.replaced + 1}))
    return [before]
