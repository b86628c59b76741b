"""From a verified release to the sheet about it, for the site that receives it. Pure: the time is given.

Everything here is public: the signed files, the keyring and what the registry says of the release.
"""

from __future__ import annotations

from datetime import datetime

from embhub.cards.card_schema import Card
from embhub.evidence import document
from embhub.evidence.document import FormField
from embhub.evidence.gathering import describe_audit, describe_privacy, describe_subject, in_a_year
from embhub.evidence.gathering import say as say_of
from embhub.evidence.intake_document import Check, Intake, Signature, Source
from embhub.formats import instants
from embhub.pages.messages import ENGLISH, Day, Language, mark
from embhub.release import files as release_files
from embhub.release.checks.signers import Signer
from embhub.release.files import Release
from embhub.release.verified import Verified
from embhub.version import __version__

LIMITS = (
    mark(
        "A signature shows who is responsible for the release. It does not show that the release is good, safe or"
        " lawful to use."
    ),
    mark(
        "Whether training ran as the publisher states cannot be checked from these files. The privacy claim was"
        " recomputed from the parameters that the publisher states."
    ),
    mark(
        "An audit without an independent auditor's signature is the publisher's own statement. Its figures agree with"
        " each other; nobody else checked them against the patients."
    ),
    mark("An audit covers the attacks that it names. Other attacks, and later ones, may find more."),
    mark("The card is written by people. Its answers, including legal basis, consent and ethics, were not checked."),
    mark("The base model was made by others. What it memorised of its own training data is not examined here."),
    mark("A newer release, a newer keyring or a yank may exist that was not known when this sheet was made."),
)
DECIDE = (
    mark(
        "For what purpose will the embedding be used here, and does the card's intended use cover it? It is not for"
        " clinical use."
    ),
    mark("Does the licence of the embedding, and that of the base model, permit this use?"),
    mark("Does this site treat the file, or images generated with it, as personal data? On what legal basis?"),
    mark("Is the remaining leakage acceptable for the patients of the publishing site, given audit and claim?"),
    mark("Who may use it here, where are generated images stored, and how are they marked as generated?"),
    mark("If own images are used with it, for example to train further: is that covered by this site's own approval?"),
    mark("Who verifies again, and how often? A release can be yanked after it was taken over."),
)


def gather(verified: Verified, release: Release, *, source: Source, now: datetime) -> Intake:
    """Everything that the sheet says.

    Args:
        verified: the outcome of verification; nothing unverified gets here.
        release: the files that were verified.
        source: what was asked for, and where it came from.
        now: time of making, with its zone.
    """
    artifact, card, report = verified.embedding, verified.card, verified.report
    review_by = in_a_year(now)
    report_digest = release_files.digest(release.files[release_files.AUDIT]) if report is not None else None
    return Intake(
        made=instants.write(now),
        review_by=review_by,
        tool=document.Tool(version=__version__),
        source=source,
        repository=verified.repository,
        version=verified.version,
        subject=describe_subject(artifact, name=card.name),
        card_sha256=release_files.digest(release.files[release_files.CARD]),
        report_sha256=report_digest,
        publisher=_sign(verified.signer, verified.created),
        auditor=_sign(verified.auditor, verified.audited or "") if verified.auditor else None,
        countersigned=verified.independent,
        yanked=f"{verified.yanked.reason} ({verified.yanked.date[:10]})" if verified.yanked else None,
        warnings=tuple(found.text for found in verified.findings if found.outcome == "warning"),
        audit=describe_audit(report, report_digest, leaves=True) if report is not None and report_digest else None,
        audit_words=verified.audit_in_words(),
        further_audits=(
            *(audit.in_words() for audit in verified.others),
            *(lost.in_words() for lost in verified.lost),
        ),
        privacy=describe_privacy(artifact.privacy, ported=artifact.derived_from is not None),
        base=_describe_base(card),
        says=_say(card),
        checks=tuple(Check(check=found.check, outcome=found.outcome, text=found.text) for found in verified.findings),
        limits=LIMITS,
        decide=DECIDE,
        form=list_fields(card.intended_use, review_by=review_by),
    )


def _sign(signer: Signer, signed: str) -> Signature:
    revoked = f"{signer.revoked_as} on {signer.revoked_on[:10]}" if signer.revoked_on else None
    return Signature(
        namespace=signer.namespace, name=signer.name, fingerprint=signer.fingerprint, registry=signer.registry,
        signed=signed, revoked=revoked,
    )  # fmt: skip


def _describe_base(card: Card) -> dict[str, str]:
    base = card.base_model
    known = "unknown: embhub cannot check that a base is the right one" if base.fingerprint == "unknown" else ""
    return {
        "Base model": f"{base.id}, revision {base.revision}, family {base.family}",
        "Fingerprint": known or base.fingerprint,
        "Licence of the base model": base.licence,
    }


def _say(card: Card) -> dict[str, str]:
    told = say_of(card)
    told["Licence"] = f"{card.licence}, {card.licence_link}"
    told["Patients and images"] = f"{card.patients} patients, {card.images} images"
    told["Data sets of generated images"] = card.synthetic_data or "not stated"
    return told


def list_fields(intended_use: str | None, *, review_by: str, language: Language = ENGLISH) -> tuple[FormField, ...]:
    """The fields of the form, in their order.

    Args:
        intended_use: what the card says of it.
        review_by: the latest date of the next review.
        language: what the fields are in; what the card says stays as it is.
    """
    say = language.say
    return (
        FormField(name=say("Purpose here"), asks=say("what this site uses it for"), from_card=intended_use),
        FormField(name=say("DPIA reference"), asks=say("of this site's own assessment, or why none is needed")),
        FormField(name=say("Users and recipients"), asks=say("who works with the file and with generated images")),
        FormField(name=say("Retention"), asks=say("how long the file and generated images are kept")),
        FormField(name=say("Residual risk"), asks=say("what remains, and why this site accepts it")),
        FormField(
            name=say("Next review"),
            asks=say("on {day} at the latest; verify the release again then", day=Day(review_by)),
        ),
    )
