"""What leaves the hospital when a release is pushed, byte by byte, and what stays. Pure."""

from __future__ import annotations

from embhub.cards.samples import count
from embhub.evidence.document import Shipment, ShippedFile
from embhub.formats.plain_text import join_alike
from embhub.release import files as release_files
from embhub.release.files import Release

_SIGNED = "created when the release is signed"
_REGISTERED = {
    release_files.AUDIT_DESIGN: (
        "the signed design of a registered audit: its number, suite, bounds, day, and a keyed hash of both sides",
        "nothing; the hash needs a key that stays",
    ),
    release_files.AUDIT_RESULT: (
        "the signed result of a registered audit: its verdict, day, and the digest of its report",
        "the verdict of the audit",
    ),
}
_OTHER = ("an attestation that was signed by others, or the proof of a log", "what its signer states: read it")
_CONSENTS = (
    "the privacy claim, and of each site that it joined and whether it consented once it had seen its held-out loss:"
    " no figure covers that one bit"
)
ALSO_SENT = (
    "the account's access token, which the registry knows; the registry sees the IP address of the sender",
    "the repository name, and the name and version in the commit message",
)
STAYS = (
    "every image, and every copy made of it during training",
    "patient IDs, file names, DICOM headers, manifests",
    "digests of images: anyone who holds an image could compare them",
    "this site's record of the training, its privacy ledger, its keys",
    "the scores that an audit assigned to patients, and its seeds",
    "an audit of patients, if the file carries a privacy claim",
    "this evidence pack",
)


def list_shipment(release: Release) -> Shipment:
    """The files of a release, present or to be made, with the contents of each and what it reveals about patients."""
    answers = "the card: answers given by people, and facts derived from the file"
    rows = [
        _row(release, release_files.EMBEDDING, *_embedding_holds(release)),
        _row(release, release_files.CARD, answers, _card_tells(release)),
    ]
    if release_files.AUDIT in release.files:
        rows.append(
            _row(
                release,
                release_files.AUDIT,
                "the audit report: figures, and the coins of the audit with what attacks guessed of them",
                _audit_tells(release),
            )
        )
    if release_files.SAMPLES in release.files:
        rows.append(_row(release, release_files.SAMPLES, *_samples_hold(release)))
    if release_files.STUDY in release.files:
        holds = "the record of the study: its document, which sites joined it, and which consented to the embedding"
        rows.append(_row(release, release_files.STUDY, holds, _CONSENTS))
    rows.append(
        _row(
            release,
            release_files.PUBLISH_BUNDLE,
            "the publisher's signature on the digests above, with name, version, training facts, time, key, and keyed"
            " hashes of the site's privacy ledger with their numbers",
            "the privacy claim and nothing else",
        )
    )
    if release_files.AUDIT in release.files:
        holds = "the signature on the audit report, with the figures of the attack that decided the verdict"
        rows.append(_row(release, release_files.AUDIT_BUNDLE, holds, "these figures"))
    if release_files.SOURCE_BUNDLE in release.files:
        holds = "the publish attestation of the embedding that this one was ported from, as its publisher published it"
        rows.append(_row(release, release_files.SOURCE_BUNDLE, holds, "the privacy claim and nothing else"))
    listed = {row.name for row in rows} | {release_files.MODEL_BUNDLE}
    others = release_files.in_order(release.files.keys() - listed)
    rows += [_row(release, name, *_REGISTERED.get(name, _OTHER)) for name in others]
    holds = "a signature on the digests of all files above but the attestations, in the format of OpenSSF model signing"
    rows.append(_row(release, release_files.MODEL_BUNDLE, holds, "nothing"))
    return Shipment(files=tuple(rows), also_sent=ALSO_SENT, stays=STAYS)


def _row(release: Release, name: str, holds: str, of_patients: str) -> ShippedFile:
    data = release.files.get(name)
    return ShippedFile(
        name=name,
        bytes=None if data is None else len(data),
        sha256=None if data is None else release_files.digest(data),
        holds=holds if data is not None or name == release_files.CARD else f"{holds}; {_SIGNED}",
        of_patients=of_patients,
    )


def _embedding_holds(release: Release) -> tuple[str, str]:
    artifact = release.embedding
    if artifact.kind == "adapter":
        return _adapter_holds(release)
    numbers = sum(rows.count * rows.dim for rows in artifact.vectors)
    rows = join_alike((f"{rows.count} rows of {rows.dim}" for rows in artifact.vectors), by=" and ")
    facts = ", ".join(sorted(artifact.training)) or "none"
    return (
        f"the learned numbers: {rows}, {numbers:,} in all; a header with placeholder token, base model, privacy claim,"
        f" and training facts ({facts})",
        "no image, ID or tag; the audit and the privacy claim are about what the numbers reveal",
    )


def _adapter_holds(release: Release) -> tuple[str, str]:
    artifact = release.embedding
    numbers = sum(values.size for values in artifact.tensors.values())
    return (
        f"the learned numbers of a compact adapter of rank {artifact.vectors[0].count}, {numbers:,} in all; a header"
        f" with base model, privacy claim, and training facts ({', '.join(sorted(artifact.training)) or 'none'})",
        "no image, ID or tag; the audit and the privacy claim are about what the numbers reveal. They are more than an"
        " embedding's",
    )


def _card_tells(release: Release) -> str:
    if release_files.CARD not in release.files:
        return "not known yet: the card is incomplete"
    card = release.card
    told = [f"numbers: {card.patients} patients, {card.images} images"]
    population = card.population
    if population is not None and (population.age_bands or population.sex):
        told.append("groups by age or sex; of those under 10 people only that they are")
    if card.evaluation:
        told.append("figures of an evaluation: those on patients of this site are exact, and no bound limits them")
    return "; ".join([*told, "modality, body part, finding, region and years, if stated"])


def _samples_hold(release: Release) -> tuple[str, str]:
    record = release.card.samples
    if record is None:
        return "a sheet of generated images that the card does not record", "not known: do not publish it"
    told = (
        "what the embedding reveals, within the privacy claim, and what the base model was trained on"
        if record.copy_check == "not-run"
        else "generated images can resemble training images; the copy check found no copy, and guarantees no more"
    )
    return f"a sheet of {count(record)} generated with the embedding, none taken from a patient; no metadata", told


def _audit_tells(release: Release) -> str:
    report = release.audit
    if report is None or report.unit == "canary":
        return "none: it is about made-up vectors"
    on_coins = sum(result.on_coins for result in report.attacks)
    told = f"an AUC of two digits and a coarse p-value for {len(report.attacks) - on_coins} of the attacks on the file"
    if on_coins:
        told += f", for {on_coins} attacks on shadow embeddings the order of coins tossed for them and a guess of each"
    told += ", and the numbers of members and non-members, rounded down to fives"
    return f"{told}; no score, no seed, no order of {report.unit}s"
