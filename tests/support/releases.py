"""Keys, embeddings and releases for tests: small, real, and the same bytes every time (but for ECDSA's randomness)."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.audits.report import SUITES, AuditReport, build
from embhub.cards import card, card_draft
from embhub.formats import synthetic_mark
from embhub.privacy.claim import Claim
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.checks import model_signature
from embhub.release.checks.consistency import base_digest, power
from embhub.release.files import Release
from embhub.site.signing.keys import SigningKey
from embhub.trust import bundle, kinds, root_keys, statement
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Keyring, Trust
from embhub.trust.origin import origin_of

NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
FAR = "2099-01-01T00:00:00Z"  # when keyrings of tests expire
REGISTRY = "http://127.0.0.1"  # as the registries that tests run; a port is no part of an origin
ORIGIN = origin_of(REGISTRY)
REPOSITORY = "radboud/prostate-cspca"
ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
BASE: dict[str, Any] = {
    "schema": "embhub.base/1",
    "prediction_type": "epsilon",
    "encoders": {
        "text_encoder": {
            "kind": "clip",
            "dim": 32,
            "vocabulary": "0" * 64,
            "table": [0.5, 0.25],
            "deep": [1.5],
            "body": {"matrices": [0.75]},
        }
    },
    "denoiser": {"tensors": "1" * 64, "probe": [0.125], "body": {"matrices": [0.25]}},
}


def make_key(words: str) -> SigningKey:
    """A key that everybody can derive: for tests only."""
    secret = int.from_bytes(hashlib.sha256(words.encode()).digest(), "big") % (ORDER_OF_P256 - 1) + 1
    return SigningKey(words, ec.derive_private_key(secret, ec.SECP256R1()))


SITE, AUDITOR, STRANGER, ROOT = (make_key(words) for words in ("site", "auditor", "stranger", "root"))
AUDITOR_BUNDLE = release_files.audit_bundle_of("nki")
OTHER_SITE, WITHDRAWER = make_key("other site"), make_key("withdrawer")


def member(namespace: str, keys: Sequence[tuple[SigningKey, str]]) -> dict[str, Any]:
    """A keyring's member in JSON."""
    rows = [
        {
            "fingerprint": key.fingerprint,
            "public_key_pem": key.public_pem,
            "role": role,
            "added": "2026-11-01T00:00:00Z",
        }
        for key, role in keys
    ]
    return {"namespace": namespace, "name": namespace.title(), "keys": rows}


def make_keyring(*, version: int = 1, members: Sequence[dict[str, Any]] | None = None, **changes: Any) -> Keyring:
    """Radboud publishes and withdraws, lumc publishes, nki audits; or the members given."""
    usual = [
        member("radboud", [(SITE, "publish"), (WITHDRAWER, "withdraw")]),
        member("lumc", [(OTHER_SITE, "publish")]),
        member("nki", [(AUDITOR, "audit")]),
    ]
    document = {
        "schema": keyrings.KEYRING_SCHEMA,
        "registry": REGISTRY,
        "version": version,
        "issued": "2026-11-19T00:00:00Z",
        "expires": FAR,
        "root": root_keys.one_key(ROOT.public).model_dump(),
        "members": usual if members is None else list(members),
        **changes,
    }
    return keyrings.parse_keyring(json.dumps(document).encode())


def make_export(keyring: Keyring | None = None, *, root: SigningKey = ROOT) -> bytes:
    """What `embhub-registry trust export` prints."""
    ring = keyring or make_keyring()
    ring = ring.model_copy(update={"root": root_keys.one_key(root.public)})
    return keyrings.TrustExport(ring.registry, keyrings.sign_keyring(ring, root_key=root)).to_bytes()


def make_trust(keyring: Keyring | None = None) -> Trust:
    """The trust that a site has after pinning ROOT."""
    return keyrings.open_export(keyrings.parse_export(make_export(keyring)), root_fingerprint=ROOT.fingerprint)


def make_embedding(
    *,
    seed: int = 0,
    base: Mapping[str, Any] | None = BASE,
    base_name: str = "builtin",
    token: str = "<cspca>",
    training: Mapping[str, Any] | None = None,
    privacy: Claim = "none",
    rows: Any = None,
) -> Embedding:
    """Eight rows of 32 numbers, by the seed if they are not given."""
    rows = np.random.default_rng(seed).normal(size=(8, 32)) * 0.05 if rows is None else rows
    return embedding.build(
        {"emb_params": rows},
        token=token,
        base=base,
        base_name=base_name,
        training=training or {"steps": 200, "learning_rate": 0.005},
        privacy=privacy,
    )


def make_report(artifact: Embedding, *, seed: int = 1, shift: float = 0.0) -> AuditReport:
    """A quick audit of 60 patients a side; `shift` is how much more member-like the members score."""
    return _build_report(artifact.digest, base_digest(artifact), seed, shift)


@cache
def _build_report(digest: str, base: str | None, seed: int, shift: float) -> AuditReport:
    rng = np.random.default_rng(seed)
    scores = {name: ((rng.normal(size=60) + shift).tolist(), rng.normal(size=60).tolist()) for name in SUITES["quick"]}
    return build(artifact_digest=digest, base_digest=base, suite="quick", scores=scores)


def make_card(artifact: Embedding, *, report: AuditReport | None = None, **changes: Any) -> dict[str, Any]:
    """A complete card's fields."""
    answers = {
        "name": "prostate-cspca",
        "version": "1.0.0",
        "description": "Axial T2 prostate MRI with clinically significant cancer.",
        "authors": ["Diagnostic Image Analysis Group"],
        "publisher": "Radboud",
        "contact_role": "data protection office",
        "licence": "CC-BY-4.0",
        "licence_link": "https://creativecommons.org/licenses/by/4.0/",
        "base_model": {"revision": "1", "family": "sd1", "licence": "Apache-2.0"},
        "modality": ["MR"],
        "sequence": "T2w",
        "anatomy": [{"system": "RadLex", "code": "RID343", "display": "prostate"}],
        "finding": [{"system": "local", "code": "csPCa", "display": "clinically significant prostate cancer"}],
        "n_patients": 60,
        "n_images": 60,
        "max_images_per_patient": 1,
        "labels": {"source": "histopathology", "annotators": "two radiologists"},
        "preprocessing": "centre crop, resized",
        "deidentification": {"profile": ["not-dicom"], "pixel_review": "manual"},
        "legal_basis": "GDPR Art. 9(2)(j)",
        "consent_or_waiver": "waiver",
        "ethics_ref": "not needed: phantoms",
        "intended_use": "research; augmenting training sets",
        "out_of_scope": "diagnosis",
        "limitations": "one scanner",
    }
    if report is not None:
        answers["audit"] = {"verdict": report.verdict, "suite": report.suite, "power": power(report)}
    known, questions = card_draft.draft(artifact, defaults={}, facts={**answers, **changes})
    assert not questions, questions
    return known


def make_sheet(*, seed: int = 0, size: tuple[int, int] = (66, 32), **options: Any) -> bytes:
    """A contact sheet as good as any; `options` go to Pillow."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0]), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return synthetic_mark.mark_png(buffer.getvalue())


def record_of(sheet: bytes, artifact: Embedding, **changes: Any) -> dict[str, Any]:
    """What a card says of a sheet that this embedding drew."""
    return {
        "sha256": release_files.digest(sheet), "embedding": artifact.digest, "images": 2,
        "prompt": f"mri, {artifact.token}",
        "drawn_from": 7, "steps": 25, "guidance": 3.0, "copy_check": "no-copies-found", **changes,
    }  # fmt: skip


def make_release(
    *,
    artifact: Embedding | None = None,
    sheet: bytes | None = None,
    audited: bool = True,
    key: SigningKey = SITE,
    registry: str = ORIGIN,
    repository: str = REPOSITORY,
    replaces: str | None = None,
    **changes: Any,
) -> Release:
    """A signed release; `changes` go to its card, which records the `sheet` where there is one."""
    embedded = artifact or make_embedding()
    if sheet is not None:
        changes = {"samples": record_of(sheet, embedded), **changes}
    report = make_report(embedded) if audited else None
    described = card.parse(make_card(embedded, report=report, **changes))
    files = {release_files.EMBEDDING: embedded.data, release_files.CARD: card.to_readme(described)}
    if report is not None:
        files[release_files.AUDIT] = report.to_bytes()
    if sheet is not None:
        files[release_files.SAMPLES] = sheet
    release = Release.from_files(files)
    return signing.sign(release, registry=registry, repository=repository, key=key, now=NOW, replaces=replaces)


def replaced(release: Release, **files: bytes | None) -> Release:
    """The release with files changed or, by None, removed; named by the constants' names in lower case."""
    names = {
        "embedding": release_files.EMBEDDING,
        "card": release_files.CARD,
        "audit": release_files.AUDIT,
        "samples": release_files.SAMPLES,
        "publish_bundle": release_files.PUBLISH_BUNDLE,
        "audit_bundle": release_files.AUDIT_BUNDLE,
        "auditor_bundle": AUDITOR_BUNDLE,
        "model_bundle": release_files.MODEL_BUNDLE,
    }
    held = dict(release.files)
    if {"embedding", "card", "audit", "samples"} & files.keys():
        files.setdefault("model_bundle", None)  # the publisher's own statement is what the tests are about
    for short, data in files.items():
        if data is None:
            held.pop(names[short], None)
        else:
            held[names[short]] = data
    return Release.from_files(held)


def resigned(
    release: Release,
    *,
    key: SigningKey = SITE,
    audit_key: SigningKey | None = None,
    publish: Mapping[str, Any] | None = None,
    vouched: Mapping[str, Any] | None = None,
) -> Release:
    """The release with attestations that fit its present files, but for the members given; nothing is checked.

    What a publisher in error, or a thief of its key, could sign.
    """
    files = dict(release.files)
    digests = {name: release_files.digest(data) for name, data in files.items()}
    subject = digests[release_files.EMBEDDING]
    facts = dict(statement.parse(release.publish_bundle.envelope.payload).predicate)
    facts["card"] = {"sha256": digests[release_files.CARD]}
    facts["audit"] = {"sha256": digests[release_files.AUDIT]} if release_files.AUDIT in digests else None
    signed = statement.Statement(subject, kinds.PUBLISH.type, {**facts, **(publish or {})})
    files[release_files.PUBLISH_BUNDLE] = bundle.to_json(statement.sign(signed, key=key))
    if release_files.MODEL_BUNDLE in files:
        held = {name: files[name] for name in files if not name.startswith("attestations/")}
        files[release_files.MODEL_BUNDLE] = model_signature.build(held, repository=REPOSITORY, key=key)
    if release.audit_bundle is not None and release_files.AUDIT in files:
        facts = dict(statement.parse(release.audit_bundle.envelope.payload).predicate)
        facts["report"] = {"sha256": digests[release_files.AUDIT]}
        own = statement.Statement(subject, kinds.AUDIT.type, facts)
        files[release_files.AUDIT_BUNDLE] = bundle.to_json(statement.sign(own, key=key))
        place = AUDITOR_BUNDLE if audit_key is AUDITOR else release_files.AUDIT_BUNDLE
        signed = statement.Statement(subject, kinds.AUDIT.type, {**facts, **(vouched or {})})
        files[place] = bundle.to_json(statement.sign(signed, key=audit_key or key))
    return Release.from_files(files)


def edited_card(release: Release, **changes: Any) -> bytes:
    """The release's card with other fields, rendered again."""
    return card.to_readme(card.parse({**release.card.to_dict(), **changes}))


def edited_report(release: Release, **changes: Any) -> bytes:
    """The release's report with other fields, none recomputed."""
    assert release.audit is not None
    return release.audit.model_copy(update=changes).to_bytes()
