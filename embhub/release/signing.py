"""From a site's files to a signed release: what is said is checked before it is signed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from embhub.artifact import embedding
from embhub.audits.report import AuditReport
from embhub.cards.card import Card, parse_yaml, to_readme
from embhub.cards.personal_data import personal_data_in_release
from embhub.errors import ArtifactError, PrivacyError, UsageError
from embhub.formats.names import check_repository
from embhub.privacy.claim import plain
from embhub.refusals import ReleaseRefusedError
from embhub.release import at_the_site, registered
from embhub.release import files as release_files
from embhub.release.checks import consistency, derivations, model_signature
from embhub.release.checks.samples import check_samples
from embhub.release.files import Release
from embhub.trust import bundle, statement
from embhub.trust.dsse import Signer
from embhub.trust.statement import LedgerHeads

_SIGNED = (
    release_files.EMBEDDING, release_files.CARD, release_files.AUDIT, release_files.SAMPLES,
    release_files.STUDY, release_files.SOURCE_BUNDLE, release_files.AUDIT_DESIGN, release_files.AUDIT_RESULT,
)  # fmt: skip
HeadOf = Callable[[str, str, str, str], LedgerHeads | None]
"""`head_of(registry, repository, version, digest)`: the heads of the site's ledger up to this release, or None."""
_AUDIT_FILES = (release_files.AUDIT, release_files.AUDIT_BUNDLE)


def assemble(
    embedding_path: str | Path,
    *,
    registry: str,
    repository: str,
    key: Signer,
    now: datetime,
    card_path: str | Path | None = None,
    audit_path: str | Path | None = None,
    replaces: str | None = None,
    opened: Release | None = None,
    ledger: HeadOf | None = None,
) -> Release:
    """Read an embedding with its card and report, and sign them for `repository`. Nothing is written.

    Args:
        embedding_path: `NAME.safetensors`.
        registry: origin of the registry; the statement is good there alone.
        repository: `namespace/name`; the statement is good for this name alone.
        key: the site's publishing key, which signs the audit report too.
        now: time of signing, with its zone.
        card_path: by default `NAME.card.yaml` beside the embedding.
        audit_path: by default `NAME.audit.json` beside the embedding, if it is there.
        replaces: digest of the embedding that this release supersedes.
        opened: a release of the embedding alone, where `embedding_path` was read before.
        ledger: gives the heads of the site's privacy ledger, where it keeps one.

    Raises:
        UsageError: a file is missing, or the repository's name is not one.
        ArtifactError: embedding, card or report is malformed, or they contradict each other.
        PrivacyError: card or training facts look like personal data.
    """
    check_repository(repository)
    path = Path(embedding_path)
    card = _read_card(path, card_path)
    opened = opened or Release.from_files({release_files.EMBEDDING: embedding.read_bytes(path)})
    files = {**opened.files, release_files.CARD: to_readme(card)}
    if card.samples is not None:
        files[release_files.SAMPLES] = _read_samples(path)
    report = _read_report(path, audit_path)
    if report is not None:
        files[release_files.AUDIT] = report
    source = at_the_site.beside(path, at_the_site.SOURCE_BUNDLE)
    if opened.embedding.derived_from is not None and source.is_file():
        limit = release_files.LIMITS[release_files.SOURCE_BUNDLE]
        files[release_files.SOURCE_BUNDLE] = release_files.read_file(source, limit=limit)
    record = at_the_site.beside(path, at_the_site.STUDY)
    if record.is_file():
        limit = release_files.LIMITS[release_files.STUDY]
        files[release_files.STUDY] = release_files.read_file(record, limit=limit)
    files |= registered.beside(path, files.get(release_files.AUDIT))
    signing = opened.with_files(files)
    return sign(signing, registry=registry, repository=repository, key=key, now=now, replaces=replaces, ledger=ledger)


def sign(
    release: Release, *, registry: str, repository: str, key: Signer, now: datetime, replaces: str | None = None,
    ledger: HeadOf | None = None,
) -> Release:  # fmt: skip
    """The same files with new attestations: `publish/v1`, and `mia-audit/v1` where there is a report.

    Raises:
        UsageError: the repository's name is not one.
        ArtifactError: embedding, card or report is malformed, or they contradict each other.
        PrivacyError: card or training facts look like personal data.
    """
    check_repository(repository)
    artifact, card, report = release.embedding, release.card, release.audit
    check_persons(release)
    files = {name: release.files[name] for name in _SIGNED if name in release.files}
    report_digest = release_files.digest(files[release_files.AUDIT]) if report is not None else None
    published = statement.build_publish(
        artifact.digest,
        numbers=artifact.numbers,
        registry=registry,
        repository=repository,
        version=card.version,
        card_digest=release_files.digest(files[release_files.CARD]),
        audit_digest=report_digest,
        base_digest=consistency.base_digest(artifact),
        privacy=plain(artifact.privacy),
        recipe=artifact.training,
        created=now,
        replaces=replaces,
        ledger=ledger(registry, repository, card.version, artifact.digest) if ledger is not None else None,
    )
    try:
        facts = statement.read_publish(published)
        consistency.check_readme(card, files[release_files.CARD])
        list(consistency.check_card(card, embedding=artifact, publish=facts, report=report))
        consistency.check_base(card, embedding=artifact, publish=facts)
        consistency.check_claim(card, embedding=artifact, publish=facts)
        derivations.check_link(release, artifact, card)
        list(check_samples(release, card, digest=artifact.digest))
        if report is not None:
            list(consistency.check_report(report, embedding=artifact))
    except ReleaseRefusedError as refusal:
        raise ArtifactError(
            refusal.message,
            "`embhub card init` renews what can be computed and keeps the answers; correct the rest, or audit anew",
        ) from refusal
    files[release_files.PUBLISH_BUNDLE] = bundle.to_json(statement.sign(published, key=key))
    if report is not None and report_digest is not None:
        files[release_files.AUDIT_BUNDLE] = attest_audit(
            report, numbers=artifact.numbers, report_digest=report_digest, registry=registry, repository=repository,
            version=card.version, key=key, now=now,
        )  # fmt: skip
    files[release_files.MODEL_BUNDLE] = model_signature.build(files, repository=repository, key=key)
    return release.with_files(files)


def sign_anew(release: Release, *, key: Signer, now: datetime, ledger: HeadOf | None = None) -> Release:
    """A published release with new attestations of its publisher, for the same registry, name and version.

    What somebody else attested stays as it is.

    Raises:
        Unsigned, MalformedBundleError: there is nothing to sign anew.
        and as `sign`.
    """
    before = statement.read_publish(release.publish_bundle.statement)
    others = {name: data for name, data in release.files.items() if name not in release_files.FILES}
    files = dict(release.files)
    late: dict[str, bytes] = {}
    if before.audit is None:  # the audit came later, and the card does not know of it
        late = {name: files.pop(name) for name in release.files if name in _AUDIT_FILES}
    signed = sign(
        release.with_files(files), registry=before.registry, repository=before.repository, key=key, now=now,
        replaces=before.replaces, ledger=ledger or (lambda *_: before.ledger),
    )  # fmt: skip
    return signed.with_files({**signed.files, **late, **others})


def check_persons(release: Release) -> None:
    """Look once more at every text of a release, before it is signed or sent: neither can be taken back.

    Raises:
        PrivacyError: something looks like personal data; says where, not what.
        ArtifactError: embedding or card is malformed.
    """
    found = personal_data_in_release(
        release.card, readme=release.files[release_files.CARD], training=release.embedding.training
    )
    if found:
        raise PrivacyError(
            f"the release seems to hold personal data: {'; '.join(found[:5])}",
            "correct the card's .yaml, then sign anew; for a training fact, train again with another caption",
        )


def attest_audit(
    report: AuditReport, *, numbers: str | None = None, report_digest: str, registry: str, repository: str,
    version: str, key: Signer, now: datetime,
) -> bytes:  # fmt: skip
    """A `mia-audit/v1` bundle: by the site for its own report, or by an independent auditor as a countersignature.

    `numbers` is the digest of the audited embedding's numbers, so that a leak is known under another header too.
    """
    vouched = statement.build_audit(
        report.artifact.sha256,
        numbers=numbers,
        registry=registry,
        repository=repository,
        version=version,
        report_digest=report_digest,
        headline=consistency.headline(report),
        created=now,
    )
    return bundle.to_json(statement.sign(vouched, key=key))


def _read_card(path: Path, card_path: str | Path | None) -> Card:
    card = Path(card_path) if card_path is not None else at_the_site.beside(path, at_the_site.CARD)
    if not card.exists():
        raise UsageError(f"there is no card {card}", f"embhub card init {path}")
    return parse_yaml(release_files.read_file(card, limit=release_files.LIMITS[release_files.CARD]))


def _read_samples(path: Path) -> bytes:
    sheet = at_the_site.beside(path, at_the_site.SHEET)
    if not sheet.is_file():
        raise UsageError(
            f"the card records samples, and there is no {sheet}",
            "embhub copy-check --sheet generates them; or remove `samples:` from the card",
        )
    return release_files.read_file(sheet, limit=release_files.LIMITS[release_files.SAMPLES])


def _read_report(path: Path, audit_path: str | Path | None) -> bytes | None:
    report = Path(audit_path) if audit_path is not None else at_the_site.beside(path, at_the_site.AUDIT)
    if audit_path is None and not report.exists():
        return None
    return release_files.read_file(report, limit=release_files.LIMITS[release_files.AUDIT])
