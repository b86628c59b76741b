"""What is contradictory is not signed; what is signed verifies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embhub.cards import card_draft
from embhub.errors import ArtifactError, PrivacyError, UsageError
from embhub.release import files as release_files
from embhub.release import signing, verification
from embhub.release.checks.consistency import base_digest
from embhub.release.files import Release
from embhub.trust import bundle, dsse, statement
from tests.support.releases import (
    NOW,
    ORIGIN,
    REPOSITORY,
    SITE,
    edited_card,
    make_card,
    make_embedding,
    make_release,
    make_report,
    make_trust,
    replaced,
)

GOOD = make_release()


def test_statement_names_everything_that_goes_with_the_embedding() -> None:
    facts = statement.read_publish(statement.parse(GOOD.publish_bundle.envelope.payload))
    assert facts.repository == REPOSITORY
    assert facts.version == GOOD.card.version
    assert facts.card.sha256 == release_files.digest(GOOD.files[release_files.CARD])
    assert facts.audit is not None and facts.audit.sha256 == release_files.digest(GOOD.files[release_files.AUDIT])
    assert facts.base is not None and facts.base.sha256 == base_digest(GOOD.embedding)
    assert facts.recipe == GOOD.embedding.training
    assert (facts.privacy, facts.created, facts.replaces) == ("none", "2026-11-20T10:30:00Z", None)


def test_audit_is_attested_with_its_figures() -> None:
    assert GOOD.audit_bundle is not None and GOOD.audit is not None
    dsse.verify(GOOD.audit_bundle.envelope, public_key=SITE.public)
    facts = statement.read_audit(statement.parse(GOOD.audit_bundle.envelope.payload))
    assert facts.headline["auc"] == GOOD.audit.headline_result.auc
    assert facts.headline["verdict"] == GOOD.audit.verdict


def test_predecessor_is_named() -> None:
    assert verification.verify(make_release(replaces="d" * 64), trust=make_trust(), now=NOW).replaces == "d" * 64


def test_payload_is_canonical_and_the_bundle_is_ours() -> None:
    import rfc8785

    payload = GOOD.publish_bundle.envelope.payload
    assert payload == rfc8785.dumps(json.loads(payload))
    assert bundle.to_json(GOOD.publish_bundle.envelope) == GOOD.files[release_files.PUBLISH_BUNDLE]


@pytest.mark.parametrize(
    "contradiction",
    [
        replaced(GOOD, card=edited_card(GOOD, token="<other>")),
        replaced(GOOD, card=edited_card(GOOD, vectors=[{"encoder": "text_encoder", "count": 2, "dim": 32}])),
        replaced(
            GOOD, card=edited_card(GOOD, base_model={**GOOD.card.to_dict()["base_model"], "fingerprint": "unknown"})
        ),
        replaced(GOOD, audit=None),
        replaced(GOOD, audit=make_report(make_embedding(seed=4)).to_bytes()),
        replaced(GOOD, embedding=b"hello"),
    ],
    ids=["token", "vectors", "base", "verdict without report", "report of another", "no embedding"],
)
def test_contradictions_are_not_signed(contradiction: Release) -> None:
    with pytest.raises(ArtifactError) as caught:
        signing.sign(contradiction, registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW)
    assert caught.value.exit_code == 3
    assert caught.value.hint


def test_a_readme_that_says_more_than_its_card_is_not_signed() -> None:
    with pytest.raises(ArtifactError, match="render"):
        signing.sign(
            replaced(GOOD, card=GOOD.files[release_files.CARD] + b"\nMore.\n"),
            registry=ORIGIN,
            repository=REPOSITORY,
            key=SITE,
            now=NOW,
        )


@pytest.mark.parametrize("field", ["description", "limitations", "preprocessing"])
def test_what_looks_like_a_person_is_not_signed(field: str) -> None:
    told = replaced(GOOD, card=edited_card(GOOD, **{field: "Scan of Mr. John Smith, born 1956-03-02, MRN 1234567."}))
    with pytest.raises(PrivacyError, match=f"personal data.* in {field}") as caught:
        signing.sign(told, registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW)
    assert caught.value.hint
    assert "Smith" not in str(caught.value)


def test_a_training_fact_that_looks_like_a_person_is_not_signed() -> None:
    artifact = make_embedding(training={"steps": 200, "initial_word": "Mr. Smith"})
    with pytest.raises(PrivacyError, match="training fact initial_word"):
        make_release(artifact=artifact)


def test_repository_must_be_a_name() -> None:
    with pytest.raises(UsageError):
        signing.sign(GOOD, registry=ORIGIN, repository="prostate", key=SITE, now=NOW)


def test_files_of_other_names(tmp_path: Path) -> None:
    artifact = make_embedding()
    report = make_report(artifact)
    (tmp_path / "a.safetensors").write_bytes(artifact.data)
    (tmp_path / "card").write_bytes(card_draft.write_draft(make_card(artifact, report=report), []))
    (tmp_path / "report").write_bytes(report.to_bytes())
    release = signing.assemble(
        tmp_path / "a.safetensors",
        registry=ORIGIN,
        repository=REPOSITORY,
        key=SITE,
        now=NOW,
        card_path=tmp_path / "card",
        audit_path=tmp_path / "report",
    )
    assert release.audit == report


def test_missing_files(tmp_path: Path) -> None:
    artifact = make_embedding()
    path = tmp_path / "a.safetensors"
    path.write_bytes(artifact.data)
    with pytest.raises(UsageError, match="there is no card") as caught:
        signing.assemble(path, registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW)
    assert "embhub card init" in caught.value.hint
    (tmp_path / "a.card.yaml").write_bytes(card_draft.write_draft(make_card(artifact), []))
    assert signing.assemble(path, registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW).audit is None
    with pytest.raises(UsageError, match="cannot read"):
        signing.assemble(
            path, registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW, audit_path=tmp_path / "absent.json"
        )


def test_incomplete_card_lists_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(make_embedding().data)
    (tmp_path / "a.card.yaml").write_text("name: a\n")
    with pytest.raises(ArtifactError, match="legal_basis"):
        signing.assemble(path, registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW)
