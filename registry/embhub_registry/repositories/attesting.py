"""Audits of an embedding's bytes: who made them, for whom that may be read, and an auditor's new one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from embhub.release.checks import attested
from embhub.release.files import EMBEDDING
from embhub.trust import bundle, kinds
from embhub_registry.database import Connection
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.statements import attestations
from embhub_registry.database.statements.attestations import Attestation
from embhub_registry.http_errors import RequestDeniedError, forbidden, key_out_of_use, statement_refusals
from embhub_registry.people import auth
from embhub_registry.repositories import access, audit_standing, near_copies, repos
from embhub_registry.storage import log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log

if TYPE_CHECKING:
    from embhub.release.checks.attested import Attested
    from embhub.release.checks.evaluated import Evaluated


def answer(registry: Registry, account: Account | None, digest: str) -> dict[str, Any]:
    """Who audited these bytes, for who may read the release that each attestation came with; the worst first.

    Of each auditor the newest word alone: what an auditor took back does not come again.
    """
    db = registry.database.connection()
    rows = audit_standing.newest(
        (row for row in attestations.of(db, digest) if access.may_read_statement(db, account, row)),
        digest,
    )
    return {
        "embedding": digest,
        "audits": to_json(rows),
        "nearly": list(near_copies.say(db, digest, repository="", keyring=registry.trust().keyring)),
    }  # fmt: skip


def to_json(rows: Iterable[Attestation]) -> list[dict[str, Any]]:
    """Rows of the answer, as many as a reader takes."""
    return [
        {"namespace": row.namespace, "own": row.own, "repository": row.repository, "version": row.version,
         "verdict": row.verdict, "date": row.created, "bundle": json.loads(row.bundle)}
        for row in islice(rows, kinds.AUDIT.listed.most)
    ]  # fmt: skip


def attest(registry: Registry, account: Account, digest: str, document: dict[str, Any]) -> dict[str, Any]:
    """Take an auditor's attestation that no file of a release has room for. Returns what `answer` says then.

    A release that was signed together with its publisher's report keeps that report; what another auditor found in
    the same bytes stands beside it.

    Raises:
        RequestDeniedError: 422 for one that does not verify, 403 for another's or a publisher's own, 404 where no
        release that the
            caller may read has these bytes under that name and version.
    """
    data, trusted = json.dumps(document).encode(), registry.trust()
    with statement_refusals():
        found, signed = attested.read(data, digest=digest, trusts=[trusted]), bundle.parse(data)
    if trusted.keyring.revocation_of(signed.hint) is not None:
        raise key_out_of_use(signed.hint)
    if found.own or account.role_in(found.namespace) != "auditor":
        raise forbidden(f"{account.user} is no auditor of {found.namespace}", "an auditor sends their own attestation")
    auth.require(account, found.namespace, "attest")  # the token's scope
    require_release(registry, account, found, digest, then="attest it")
    attestation = Attestation(
        digest=digest, namespace=found.namespace, repository=found.repository, version=found.version, own=False,
        verdict=found.verdict, created=found.created, fingerprint=signed.hint, bundle=bundle.to_json(signed.envelope),
    )  # fmt: skip

    def add(writing: Connection) -> None:
        attestations.add(writing, attestation)
        audit_standing.refresh(writing, digest, trusted.keyring)
        log_entries.add_bundle(writing, data, trusted.keyring)

    registry.sequencer.run(add)
    registry_log.publish_if_possible(registry)
    registry.audit_log.write(
        "attested", user=account.user, repository=found.repository, version=found.version, verdict=found.verdict,
        embedding=digest,
    )  # fmt: skip
    return answer(registry, account, digest)


def require_release(
    registry: Registry, account: Account, found: Attested | Evaluated, digest: str, *, then: str
) -> None:
    """Raises RequestDeniedError: the account may read no release with these bytes under this name and version (404)."""
    db = registry.database.connection()
    repository = repos.locate(db, account, *found.repository.split("/"))
    access.require_files(db, repository, account)
    aside = repos.hides_bytes(db, repository, digest, account)
    released = attestations.released(db, repository.id, path=EMBEDDING)
    if aside or found.repository != repository.full_name or (found.version, digest) not in released:
        raise RequestDeniedError(404, "revision", f"{found.repository} has no release {found.version} with these bytes",
                     f"pull the release, then {then}")  # fmt: skip
