"""A release that may be used, and the evidence: what verification returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from embhub.refusals import Finding
from embhub.release.checks import attested

if TYPE_CHECKING:
    from embhub.artifact.embedding import Embedding
    from embhub.audits.report import AuditReport
    from embhub.cards.card_schema import Card
    from embhub.release.checks.approvals import Approved
    from embhub.release.checks.attested import Attested, Lost
    from embhub.release.checks.audit_files import AuditFile
    from embhub.release.checks.evaluated import Evaluated
    from embhub.release.checks.signers import Signer
    from embhub.release.checks.yanks import Yank
    from embhub.release.policy import Policy
    from embhub.site.memory.seen import SignerChange
    from embhub.trust.advisories import Advisory
    from embhub.trust.freshness import State


@dataclass(frozen=True)
class Verified:
    """A release that may be used, and the evidence for it.

    Attributes:
        embedding: The embedding.
        card: The card.
        report: The audit report, or None.
        repository: `namespace/name` that was signed.
        version: `X.Y.Z` that was signed.
        replaces: SHA-256 of the embedding that this release replaces, or None.
        created: When it was signed, by its own statement (UTC).
        signer: Who published it.
        audit_files: Every audit attestation of the release and who signed it, the publisher's own first.
        policy: The policy that it was judged by.
        findings: Every check, its result, and a sentence on it.
        yanked: What the registry says, unsigned, of a yanked release; None otherwise.
        others: Further audits of the same bytes.
        lost: Audits that this site saw earlier and that the registry no longer lists.
        unanswered: What the registry did not answer: yanks, audits, designs of audits.
        withdrawn: Signed advisories of its registry by which the release or its bytes are withdrawn.
        unexpected: Set where the key that signed is another one than this site saw before, or new.
        unexpected_auditors: Namespace and key of auditors who countersigned with a key that is new here.
        keyring: Version of the keyring that vouched for the signer.
        freshness: `fresh` where a timestamp of the registry confirms the keyring, `stale` where the timestamp or the
            keyring ended, `unknown` where there is no timestamp. The finding of this name says since when.
        log_index: Index of its entry in the registry's transparency log, or None where no proof shows one.
        checkpoint: The signed checkpoint that the proof leads to, or None.
        approvals: Who approved it before it was published, by attestations that count.
        evaluations: What others found of the same bytes: signed claims that nobody checked. They decide nothing.

    Example:
        >>> import embhub
        >>> verified = embhub.verify("hospital-a/prostate-cspca")  # doctest: +SKIP
        >>> print(verified.signer.namespace, verified.audit_in_words())  # doctest: +SKIP
        hospital-a no-leak-detected, consistent, self-declared
    """

    embedding: Embedding
    card: Card
    report: AuditReport | None
    repository: str
    version: str
    replaces: str | None
    created: str
    signer: Signer
    audit_files: tuple[AuditFile, ...]
    policy: Policy
    findings: tuple[Finding, ...]
    yanked: Yank | None = None
    others: tuple[Attested, ...] = ()
    lost: tuple[Lost, ...] = ()
    unanswered: frozenset[str] = frozenset()
    withdrawn: tuple[Advisory, ...] = ()
    unexpected: SignerChange | None = None
    unexpected_auditors: tuple[tuple[str, SignerChange], ...] = ()
    keyring: int | None = None
    freshness: State = "unknown"
    log_index: int | None = None
    checkpoint: str | None = None
    approvals: tuple[Approved, ...] = ()
    evaluations: tuple[Evaluated, ...] = ()

    def __repr__(self) -> str:
        from embhub.release import notebook_view

        return notebook_view.in_one_line(self)

    def _repr_html_(self) -> str:
        from embhub.release import notebook_view

        return notebook_view.as_html(self)

    @property
    def digest(self) -> str:
        """SHA-256 of the embedding in lower-case hex."""
        return self.embedding.digest

    @property
    def _standing(self) -> tuple[AuditFile, ...]:
        return tuple(item for item in self.audit_files if not item.left_out)

    @property
    def left_out(self) -> tuple[Attested, ...]:
        """Audits whose auditor's key was revoked: they vouch for nothing, and what they found cannot be relied on."""
        return tuple(item.audit for item in self.audit_files if item.left_out)

    @property
    def _of_report(self) -> AuditFile | None:
        """The attestation of audit.json that counts most: the first independent auditor's, else the publisher's."""
        vouching = [item for item in self._standing if item.of_report]
        return next((item for item in vouching if item.countersigns), vouching[0] if vouching else None)

    @property
    def auditor(self) -> Signer | None:
        """Who signed the attestation of the audit report: an independent auditor where there is one, or None."""
        return self._of_report.signer if self._of_report else None

    @property
    def audited(self) -> str | None:
        """When that attestation was signed, by its own statement, or None."""
        return self._of_report.audit.created if self._of_report else None

    @property
    def countersigners(self) -> tuple[Signer, ...]:
        """Every independent auditor who vouches for the audit report."""
        return tuple(item.signer for item in self.audit_files if item.countersigns)

    @property
    def audits(self) -> tuple[Attested, ...]:
        """Every audit that the release's own files attest, but for those left out."""
        return tuple(item.audit for item in self._standing)

    @property
    def verdict(self) -> str | None:
        """The worst verdict of all audits of these bytes that are known here, or None where there is none."""
        said = [audit.verdict for audit in (*self.audits, *self.others)]
        return min(said, key=attested.VERDICTS.index, default=None)

    @property
    def independent(self) -> bool:
        """Whether an auditor of another namespace countersigned."""
        return self.auditor is not None and self.auditor.is_independent_of(self.signer.namespace)

    @property
    def audit_status(self) -> Literal["countersigned", "consistent"] | None:
        """What supports the audit's figures: an independent auditor's signature, or their consistency alone."""
        if self.report is None:
            return None
        return "countersigned" if self.independent else "consistent"

    def audit_in_words(self) -> str:
        """Summarise the audit for people.

        Returns:
            Verdict and status, such as `no-leak-detected, countersigned by nki`, `…, consistent, self-declared`, or
            `none`; and who else found a leak.
        """
        leaking = [audit.namespace for audit in self.others if audit.verdict == attested.LEAK]
        worse = f"{attested.LEAK} by {' and '.join(leaking)}" if leaking else ""
        if self.report is None:
            return worse or "none"
        auditors = " and ".join(dict.fromkeys(auditor.namespace for auditor in self.countersigners))
        by = f" by {auditors}" if auditors else ", self-declared"
        return f"{self.report.verdict}, {self.audit_status}{by}{'; ' + worse if worse else ''}"

    def _concerns(self, audit: Attested) -> bool:
        """An auditor's word, or this publisher's own; not that of somebody who published the same bytes as theirs.

        No registry speaks for another: its auditors are not this one's, even of the same name.
        """
        return audit.registry == self.signer.registry and (not audit.own or audit.namespace == self.signer.namespace)

    def told(
        self, *, yanked: Yank | None, others: Sequence[Attested], remembered: Iterable[Attested],
        asked: bool = True, unanswered: Iterable[str] = (),
    ) -> Verified:  # fmt: skip
        """Add what a registry says of the release, and what this site remembers of it.

        Args:
            yanked: The yank of this release, or None.
            others: Further audits of the same bytes, verified.
            remembered: Audits of the same bytes that this site saw earlier.
            asked: Whether a registry was asked who audited the bytes. A folder on this disk asks nobody.
            unanswered: Questions that the registry did not answer.

        Returns:
            A copy with these facts and the findings that follow from them.
        """
        others, remembered = ([a for a in found if self._concerns(a)] for found in (others, remembered))
        vouching = [item.audit for item in self._standing if item.of_report]
        more = tuple(audit for audit in attested.newest([*self.others, *others]) if audit not in vouching)
        lost = attested.find_lost(remembered, [*self.audits, *others], asked=asked)
        new = [audit for audit in more if audit not in self.others]
        findings = (*self.findings, *attested.say(new, lost))
        open_ = self.unanswered | frozenset(unanswered)
        return replace(self, yanked=yanked, others=more, lost=lost, unanswered=open_, findings=findings)

    def to_json(self) -> dict[str, Any]:
        """Return what `embhub verify --json` prints.

        Returns:
            Plain data.
        """
        return {
            "verified": True,
            "repository": self.repository,
            "version": self.version,
            "digest": self.digest,
            "replaces": self.replaces,
            "created": self.created,
            "token": self.embedding.token,
            "signer": asdict(self.signer),
            "auditor": asdict(self.auditor) if self.auditor else None,
            "countersigned": self.independent,
            "audit_status": self.audit_status,
            "verdict": self.verdict,
            "audits": [audit.model_dump() for audit in self.audits],
            "left_out_audits": [audit.model_dump() for audit in self.left_out],
            "policy": self.policy.name,
            "yanked": self.yanked.to_json() if self.yanked else None,
            "withdrawn": [asdict(advisory) for advisory in self.withdrawn],
            "other_audits": [audit.model_dump() for audit in self.others],
            "lost_audits": [lost.audit.model_dump() for lost in self.lost],
            "unexpected_signer": asdict(self.unexpected) if self.unexpected else None,
            "unexpected_auditors": [{"namespace": who, **asdict(change)} for who, change in self.unexpected_auditors],
            "findings": [asdict(finding) for finding in self.findings],
            "freshness": self.freshness,
            "log_index": self.log_index,
            "checkpoint": self.checkpoint,
            "approvals": [one.to_json() for one in self.approvals],
            "evaluations": [one.model_dump(mode="json") for one in self.evaluations],
        }
