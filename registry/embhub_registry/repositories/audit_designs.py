"""Registered audits: a design with its notice is taken before the audit runs, its result after it.

Both go into the log in the transaction that stores them, the design right after its notice: readers ask for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from embhub.release import files as release_files
from embhub.trust import audit_designs, bundle, kinds, logged
from embhub.trust.audit_designs import Registration
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import Keyring, KnownKey
from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.logs import log_rows
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.standing import withdrawals
from embhub_registry.database.statements import design_rows
from embhub_registry.database.statements.design_rows import DesignRow
from embhub_registry.http_errors import RequestDeniedError, key_out_of_use, statement_refusals
from embhub_registry.people import auth
from embhub_registry.repositories import access, repos
from embhub_registry.storage import log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log

MOST_SHOWN = kinds.DESIGN.listed.most
MOST_OPEN = 200
RESULT_WITHIN = timedelta(days=14)  # from then on a page says that a design has no result


def answer(registry: Registry, account: Account | None, digest: str) -> dict[str, Any]:
    """The designs of an embedding with their results, for who may have its files, or registered them.

    Of bytes in no repository, which no withdrawal names, they are for whoever knows them: nobody guesses a SHA-256.
    """
    db = registry.database.connection()
    rows = design_rows.of(db, digest, most=MOST_SHOWN)
    if not _may_have(db, account, digest):
        rows = [row for row in rows if auth.may_read(account, row.namespace, private=True)]
    return {"embedding": digest, "designs": [_to_json(row) for row in rows]}


def _may_have(db: Connection, account: Account | None, digest: str) -> bool:
    holders = withdrawals.holders(db, digest)
    if not holders:
        return not withdrawals.names(db, digest)  # the public list names bytes of private repositories too
    return any(_may_read(db, account, f"{namespace}/{name}", digest) for _, namespace, name in holders)


def _may_read(db: Connection, account: Account | None, repository: str, digest: str) -> bool:
    try:
        found = repos.locate(db, account, *repository.split("/"))
        access.require_files(db, found, account)
    except RequestDeniedError:
        return False
    return not repos.hides_bytes(db, found, digest, account)


def take(registry: Registry, account: Account, digest: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Take a design with its notice, or a result. The same again changes nothing. Returns what `answer` says then.

    Raises:
        RequestDeniedError: 422 for what does not verify, 403 for another's, 404 for a result without a design, 409
            where there is another result, or a notice without its design; 429 for too many without a result.
    """
    with statement_refusals():
        given = audit_designs.from_document(document)
        stated = given.design.statement if isinstance(given, Registration) else given.statement
        if stated.digest != digest:
            raise RequestDeniedError(422, "digest", "it is about another embedding", "send it to its own address")
        if isinstance(given, Registration):
            _take_design(registry, account, given)
        else:
            _take_result(registry, account, given)
    registry_log.publish_if_possible(registry)
    return answer(registry, account, digest)


def note_release(db: Connection, files: Mapping[str, bytes], keyring: Keyring) -> None:
    """The result that a release brings, where its design was registered and nobody sent the result before."""
    data = files.get(release_files.AUDIT_RESULT)
    if data is None:
        return
    result = bundle.parse(data)
    stated = audit_designs.read_result(result.statement)
    row = design_rows.find(db, stated.design.sha256)
    if row is not None and row.result is None:
        log_entries.add_bundle(db, data, keyring)
        design_rows.end(db, row.identity, data, verdict=stated.verdict, now=stamp())


def overdue(db: Connection, digest: str, *, now: datetime) -> list[DesignRow]:
    """The designs of an embedding that have no result after the set time."""
    limit = stamp(now - RESULT_WITHIN)
    return [row for row in design_rows.of(db, digest, most=MOST_SHOWN) if row.result is None and row.received < limit]


def _take_design(registry: Registry, account: Account, given: Registration) -> None:
    key = _signer(registry, account, given.design)
    audit_designs.check_signature(given.notice, key.public_key)
    facts = audit_designs.read_design(given.design.statement)
    digest, identity = given.design.statement.digest, given.design.envelope.identity
    _check_origin(registry, facts.registry)
    with registry.database.writing() as db:
        if design_rows.find(db, identity) is not None:
            return
        _check_number(db, key.namespace, digest)
        before = log_rows.size(db)
        first = log_entries.add(db, logged.leaf_of(given.notice.envelope, key.public_key))
        second = log_entries.add(db, logged.leaf_of(given.design.envelope, key.public_key))
        if (first, second) != (before, before + 1):
            raise RequestDeniedError(409, "notice", "this notice, or this design, is in the log already",
                                     "register the audit anew")  # fmt: skip
        data = bundle.to_json(given.design.envelope)
        design_rows.add(db, DesignRow(identity, digest, key.namespace, facts.number, data, stamp()))
    _write(registry, account, "audit-registered", namespace=key.namespace, digest=digest)


def _take_result(registry: Registry, account: Account, result: Bundle) -> None:
    key = _signer(registry, account, result)
    facts = audit_designs.read_result(result.statement)
    _check_origin(registry, facts.registry)
    data = bundle.to_json(result.envelope)
    with registry.database.writing() as db:
        row = design_rows.find(db, facts.design.sha256)
        if row is None or (row.namespace, row.digest) != (key.namespace, result.statement.digest):
            raise RequestDeniedError(404, "design", f"{key.namespace} registered no such design", "register it first")
        if row.result is not None:
            if bundle.parse(row.result).envelope.identity == result.envelope.identity:
                return
            raise RequestDeniedError(409, "result", "this design has another result already", "register a new audit")
        log_entries.add(db, logged.leaf_of(result.envelope, key.public_key))
        design_rows.end(db, row.identity, data, verdict=facts.verdict, now=stamp())
    _write(registry, account, "audit-ended", namespace=key.namespace, digest=row.digest, verdict=facts.verdict)


def _signer(registry: Registry, account: Account, signed: Bundle) -> KnownKey:
    """The member's key that signed, where the account may speak for that member."""
    key = registry.trust().lookup(signed.hint)
    if key is None or kinds.DESIGN.role_of(key.roles, own=True) is None:
        raise RequestDeniedError(422, "signer", f"the keyring knows no key {signed.hint} for audits",
                                 "sign with a publishing or an auditor's key")  # fmt: skip
    if key.revocation is not None:
        raise key_out_of_use(signed.hint)
    audit_designs.check_signature(signed, key.public_key)
    auth.require(account, key.namespace, "attest")
    return key


def _check_origin(registry: Registry, stated: str) -> None:
    if stated != registry.trust().origin:
        raise RequestDeniedError(422, "wrong-registry", f"it was signed for the registry {stated}",
                                 "register the audit for this one")  # fmt: skip


def _check_number(db: Connection, namespace: str, digest: str) -> None:
    same, unfinished = design_rows.count(db, namespace=namespace, digest=digest)
    if same >= audit_designs.MOST:
        raise RequestDeniedError(429, "designs", f"{namespace} registered {same} audits of this embedding",
                                 "no more are taken")  # fmt: skip
    if unfinished >= MOST_OPEN:
        raise RequestDeniedError(429, "designs", f"{unfinished} audits of {namespace} have no result yet",
                                 "send their results first")  # fmt: skip


def _write(registry: Registry, account: Account, event: str, *, digest: str, **facts: Any) -> None:
    registry.audit_log.write(event, user=account.user, embedding=digest, **facts)


def _to_json(row: DesignRow) -> dict[str, Any]:
    return {
        "namespace": row.namespace, "number": row.number, "received": row.received, "ended": row.ended,
        "design": json.loads(row.bundle), "result": None if row.result is None else json.loads(row.result),
    }  # fmt: skip
