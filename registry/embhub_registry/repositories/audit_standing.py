"""What audits say of an embedding's bytes, whatever version they came with: the verdict that lists and pages show.

A self-made audit and a countersigned one are told apart, and the worst that an auditor found stands, until the same
auditor says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from embhub.refusals import ReleaseRefusedError
from embhub.release.checks import attested
from embhub.release.checks.attested import LEAK, VERDICTS
from embhub.release.files import EMBEDDING, auditor_in
from embhub.release.verification import Verified
from embhub.trust import bundle
from embhub.trust.keyring import Keyring
from embhub_registry.database import Connection, accounts, attestations, placement, repositories
from embhub_registry.database.attestations import Attestation
from embhub_registry.repositories import repos
from embhub_registry.repositories.proposal import Proposal
from embhub_registry.storage.blobs import MissingBlobError, damage_passes
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
    audits = tuple(sorted(newest(counted), key=lambda row: (_severity(row), row.namespace == publisher)))
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


def record(db: Connection, verified: Verified, files: Mapping[str, bytes], keyring: Keyring) -> None:
    """Note the audit attestations that a release carries, and show them wherever its bytes are the newest release."""
    for item in verified.audit_files:
        if item.left_out:
            continue  # noted when its key was good, and judged by the keyring whenever it is shown
        audit = item.audit
        attestations.add(
            db,
            Attestation(
                digest=verified.digest, namespace=audit.namespace, repository=audit.repository, version=audit.version,
                own=audit.own, verdict=audit.verdict, created=audit.created, fingerprint=item.signer.fingerprint,
                bundle=files[item.path],
            ),
        )  # fmt: skip
    refresh(db, verified.digest, keyring)


def withdraw(db: Connection, proposal: Proposal) -> None:
    """Forget an independent audit that a commit takes out of the present release; admission let who may do that."""
    if not proposal.keeps_embedding_and_card:
        return
    verified = proposal.verified
    for path in proposal.attested.keys() - proposal.files.keys():
        auditor = auditor_in(path)
        if auditor is not None and (proposal.admin or proposal.caller == auditor):
            attestations.withdraw(
                db, verified.digest, namespace=auditor, repository=verified.repository, version=verified.version
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


def collect_earlier(registry: Registry) -> None:
    """Note the attestations of releases that were admitted before there was a table of them."""
    db = registry.database.connection()
    trust = registry.trust()
    found: list[Attestation] = []
    for row in attestations.attested_commits(db, audit="attestations/audit.%", embedding=EMBEDDING):
        try:
            with damage_passes(registry.blobs):
                data = registry.blobs.get(row["bundle"])
            audit = attested.read(data, digest=row["embedding"], trusts=[trust])
        except (ReleaseRefusedError, MissingBlobError, OSError):
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


def newest(rows: Iterable[Attestation]) -> list[Attestation]:
    """The newest word of each auditor, as auditor and as publisher, the worst verdict first."""
    newest: dict[tuple[str, bool], Attestation] = {}
    for row in sorted(rows, key=lambda row: (row.created, -_severity(row))):
        newest[row.namespace, row.own] = row
    return sorted(newest.values(), key=lambda row: (_severity(row), row.namespace, row.own))


def _severity(row: Attestation) -> int:
    return VERDICTS.index(row.verdict) if row.verdict in VERDICTS else 1


def names_of(audits: Sequence[Attestation], keyring: Keyring) -> dict[str, str]:
    """What the keyring calls the organisations behind these audits."""
    known = {member.namespace: member.name for member in keyring.members}
    return {row.namespace: known.get(row.namespace) or row.namespace for row in audits}
