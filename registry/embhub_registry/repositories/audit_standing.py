"""What audits say of an embedding's bytes, whatever version they came with: the verdict that lists and pages show.

A self-made audit and a countersigned one are told apart, and the worst that an auditor found stands, until the same
auditor says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from embhub.refusals import Refusal
from embhub.release.checks import attested
from embhub.release.checks.attested import LEAK, VERDICTS
from embhub.release.files import AUDIT_BUNDLE, EMBEDDING
from embhub.release.verification import Verified
from embhub.trust import bundle
from embhub.trust.keyring import Keyring
from embhub_registry.admission.proposal import Proposal
from embhub_registry.database import Connection, accounts, attestations, placement, repositories
from embhub_registry.database.accounts import Account
from embhub_registry.database.attestations import Attestation
from embhub_registry.http_errors import Denied, forbidden
from embhub_registry.people import auth
from embhub_registry.repositories import access, repos
from embhub_registry.storage.blobs import MissingBlob
from embhub_registry.storage.folder import COLLECTED, Registry

Confirmation = Literal["countersigned", "self-declared", "none"]


@dataclass(frozen=True)
class Standing:
    """The verdict on an embedding, who gave it, and what else was said of the same bytes.

    `auditors` are the independent ones whose verdict it is; `audits` is each auditor's newest word, the worst first.
    """

    verdict: str
    confirmation: Confirmation
    auditors: tuple[str, ...]
    audits: tuple[Attestation, ...]


NOTHING = Standing("not-audited", "none", (), ())


def judge(rows: Iterable[Attestation], *, repository: str, keyring: Keyring) -> Standing:
    """What `rows`, of one embedding, come to for a release of `repository`.

    Who published the same bytes elsewhere speaks for their own release alone. What a stolen key signed counts nothing,
    nor what a key signed that the keyring does not know.
    """
    publisher, good = repository.partition("/")[0], keyring.fingerprints() - keyring.stolen()
    counted = [
        row for row in rows
        if row.fingerprint in good and (not row.own or row.namespace == publisher)
        and (not row.private or row.repository == repository)
    ]  # fmt: skip
    audits = tuple(sorted(_newest(counted), key=lambda row: (_severity(row), row.namespace == publisher)))
    independent = [row for row in audits if row.namespace != publisher]
    leaking = [row for row in audits if row.verdict == LEAK]
    deciding = leaking or independent or list(audits)
    if not deciding:
        return NOTHING
    verdict = deciding[0].verdict
    auditors = tuple(row.namespace for row in independent if row.verdict == verdict)
    return Standing(verdict, "countersigned" if auditors else "self-declared", auditors, audits)


def of(db: Connection, digest: str, *, repository: str, keyring: Keyring) -> Standing:
    """The standing of an embedding as a release of `repository`, now."""
    return judge(attestations.of(db, digest), repository=repository, keyring=keyring)


def record(db: Connection, verified: Verified, attestation: bytes | None, keyring: Keyring) -> None:
    """Note the audit attestation that a release carries, and show it wherever its bytes are the newest release."""
    own = verified.own_audit
    if own is not None and attestation is not None and verified.auditor is not None:
        attestations.add(
            db,
            Attestation(
                digest=verified.digest, namespace=own.namespace, repository=own.repository, version=own.version,
                own=own.own, verdict=own.verdict, created=own.created, fingerprint=verified.auditor.fingerprint,
                bundle=attestation,
            ),
        )  # fmt: skip
    refresh(db, verified.digest, keyring)


def withdraw(db: Connection, proposal: Proposal) -> None:
    """Forget an independent audit that a commit takes out of the present release; admission let who may do that."""
    if proposal.attested is None or AUDIT_BUNDLE in proposal.files or not proposal.keeps_embedding_and_card:
        return
    key = proposal.trust.lookup(bundle.parse(proposal.attested).hint)
    if key is not None and (proposal.admin or proposal.caller == key.namespace):
        verified = proposal.verified
        attestations.withdraw(
            db, verified.digest, namespace=key.namespace, repository=verified.repository, version=verified.version
        )


def refresh(db: Connection, digest: str, keyring: Keyring) -> None:
    """Bring the lists up to date for every repository whose newest release has these bytes."""
    rows = attestations.of(db, digest)
    for namespace, name in attestations.holders(db, digest, path=EMBEDDING, branch=repos.MAIN):
        repository = repositories.find(db, namespace, name)
        release = repository.summary.get("release") if repository else None
        if repository is None or not release:
            continue
        now = judge(rows, repository=repository.full_name, keyring=keyring)
        told = {"audit": now.verdict, "confirmation": now.confirmation, "auditors": list(now.auditors)}
        if {name: release.get(name) for name in told} != told:
            placement.change_verdict(db, repository.id, {**repository.summary, "release": {**release, **told}})


def refresh_some(db: Connection, keyring: Keyring, *, repository: str = "", fingerprint: str = "") -> None:
    """The same where a repository was hidden or shown, or a key that signed audits went out of use."""
    for digest in attestations.digests(db, repository=repository, fingerprint=fingerprint):
        refresh(db, digest, keyring)


def answer(registry: Registry, account: Account | None, digest: str) -> dict[str, Any]:
    """Who audited these bytes, for who may read the release that each attestation came with; the worst first.

    Of each auditor the newest word alone: what an auditor took back does not come again.
    """
    db = registry.database.connection()
    rows = _newest(row for row in attestations.of(db, digest) if _may_read(db, account, row))
    return {
        "embedding": digest,
        "audits": [
            {"namespace": row.namespace, "own": row.own, "repository": row.repository, "version": row.version,
             "verdict": row.verdict, "date": row.created, **attested.to_row(row.bundle)}
            for row in rows[: attested.MOST]
        ],
    }  # fmt: skip


def attest(registry: Registry, account: Account, digest: str, document: dict[str, Any]) -> dict[str, Any]:
    """Take an auditor's attestation that no file of a release has room for. Returns what `answer` says then.

    A release that was signed together with its publisher's report keeps that report; what another auditor found in
    the same bytes stands beside it.

    Raises:
        Denied: 422 for one that does not verify, 403 for another's or a publisher's own, 404 where no release that the
            caller may read has these bytes under that name and version.
    """
    data, trusted = json.dumps(document).encode(), registry.trust()
    try:
        found = attested.read(data, digest=digest, trusts=[trusted])
    except Refusal as error:
        raise Denied(422, error.rule, error.message, error.hint) from error
    signed = bundle.parse(data)
    if trusted.keyring.revocation_of(signed.hint) is not None:
        raise Denied(422, "revoked-key", f"the key {signed.hint} is out of use", "sign with another key")
    if found.own or account.role_in(found.namespace) != "auditor":
        raise forbidden(f"{account.user} is no auditor of {found.namespace}", "an auditor sends their own attestation")
    auth.require(account, found.namespace, "attest")  # the token's scope
    db = registry.database.connection()
    namespace, _, name = found.repository.partition("/")
    repository = repos.locate(db, account, namespace, name)
    access.require_files(db, repository, account)
    if (found.version, digest) not in attestations.released(db, repository.id, path=EMBEDDING):
        raise Denied(404, "revision", f"{found.repository} has no release {found.version} with these bytes",
                     "pull the release, then attest it")  # fmt: skip
    with registry.database.writing() as writing:
        attestations.add(
            writing,
            Attestation(
                digest=digest, namespace=found.namespace, repository=found.repository, version=found.version, own=False,
                verdict=found.verdict, created=found.created, fingerprint=signed.hint,
                bundle=bundle.to_json(signed.envelope),
            ),
        )  # fmt: skip
        refresh(writing, digest, trusted.keyring)
    registry.journal.write(
        "attested", user=account.user, repository=found.repository, version=found.version, verdict=found.verdict,
        embedding=digest,
    )  # fmt: skip
    return answer(registry, account, digest)


def collect_earlier(registry: Registry) -> None:
    """Note the attestations of releases that were admitted before there was a table of them."""
    db = registry.database.connection()
    _, trust = registry.open_trust()
    found: list[Attestation] = []
    for row in attestations.attested_commits(db, audit=AUDIT_BUNDLE, embedding=EMBEDDING):
        try:
            data = registry.blobs.get(row["bundle"])
            audit = attested.read(data, digest=row["embedding"], trusts=[trust])
        except (Refusal, MissingBlob, OSError):
            continue  # `check` names what is lost; what does not verify vouches for nothing
        found.append(
            Attestation(
                digest=row["embedding"], namespace=audit.namespace, repository=audit.repository,
                version=audit.version, own=audit.own, verdict=audit.verdict, created=audit.created,
                fingerprint=bundle.parse(data).hint, bundle=data,
            )
        )  # fmt: skip
    with registry.database.writing() as writing:
        for item in found:
            attestations.add(writing, item)
        for digest in dict.fromkeys(item.digest for item in found):
            refresh(writing, digest, trust.keyring)
        accounts.write_setting(writing, COLLECTED, "yes")


def _newest(rows: Iterable[Attestation]) -> list[Attestation]:
    """The newest word of each auditor, as auditor and as publisher, the worst verdict first."""
    newest: dict[tuple[str, bool], Attestation] = {}
    for row in sorted(rows, key=lambda row: (row.created, -_severity(row))):
        newest[row.namespace, row.own] = row
    return sorted(newest.values(), key=lambda row: (_severity(row), row.namespace, row.own))


def _severity(row: Attestation) -> int:
    return VERDICTS.index(row.verdict) if row.verdict in VERDICTS else 1


def _may_read(db: Connection, account: Account | None, row: Attestation) -> bool:
    namespace, _, name = row.repository.partition("/")
    if not auth.may_read(account, namespace, private=row.private):
        return False
    repository = repositories.find(db, namespace, name)
    if repository is None:
        return True  # deleted, and not private when it was
    try:
        access.require_files(db, repository, account)
    except Denied:
        return False
    return True


def names_of(audits: Sequence[Attestation], keyring: Keyring) -> dict[str, str]:
    """What the keyring calls the organisations behind these audits."""
    known = {member.namespace: member.name for member in keyring.members}
    return {row.namespace: known.get(row.namespace) or row.namespace for row in audits}
