"""Who else audited these very bytes, under whatever name and version: attestations looked up by the digest. Pure.

A registry hands them out, and cannot invent one: each is an auditor's signed statement about the embedding's SHA-256.
It can hide one. So what a site has seen is remembered, and said where it is not shown any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from embhub.formats import instants, names, strict_json
from embhub.formats.plain_text import plain
from embhub.refusals import AuditMismatchError, Finding, ReleaseRefusedError
from embhub.release.checks import signers
from embhub.release.checks.signers import Signer
from embhub.trust import bundle, dsse, kinds, statement
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import Trust
from embhub.trust.statement import MiaAudit

CHECK = "attested"
LEAK = "leak-detected"
VERDICTS = (LEAK, "insufficient-evidence", "bounded-by-claim", "no-leak-detected")  # the worst first


class Attested(BaseModel):
    """An audit of an embedding, as its signed statement gives it: by whom, of which release, with which verdict.

    `own` where the release's publisher signed it. `registry` is the one whose keyring vouches for the signer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    namespace: str
    own: bool
    repository: str
    version: str
    verdict: Annotated[str, Field(max_length=40)]
    created: str
    registry: str

    def in_words(self) -> str:
        """`nki, an independent auditor, attested leak-detected on these bytes (as lumc/x 1.0.0, 2026-11-20)`."""
        who = f"{self.namespace}, its publisher," if self.own else f"{self.namespace}, an independent auditor,"
        where = f"as {self.repository} {self.version}, {self.created[:10]}"
        return f"{who} attested {self.verdict} on these bytes ({where})"

    def supersedes(self, other: Attested) -> bool:
        """Whether this is the same auditor's word: a later one, or the very one."""
        if (self.registry, self.namespace) != (other.registry, other.namespace):
            return False
        now, then = instants.read(self.created), instants.read(other.created)
        return now > then or (now == then and self.verdict == other.verdict)


@dataclass(frozen=True)
class Lost:
    """An audit that was seen here before and is not shown any more."""

    audit: Attested

    def in_words(self) -> str:
        """What was seen, and that it is gone."""
        return f"{self.audit.in_words()}: seen here before, and not shown any more"


def read(data: bytes, *, digest: str, trusts: Sequence[Trust], numbers: str | None = None) -> Attested:
    """One attestation about the embedding with this SHA-256, its signature checked.

    One that found a leak may also be about another file with the same `numbers`; what found none is about its file.

    Raises:
        ReleaseRefusedError: malformed, about other bytes, or by a key that may not vouch for it.
    """
    return _check(bundle.parse(data), digest=digest, trusts=trusts, numbers=numbers)


def _check(attestation: Bundle, *, digest: str, trusts: Sequence[Trust], numbers: str | None) -> Attested:
    signed = attestation.statement
    facts = statement.read_audit(signed)
    verdict = verdict_of(facts)
    washed = verdict == LEAK and numbers is not None and signed.numbers == numbers
    if signed.digest != digest and not washed:
        raise ReleaseRefusedError("an audit attestation is about another embedding", "fetch it again")
    publisher = names.namespace_of(facts.repository)
    signer = signers.find_auditor(
        attestation, registry=facts.registry, trusts=trusts, publisher=publisher, findings=[]
    )  # fmt: skip
    if signer.revoked_as is not None:
        signers.check_auditors_key(signer, created=facts.created)
    return stated(facts, signer, publisher)


def stated(facts: MiaAudit, signer: Signer, publisher: str) -> Attested:
    """What an audit's statement says, by whom. Raises AuditMismatchError, as `verdict_of`."""
    return Attested(
        namespace=signer.namespace, own=not signer.is_independent_of(publisher), repository=facts.repository,
        version=facts.version, verdict=verdict_of(facts), created=facts.created, registry=signer.registry,
    )  # fmt: skip


def verdict_of(facts: MiaAudit) -> str:
    """The verdict in an audit statement's headline. Raises AuditMismatchError where there is none that embhub knows."""
    verdict = facts.headline.get("verdict")
    if verdict not in VERDICTS:
        raise AuditMismatchError(
            "an audit attestation gives no verdict that embhub knows", "it may be of a newer embhub"
        )
    return str(verdict)


def parse(
    data: bytes, *, digest: str, trusts: Sequence[Trust], numbers: str | None = None,
    checked: Mapping[dsse.Envelope, Attested] | None = None,
) -> tuple[tuple[Attested, ...], int]:  # fmt: skip
    """A registry's answer to who audited these bytes, and how many of its attestations did not hold.

    `checked` are attestations about these bytes that were verified by the same keyrings, such as those in a release.

    Raises:
        ValueError: not such an answer, or one about other bytes.
    """
    found, refused = [], 0
    for row in bundle.rows(data, kinds.AUDIT, digest=digest):
        try:
            attestation = bundle.held_in(row)
            known = (checked or {}).get(attestation.envelope)
            found.append(known or _check(attestation, digest=digest, trusts=trusts, numbers=numbers))
        except ReleaseRefusedError:
            refused += 1
    return newest(found), refused


def nearly(data: bytes) -> tuple[str, ...]:
    """Of which withdrawn or leaking embeddings a registry says that these are nearly the numbers. Its word, unsigned.

    Raises:
        ValueError: not such an answer.
    """
    listed = kinds.AUDIT.listed
    said = strict_json.read_object(data, limit=listed.bytes).get("nearly", [])
    if not isinstance(said, list) or len(said) > listed.most or not all(isinstance(text, str) for text in said):
        raise ValueError("it is no list of audits of this embedding")
    return tuple(plain(text[:400]) for text in said)


def newest(audits: Iterable[Attested]) -> tuple[Attested, ...]:
    """The newest word of each auditor of each registry, the worst verdict first."""
    last = signers.last_words(
        list(audits), of=lambda audit: (audit.registry, audit.namespace),
        order=lambda audit: (instants.read(audit.created), -severity(audit.verdict)),
    )  # fmt: skip
    return tuple(sorted(last, key=lambda audit: (severity(audit.verdict), audit.namespace)))


def find_lost(remembered: Iterable[Attested], shown: Sequence[Attested], *, asked: bool) -> tuple[Lost, ...]:
    """What was seen before and is not shown now: what found a leak, and every independent audit.

    Where nobody was `asked` (a folder here), what found a leak alone: the folder may be older than the others.
    """
    return tuple(
        Lost(audit)
        for audit in remembered
        if (audit.verdict == LEAK or (asked and not audit.own)) and not any(now.supersedes(audit) for now in shown)
    )


def severity(verdict: str) -> int:
    """The lower, the worse; of a verdict that a later version gives, nearly the worst."""
    return VERDICTS.index(verdict) if verdict in VERDICTS else 1


def say(others: Iterable[Attested], lost: Iterable[Lost]) -> list[Finding]:
    """Others' audits of the same bytes, and what is gone, each as a finding."""
    found = [Finding(CHECK, "warning" if a.verdict == LEAK else "note", plain(a.in_words())) for a in others]
    return found + [Finding(CHECK, "warning", plain(item.in_words())) for item in lost]
