"""From a release and an audit report to the evidence about them. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from embhub.artifact.embedding import Embedding
from embhub.audits.attack_figures import AttackResult
from embhub.audits.explanation import explain
from embhub.audits.report import AuditReport
from embhub.cards.card_schema import Card
from embhub.cards.vocabulary import DEIDENTIFICATION
from embhub.evidence import document
from embhub.evidence.document import Evidence, Limit, Rebuilt
from embhub.evidence.sections import regulation
from embhub.evidence.sections.concerns import Concern, refute
from embhub.evidence.sections.coverage import list_coverage
from embhub.evidence.sections.form import list_fields
from embhub.evidence.sections.shipping import list_shipment
from embhub.formats import instants
from embhub.privacy import rdp
from embhub.privacy.claim import Claim, PrivacyClaim
from embhub.privacy.fields import MAX_DELTA
from embhub.privacy.reconstruction import most_rebuilt, most_rebuilt_by_curve
from embhub.privacy.second_opinion import SecondOpinion
from embhub.privacy.wording import is_large
from embhub.release import files as release_files
from embhub.release.checks import claims, consistency
from embhub.release.files import Release
from embhub.version import __version__

CHANCES = (0.001, 0.01, 0.1)
CANDIDATES = (10, 100, 1000, 10_000)
NO_CLAIM = (
    "Trained without differential privacy: no epsilon is claimed, and there is no bound on what the embedding reveals"
    " about a patient.",
    "The audit is the only evidence. It shows what some attacks found and cannot rule out others.",
)

CARRIED = (
    "The embedding is a port. The claim is that of its source and carries over by post-processing, if the port learned"
    " from images generated with the source and from nothing else. The port's publisher vouches for that; the file"
    " cannot show it."
)


def gather(
    release: Release,
    report: AuditReport,
    *,
    name: str,
    report_digest: str,
    card_fault: str | None,
    now: datetime,
    concerns: Sequence[Concern],
    ledger: document.Ledger | None = None,
    second_opinion: SecondOpinion | None = None,
) -> Evidence:
    """Everything that a pack says.

    Args:
        release: the embedding with what lies beside it; without a card where `card_fault` says why.
        report: the audit report that the pack is about, which need not be the one in the release.
        name: what the embedding is called where no card says it.
        now: time of making, with its zone.
        concerns: what must be resolved before sign-off.
        ledger: what the site's ledger counts for those who were in the training; None where it knows nothing of it.
        second_opinion: what opacus said of the claim, by the training's record; None where the site has none.

    Raises:
        ArtifactError: embedding, card or report in the release is malformed.
    """
    artifact = release.embedding
    card = None if card_fault else release.card
    card_digest = release_files.digest(release.files[release_files.CARD]) if card else None
    return Evidence(
        made=instants.write(now),
        audit_again_by=in_a_year(now),
        tool=document.Tool(version=__version__),
        subject=describe_subject(artifact, name=card.name if card else name),
        card=document.CardFacts(
            sha256=card_digest,
            version=card.version if card else None,
            patients=str(card.n_patients) if card else None,
            fault=card_fault,
            says=say(card),
        ),
        concerns=tuple(concern.in_english for concern in concerns),
        shipment=list_shipment(release),
        privacy=describe_privacy(
            artifact.privacy,
            refuted=refute(artifact.privacy, report),
            ledger=ledger,
            second_opinion=second_opinion,
            ported=artifact.derived_from is not None,
        ),
        audit=describe_audit(report, report_digest, leaves=claims.exposed(artifact.privacy, report) is None),
        coverage=list_coverage(
            report, bounded=isinstance(artifact.privacy, PrivacyClaim), copy_checked=_copy_checked(card)
        ),
        triggers=regulation.TRIGGERS,
        after_release=regulation.AFTER_RELEASE,
        regulation=document.Regulation(
            as_of=regulation.AS_OF,
            not_advice=regulation.NOT_ADVICE,
            rules=tuple(
                document.Rule(source=source, asks=asks, here=here, missing=missing)
                for source, asks, here, missing in regulation.RULES
            ),
        ),
        sign_off=document.SignOff(
            embedding_sha256=artifact.digest, card_sha256=card_digest, report_sha256=report_digest
        ),
        form=list_fields(card.intended_use if card else None, review_by=in_a_year(now)),
    )


def describe_subject(artifact: Embedding, *, name: str) -> document.Subject:
    """An embedding by its file and its header; `name` is the card's, where there is one."""
    return document.Subject(
        name=name,
        sha256=artifact.digest,
        bytes=len(artifact.data),
        token=artifact.token,
        rows=tuple(document.Rows(encoder=row.encoder, count=row.count, dim=row.dim) for row in artifact.vectors),
        base=artifact.base_name,
        base_sha256=consistency.base_digest(artifact),
    )


def describe_privacy(
    claim: Claim,
    *,
    refuted: str | None = None,
    ledger: document.Ledger | None = None,
    second_opinion: SecondOpinion | None = None,
    ported: bool = False,
) -> document.Privacy:
    """A claim in words, and as chances of one person: to be named, and that images are rebuilt."""
    if not isinstance(claim, PrivacyClaim):
        return document.Privacy(
            claim="none",
            epsilon=None,
            delta=None,
            words=NO_CLAIM,
            limits=(),
            together_epsilon=None,
            together=(),
            reconstruction=(),
            weak=True,
            refuted=None,
            ledger=ledger,
        )
    together = ledger.epsilon if ledger and ledger.trainings > 1 else None
    return document.Privacy(
        claim=claim.to_dict(),
        epsilon=claim.epsilon,
        delta=claim.delta,
        words=(*((CARRIED,) if ported else ()), *claim.words()),
        limits=limits(claim.epsilon, delta=claim.delta),
        together_epsilon=together,
        together=limits(together, delta=claim.delta) if together else (),
        reconstruction=tuple(_rebuilt(claim, candidates) for candidates in CANDIDATES),
        weak=claim.is_weak or _is_weak(ledger),
        refuted=refuted,
        ledger=ledger,
        second_opinion=second_opinion,
        against_sites=limits(claim.largest_epsilon, delta=claim.delta) if claim.study else (),
        ported=ported,
    )


def _is_weak(ledger: document.Ledger | None) -> bool:
    """Whether all of the site's trainings together leave next to nothing bounded for some of those in this one."""
    return ledger is not None and (ledger.epsilon is None or is_large(ledger.epsilon, delta=MAX_DELTA))


def limits(epsilon: float, *, delta: float) -> tuple[Limit, ...]:
    """The largest chance of being named for having taken part, at some chances of being named without."""
    return tuple(
        Limit(named_without=chance, named_with_at_most=rdp.largest_tpr(epsilon, delta=delta, fpr=chance))
        for chance in CHANCES
    )


def _rebuilt(claim: PrivacyClaim, candidates: int) -> Rebuilt:
    chance = 1 / candidates
    lineage = claim.composition
    together = None
    if lineage is not None and lineage.trainings > 1 and not lineage.plain:  # nothing bounds a plain training
        listed = lineage.parameters
        by_curve = most_rebuilt_by_curve(rdp.unstate(lineage.rdp), chance=chance)
        together = by_curve if listed is None else most_rebuilt(listed, chance=chance)
    return Rebuilt(
        candidates=candidates,
        chance_without=chance,
        rebuilt_at_most=most_rebuilt(claim.weakest, chance=chance),
        together_at_most=together,
    )


def describe_audit(report: AuditReport, digest: str, *, leaves: bool) -> document.Audit:
    """A report's figures and what its verdict means; `leaves` is whether it may leave the site."""
    words = explain(report)
    return document.Audit(
        sha256=digest,
        suite=report.suite,
        unit=report.unit,
        members=report.members.units,
        nonmembers=report.nonmembers.units,
        verdict=report.verdict,
        statement=report.statement,
        means=words.means,
        does_not_mean=words.means_not,
        advice=words.advice,
        headline=report.headline,
        deciding=report.deciding,
        power=report.power,
        attacks=tuple(_figures(result) for result in report.attacks),
        found_nothing=report.found_nothing,
        coins=report.coins,
        leaves_the_site=leaves,
    )


def _copy_checked(card: Card | None) -> bool:
    return card is not None and card.samples is not None and card.samples.copy_check == "no-copies-found"


def _figures(result: AttackResult) -> document.Figures:
    return document.Figures(**{field: getattr(result, field) for field in document.Figures.model_fields})


def say(card: Card | None) -> dict[str, str]:
    """What the card answers for a decision: question to answer."""
    if card is None:
        return {}
    codes = ", ".join(f"{code} ({meaning})" if meaning else code for code, meaning in _profile(card))
    finding = ", ".join(code.display for code in card.finding) or "none (healthy)"
    return {
        "What it generates": card.description,
        "Shows": f"{', '.join(card.modality)}; {', '.join(code.display for code in card.anatomy)}; {finding}",
        "Publisher and contact": f"{card.publisher}; {card.contact_role}",
        "Legal basis": card.legal_basis,
        "Consent or waiver": card.consent_or_waiver,
        "Ethics": card.ethics_ref,
        "De-identification": f"{codes}; pixels reviewed: {card.deidentification.pixel_review}",
        "Intended use": card.intended_use,
        "Out of scope": card.out_of_scope,
        "Limitations": card.limitations,
        **({"Origin": card.derived_from.sentence} if card.derived_from else {}),
        "Licence": f"{card.licence}; of the base model: {card.base_model.licence}",
    }


def _profile(card: Card) -> list[tuple[str, str]]:
    return [(code, DEIDENTIFICATION.get(code, "")) for code in card.deidentification.profile]


def in_a_year(now: datetime) -> str:
    """The date twelve months later."""
    day = now.replace(day=28) if (now.month, now.day) == (2, 29) else now
    return day.replace(year=day.year + 1).date().isoformat()
