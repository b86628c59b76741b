"""Do statement, header, card and report tell one story? Each comparison is a finding, each contradiction a refusal.

Called after the signature was checked: what fails here was signed so, by mistake or on purpose. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

import rfc8785

from embhub.artifact import base_identity
from embhub.artifact.embedding import Embedding
from embhub.audits.attack_figures import FIVES
from embhub.audits.report import AuditReport
from embhub.audits.report_facts import Split
from embhub.cards.card_schema import Card
from embhub.cards.readme import to_readme
from embhub.privacy.claim_or_none import is_claim
from embhub.refusals import (
    AuditMismatchError,
    CardMismatchError,
    ClaimMismatchError,
    Finding,
    Outcome,
    WrongStudyError,
)
from embhub.release.checks import claims
from embhub.release.checks.claims import check_claim as check_claim
from embhub.trust.statement import MiaAudit, Publish

if TYPE_CHECKING:
    from embhub.study.plan import Study

UNKNOWN_BASE = "unknown"
HELD_OUT = frozenset(split for split in get_args(Split) if split.endswith("held out before training"))
_HINT = "the publisher has to correct it and sign a new version; do not use this one"


def base_digest(embedding: Embedding) -> str | None:
    """Digest of the base model's fingerprint in the file's header, None where the header has none."""
    return None if embedding.base is None else base_identity.digest(embedding.base)


def headline(report: AuditReport) -> dict[str, Any]:
    """The figures that a `mia-audit/v1` statement repeats, so that a reader needs not open the report."""
    result = report.deciding_result
    return {
        "suite": report.suite,
        "unit": report.unit,
        "attack": result.name,
        "auc": result.auc,
        "auc_interval": list(result.auc_interval),
        "p_value": report.deciding.p_value,
        "verdict": report.verdict,
    }


def check_readme(card: Card, readme: bytes) -> None:
    """README.md is what its card renders to: people and programs read the same, and there is no room for more.

    Raises:
        CardMismatchError: it says something else or something beside.
    """
    if readme != to_readme(card):
        raise CardMismatchError("README.md is not what its card renders to", _HINT)


def power(report: AuditReport) -> str:
    """What a card says of a report's power."""
    return f"would have seen an AUC of {report.power.smallest_auc:.2f} four times in five"


def check_card(card: Card, *, embedding: Embedding, publish: Publish, report: AuditReport | None) -> Iterator[Finding]:
    """The card against the file's header, the statement and the report.

    Raises:
        CardMismatchError: it says something else than they do.
    """
    if card.version != publish.version:
        raise _card("version", card.version, publish.version, "the statement")
    if card.token != embedding.token:
        raise _card("token", card.token, embedding.token, "the embedding")
    said = sorted((row.encoder, row.count, row.dim) for row in card.vectors)
    held = sorted((row.encoder, row.count, row.dim) for row in embedding.vectors)
    if (card.kind or "embedding") != embedding.kind:
        raise _card("kind", card.kind or "embedding", embedding.kind, "the embedding")
    modules = "attention" if embedding.target_modules == "attention" else None
    if card.target_modules != modules:
        raise _card("target_modules", card.target_modules, modules, "the embedding")
    if said != held:
        raise _card("vectors", said, held, "the embedding")
    yield Finding("card", "ok", "the card is the signed one and describes this embedding (version, token, vectors)")
    if report is not None:
        _check_counts(card, report)
    yield _check_summary(card, report, announced=publish.audit is not None)


def check_base(card: Card, *, embedding: Embedding, publish: Publish) -> Finding:
    """The base model as header, card and statement name it.

    Raises:
        ClaimMismatchError: they name different ones.
    """
    inside = base_digest(embedding)
    signed = publish.base.sha256 if publish.base else None
    on_card = None if card.base_model.fingerprint == UNKNOWN_BASE else card.base_model.fingerprint
    if not inside == signed == on_card:
        raise ClaimMismatchError("header, card and statement name different base models", _HINT)
    name = card.base_model.id
    if inside is None:
        return Finding("base", "warning", f"the base model {name} is named without a fingerprint: nothing can check it")
    return Finding("base", "ok", f"header, card and statement name one base model: {name}, fingerprint {inside[:16]}…")


def check_study(embedding: Embedding, *, study: Study) -> None:
    """The header names base, token, caption and settings of the study that it came from, as far as that has them.

    Raises:
        WrongStudyError: they differ, whatever the sites signed.
    """
    stated, agreed = _stated(embedding), _agreed(study)
    if differing := [name for name, value in agreed.items() if value is not None and stated[name] != value]:
        raise WrongStudyError(
            f"file and study differ in {', '.join(differing)}",
            "do not use this release: its sites approved another file",
        )


def _stated(embedding: Embedding) -> dict[str, Any]:
    told = embedding.training
    counts = {told.get("vectors"), *(part.count for part in embedding.vectors)}
    return {
        "base": base_digest(embedding), "base name": embedding.base_name, "token": embedding.token,
        "caption": told.get("caption"), "steps": told.get("steps"), "batch size": told.get("batch_size"),
        "vectors": counts.pop() if len(counts) == 1 else counts, "learning rate": told.get("learning_rate"),
        "resolution": told.get("resolution"),
        "fit": told.get("fit", "crop"),  # as a file without the word was made
    }  # fmt: skip


def _agreed(study: Study) -> dict[str, Any]:
    recipe, preprocessing = study.recipe, study.preprocessing
    return {
        "base": study.base, "base name": study.base_name, "token": study.token, "caption": study.caption,
        "steps": study.attempts, "batch size": study.batch, "vectors": recipe.get("num_vectors"),
        "learning rate": recipe.get("learning_rate"), "resolution": preprocessing.get("resolution"),
        "fit": preprocessing.get("fit"),
    }  # fmt: skip


def check_recipe(embedding: Embedding, *, publish: Publish) -> None:
    """The training facts in the statement are those of the header.

    Raises:
        ClaimMismatchError: they are not.
    """
    if not _equal(publish.recipe, embedding.training):
        raise ClaimMismatchError("header and statement describe different trainings", _HINT)


def check_report(report: AuditReport, *, embedding: Embedding) -> Iterator[Finding]:
    """The report against the embedding and against itself.

    Raises:
        AuditMismatchError: it is another embedding's, or its figures contradict each other.
        ClaimMismatchError: it shows a larger epsilon than the privacy claim allows.
    """
    if report.artifact.sha256 != embedding.digest:
        raise AuditMismatchError("the audit report is about another embedding", _HINT)
    if report.base.digest != base_digest(embedding):
        raise AuditMismatchError("the audit report names another base model than the embedding", _HINT)
    for contradicts in (claims.exposed, claims.refuted):
        if contradiction := contradicts(embedding.privacy, report):
            raise ClaimMismatchError(contradiction, _HINT)
    if contradictions := report.check():
        listed = "; ".join(contradictions[:3])
        raise AuditMismatchError(f"the audit report contradicts itself: {listed}", _HINT)
    yield Finding("audit", "ok", "the report is the signed one, and its figures agree with each other (consistent)")
    outcome: Outcome = "warning" if report.verdict == "leak-detected" else "note"
    yield Finding("verdict", outcome, f"audit verdict: {report.verdict} ({report.suite} suite). {report.statement}")


def check_attestation(audit: MiaAudit, *, publish: Publish, report: AuditReport, report_digest: str) -> None:
    """The audit statement against the publish statement and the report.

    Raises:
        AuditMismatchError: it is about another report, release or repository, or repeats other figures.
    """
    if audit.report.sha256 != report_digest:
        raise AuditMismatchError("the audit attestation is about another report than audit.json", _HINT)
    if (audit.repository, audit.version) != (publish.repository, publish.version):
        raise AuditMismatchError(
            f"the audit attestation is for {audit.repository} {audit.version}, "
            f"the release is {publish.repository} {publish.version}",
            _HINT,
        )
    if not _equal(audit.headline, headline(report)):
        raise AuditMismatchError("the audit attestation states other figures than the report", _HINT)


def _check_counts(card: Card, report: AuditReport) -> None:
    """The report publishes how many it attacked: no more than were trained on, and no group must follow from it."""
    if report.unit == "canary":
        return
    trained = card.n_patients if report.unit == "patient" else card.n_images
    low, high = (trained, trained) if isinstance(trained, int) else map(int, trained.split("-"))
    attacked = report.members.units  # rounded down to fives
    if isinstance(trained, int) and is_claim(card.privacy):
        high = max(high, attacked)  # a declared lower bound
    if attacked > high or (attacked + FIVES <= low and report.design.split in HELD_OUT):
        raise _card("of the training", f"{trained} {report.unit}s", f"{attacked}", "the report")
    alone = report.unit == "patient" or card.max_images_per_patient == 1
    for table in ("age_bands", "sex"):
        cells = getattr(card.population, table, None) or {}
        if alone and sum(str(cell).startswith("<") for cell in cells.values()) == 1:
            raise CardMismatchError(
                f"population.{table} hides one group that the number of patients in the audit report gives away",
                f"merge groups, or leave population.{table} out, then sign a new version",
            )


def _check_summary(card: Card, report: AuditReport | None, *, announced: bool) -> Finding:
    said = card.audit.verdict
    if said == "not-audited" and card.audit.suite != "none":
        raise CardMismatchError(f"the card says not-audited, and names the suite {card.audit.suite}", _HINT)
    if report is None:
        if said != "not-audited":
            raise CardMismatchError(f"the card mentions an audit ({said}), and the release has none", _HINT)
        return Finding("card-audit", "note", "the card says that the embedding was not audited")
    if said == "not-audited" and announced:
        raise CardMismatchError("the card says not-audited, and was signed together with an audit report", _HINT)
    if said == "not-audited":
        return Finding("card-audit", "note", "the audit was made after the card was signed")
    if (said, card.audit.suite) != (report.verdict, report.suite):
        raise CardMismatchError(
            f"the card says {said} ({card.audit.suite}), the report {report.verdict} ({report.suite})", _HINT
        )
    if card.audit.power != power(report):
        raise _card("power", ascii(card.audit.power), power(report), "the report")
    return Finding("card-audit", "ok", "card and report give the same verdict and power")


def _equal(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """The same JSON: 1 and 1.0 are one number in it, true is none."""
    try:
        return rfc8785.dumps(dict(left)) == rfc8785.dumps(dict(right))
    except rfc8785.CanonicalizationError:
        return False


def _card(field: str, said: object, actual: object, source: str) -> CardMismatchError:
    return CardMismatchError(f"the card says {field} {said}, {source} says {actual}", _HINT)
