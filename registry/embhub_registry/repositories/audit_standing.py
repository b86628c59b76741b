"""What audits say of an embedding's bytes, whatever version they came with: the verdict that lists and pages show.

A self-made audit and a countersigned one are told apart, and the worst that an auditor found stands, until the same
auditor says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from embhub.release.checks import signers
from embhub.release.checks.attested import LEAK, severity
from embhub.release.files import EMBEDDING, auditor_in
from embhub.release.verification import Verified
from embhub.trust.keyring import Keyring
from embhub_registry.database import Connection
from embhub_registry.database.releases import placement, repositories
from embhub_registry.database.statements import attestations
from embhub_registry.database.statements.attestations import Attestation
from embhub_registry.repositories import repos
from embhub_registry.repositories.proposal import Proposal

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


def judge(rows: Iterable[Attestation], *, digest: str, repository: str, keyring: Keyring) -> Standing:
    """What `rows` come to for a release of `repository` whose embedding has this SHA-256.

    Of rows about the same numbers under another header a leak alone counts: a good verdict may rest on the header.

    Who published the same bytes elsewhere speaks for their own release alone. What a stolen key signed counts nothing,
    nor what a key signed that the keyring does not know.
    """
    publisher = repository.partition("/")[0]
    counted = [row for row in _counting(rows, publisher, keyring) if not row.private or row.repository == repository]
    audits = tuple(sorted(newest(counted, digest), key=lambda row: (severity(row.verdict), row.namespace == publisher)))
    independent = [row for row in audits if row.namespace != publisher]
    leaking = [row for row in audits if row.verdict == LEAK]
    deciding = leaking or independent or list(audits)
    if not deciding:
        return NOTHING
    verdict = deciding[0].verdict
    auditors = tuple(row.namespace for row in independent if row.verdict == verdict)
    return Standing(verdict, "countersigned" if auditors else "self-declared", auditors, audits)


def leaks(db: Connection, digest: str, *, publisher: str, keyring: Keyring) -> list[Attestation]:
    """The auditors whose newest word on these numbers is that they leak, whoever may read what they audited."""
    rows = _counting(attestations.of(db, digest), publisher, keyring)
    return [row for row in newest(rows, digest) if row.verdict == LEAK]


def _counting(rows: Iterable[Attestation], publisher: str, keyring: Keyring) -> list[Attestation]:
    good = keyring.fingerprints() - keyring.stolen()
    return [row for row in rows if row.fingerprint in good and (not row.own or row.namespace == publisher)]


def of(db: Connection, digest: str, *, repository: str, keyring: Keyring) -> Standing:
    """The standing of an embedding as a release of `repository`, now."""
    return judge(attestations.of(db, digest), digest=digest, repository=repository, keyring=keyring)


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
    """Bring the lists up to date for every repository whose newest release has these bytes or numbers."""
    rows = attestations.of(db, digest)
    for namespace, name, held in attestations.holders(db, digest, path=EMBEDDING, branch=repos.MAIN):
        repository = repositories.find(db, namespace, name)
        release = repository.summary.get("release") if repository else None
        if repository is None or not release:
            continue
        now = judge(rows, digest=held, repository=repository.full_name, keyring=keyring)
        told = {"audit": now.verdict, "confirmation": now.confirmation, "auditors": list(now.auditors)}
        if {name: release.get(name) for name in told} != told:
            placement.change_verdict(db, repository.id, {**repository.summary, "release": {**release, **told}})


def refresh_some(db: Connection, keyring: Keyring, *, repository: str = "", fingerprint: str = "") -> None:
    """The same where a repository was hidden or shown, or a key that signed audits went out of use."""
    for digest in attestations.digests(db, repository=repository, fingerprint=fingerprint):
        refresh(db, digest, keyring)


def newest(rows: Iterable[Attestation], digest: str) -> list[Attestation]:
    """The newest word of each auditor, as auditor and as publisher, the worst verdict first.

    About the same numbers in another file than that with this SHA-256, those that found a leak.
    """
    last = signers.last_words(
        list(rows), of=lambda row: (row.namespace, row.own), order=lambda row: (row.created, -severity(row.verdict))
    )
    found = (row for row in last if row.digest == digest or row.verdict == LEAK)
    return sorted(found, key=lambda row: (severity(row.verdict), row.namespace, row.own))


def names_of(audits: Sequence[Attestation], keyring: Keyring) -> dict[str, str]:
    """What the keyring calls the organisations behind these audits."""
    known = {member.namespace: member.name for member in keyring.members}
    return {row.namespace: known.get(row.namespace) or row.namespace for row in audits}
