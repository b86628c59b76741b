"""What a bill of materials says of a release, in the order in which it is said. Pure.

Of patients it says what the card says, which is published beside the embedding, and nothing more.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from embhub.cards.card_schema import Card
from embhub.cards.readme import PRIVACY_WORDS, VERDICT_WORDS
from embhub.cards.vocabulary import DEIDENTIFICATION, MODALITIES
from embhub.evidence.sections.guarantee import PORTED
from embhub.privacy.claim import PrivacyClaim
from embhub.release.verified import Verified


@dataclass(frozen=True)
class Figure:
    """A number that the card or the audit report states, as text; `low` and `high` where it has an interval."""

    name: str
    value: str
    of: str
    low: str | None = None
    high: str | None = None


@dataclass(frozen=True)
class Facts:
    """A verified release, asked for what its bills of materials say."""

    verified: Verified

    @property
    def card(self) -> Card:
        """The release's card."""
        return self.verified.card

    @property
    def page(self) -> str:
        """The release's page at the registry whose keyring knows its signer."""
        return f"{self.verified.signer.registry.rstrip('/')}/{quote(self.verified.repository)}"

    def number(self, of: str) -> uuid.UUID:
        """The UUID (version 5) of one document; it follows from repository, version, time and digest of the release."""
        seen = self.verified
        name = f"{self.page}@{seen.version}#{seen.created}#sha256:{seen.digest}#{of}"
        return uuid.uuid5(uuid.NAMESPACE_URL, name)

    @property
    def architecture(self) -> str:
        """What kind of file it is, with the size of its tensors."""
        card = self.card
        if card.kind == "adapter":
            return f"low-rank adapter of {card.target_modules or 'cross-attention'}, rank {card.vectors[0].count}"
        sizes = ", ".join(f"{item.count} x {item.dim} for {item.encoder}" for item in card.vectors)
        return f"textual inversion embedding, {sizes}"

    @property
    def domains(self) -> tuple[str, ...]:
        """What its images show: modality, body part, finding."""
        card = self.card
        shown = [MODALITIES[code] for code in card.modality]
        shown += [code.display for code in (*card.anatomy, *card.finding)]
        return tuple(dict.fromkeys(("medical imaging", *shown)))

    @cached_property
    def recipe(self) -> dict[str, str]:
        """How it was trained, by the header of its file, and the mechanism of its privacy claim."""
        told = {name: _text(value) for name, value in sorted(self.verified.embedding.training.items())}
        claim = self.card.privacy
        if isinstance(claim, PrivacyClaim):
            told |= {
                "privacy.mechanism": claim.mechanism,
                "privacy.unit": claim.unit,
                "privacy.noise_multiplier": _text(claim.sigma),
                "privacy.max_grad_norm": _text(claim.clip),
                "privacy.sample_rate": _text(claim.sampling.q),
                "privacy.steps": _text(claim.steps),
                "privacy.epsilon": _text(claim.epsilon),
                "privacy.delta": _text(claim.delta),
            }
            if claim.study is not None:
                told["privacy.epsilon_against_sites"] = _text(claim.study.epsilon_against_sites)
        return told

    @property
    def privacy(self) -> str:
        """The privacy claim in sentences, as the card's page has it, and of a port under which condition it holds."""
        claim = self.card.privacy
        if not isinstance(claim, PrivacyClaim):
            return PRIVACY_WORDS
        return " ".join((*((PORTED,) if self.card.derived_from else ()), *claim.words()))

    @property
    def audit(self) -> str:
        """The verdict of the publisher's audit in sentences."""
        audit, report = self.card.audit, self.verified.report
        if report:  # which may have been made after the card
            return f"{report.verdict} (suite: {report.suite}). {VERDICT_WORDS[report.verdict]} {report.statement}"
        return f"{audit.verdict} (suite: {audit.suite}). {VERDICT_WORDS[audit.verdict]} Power: {audit.power}."

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The card's evaluation, then the attack that decided the audit."""
        told = [
            Figure(item.metric, _text(item.value), f"{item.task}, {item.dataset}", *map(_text, item.interval or ()))
            for item in self.card.evaluation
        ]
        if report := self.verified.report:
            decided = report.deciding_result
            name = f"AUC of the membership-inference attack {decided.name}"
            of = f"{report.members.units} members, {report.nonmembers.units} non-members, by {report.unit}"
            of += "" if report.unit == "canary" else ", rounded down to fives"
            told.append(Figure(name, _text(decided.auc), of, *map(_text, decided.auc_interval)))
        return tuple(told)

    @property
    def base_address(self) -> str | None:
        """The package URL of a base on the Hugging Face Hub; None for any other."""
        base = self.card.base_model
        return f"pkg:huggingface/{quote(base.id)}@{quote(base.revision, safe='')}" if "/" in base.id else None

    @property
    def governance(self) -> dict[str, str]:
        """What the card says of the training images beside the persons responsible: never more than the card."""
        card = self.card
        told = {
            "patients": str(card.patients),
            "images": str(card.images),
            "images of one patient, at most": str(card.max_images_per_patient),
            "modality": ", ".join(card.modality),
            "labels": f"{card.labels.source}; {card.labels.annotators}",
            "preprocessing": card.preprocessing,
            "de-identification": ", ".join(DEIDENTIFICATION[code] for code in card.deidentification.profile),
            "pixel review": card.deidentification.pixel_review,
            "legal basis": card.legal_basis,
            "consent or waiver": card.consent_or_waiver,
            "ethics": card.ethics_ref,
        }
        if card.derived_from is not None:
            told["derived from"] = card.derived_from.sentence
        return told

    @property
    def dataset(self) -> str:
        """A name for the training images, which stay at the site."""
        return f"training images of {self.verified.repository} {self.verified.version}"


def _text(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)
