"""A claim at the five places that refuse a bad one: sign, push, the registry, verify, and reading itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from embhub.artifact import embedding
from embhub.cards import card, card_draft
from embhub.cli.find_and_verify.searching import _privacy
from embhub.client.publishing import push as publishing
from embhub.client.pulling.overview import describe, in_words
from embhub.durable import write_atomic
from embhub.errors import ArtifactError, EmbhubError
from embhub.privacy.claim import PrivacyClaim, UnsupportedClaimError, plain
from embhub.refusals import BrokenClaimError, ClaimMismatchError
from embhub.release import files as release_files
from embhub.release import verification
from embhub.release.checks.claims import refuted
from embhub.release.checks.consistency import power
from embhub.release.files import Release
from embhub_registry.admission import listing
from embhub_registry.admission import rules as admission
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.pages.release.release_page import privacy_of
from embhub_registry.repositories.proposal import Proposal
from tests.support import study_records
from tests.support.claims import (
    altered,
    make_claim,
    make_private_release,
    make_study_claim,
    private_files,
    sign,
    site_total,
    with_header_claim,
)
from tests.support.packs import make_report as make_audit
from tests.support.releases import (
    NOW,
    REPOSITORY,
    edited_card,
    make_embedding,
    make_release,
    make_report,
    make_trust,
    replaced,
    resigned,
)

CLAIM = make_claim()
GOOD = make_private_release()
LIE = altered(CLAIM, epsilon=0.5)
OTHER = make_claim(sigma=8.0)


STUDY_CLAIM = make_study_claim()


def verify(release: Release) -> verification.Verified:
    return verification.verify(release, trust=make_trust(), now=NOW, repository=REPOSITORY)


def admit(release: Release, **facts: Any) -> admission.Admitted:
    proposal = Proposal(
        repository=REPOSITORY,
        files=release.files,
        before={},
        versions=(),
        audit_required=False,
        now=NOW,
        **{"trust": make_trust(), **facts},
    )
    return admission.admit(proposal)


def refusal(release: Release) -> RequestDeniedError:
    with pytest.raises(RequestDeniedError) as caught:
        admit(release)
    assert caught.value.hint
    return caught.value


def front_matter(release: Release, **privacy: Any) -> bytes:
    """The card with members of its claim changed by hand."""
    text = release.files[release_files.CARD].decode()
    _, front, body = text.split("---\n", 2)
    values = yaml.safe_load(front)
    values["embhub"]["privacy"] |= privacy
    return f"---\n{yaml.safe_dump(values)}---\n{body}".encode()


def lying_header() -> Release:
    files = dict(GOOD.files)
    files[release_files.EMBEDDING] = with_header_claim(GOOD.embedding, LIE)
    return resigned(Release.from_files(files))


def lying_card() -> Release:
    return resigned(replaced(GOOD, card=front_matter(GOOD, epsilon=0.5)))


def other_card() -> Release:
    return resigned(replaced(GOOD, card=edited_card(GOOD, privacy=OTHER.to_dict())))


def bare_card() -> Release:
    return resigned(replaced(GOOD, card=edited_card(GOOD, privacy="none")))


def claim_without_header() -> Release:
    plain_release = make_release(audited=False)
    told = {"privacy": CLAIM.to_dict(), "n_patients": 100, "n_images": "100-500", "max_images_per_patient": 4}
    return resigned(
        replaced(plain_release, card=edited_card(plain_release, **told)), publish={"privacy": CLAIM.to_dict()}
    )


def lying_statement() -> Release:
    return resigned(GOOD, publish={"privacy": json.loads(LIE)})


def other_statement() -> Release:
    return resigned(GOOD, publish={"privacy": OTHER.to_dict()})


def silent_statement() -> Release:
    return resigned(GOOD, publish={"privacy": "none"})


def told_count() -> Release:
    return resigned(replaced(GOOD, card=edited_card(GOOD, n_patients=123)))


BAD = {
    "header lies": (lying_header, BrokenClaimError, "privacy-claim"),
    "card lies": (lying_card, BrokenClaimError, "privacy-claim"),
    "card differs": (other_card, ClaimMismatchError, "privacy-claim"),
    "card says none": (bare_card, ClaimMismatchError, "privacy-claim"),
    "header says none": (claim_without_header, ClaimMismatchError, "privacy-claim"),
    "statement lies": (lying_statement, BrokenClaimError, "claim-broken"),
    "statement differs": (other_statement, ClaimMismatchError, "claim-mismatch"),
    "statement says none": (silent_statement, ClaimMismatchError, "claim-mismatch"),
    "exact number told": (told_count, ClaimMismatchError, "privacy-claim"),
}


def test_a_release_with_a_claim_goes_the_whole_way() -> None:
    verified = verify(GOOD)
    assert verified.embedding.privacy == verified.card.privacy == CLAIM
    finding = next(item for item in verified.findings if item.check == "privacy")
    assert finding.outcome == "ok" and finding.text == " ".join(CLAIM.words())
    assert admit(GOOD).verified is not None
    assert "at most 7.4 %" in GOOD.files[release_files.CARD].decode()
    published = json.loads(GOOD.publish_bundle.envelope.payload)["predicate"]["privacy"]
    assert published == CLAIM.to_dict()


@pytest.mark.parametrize(("make", "error", "rule"), BAD.values(), ids=BAD.keys())
def test_verify_refuses(make: Any, error: type[EmbhubError], rule: str) -> None:
    with pytest.raises(error) as caught:
        verify(make())
    assert caught.value.exit_code == 4 and caught.value.hint


@pytest.mark.parametrize(("make", "error", "rule"), BAD.values(), ids=BAD.keys())
def test_the_registry_refuses(make: Any, error: type[EmbhubError], rule: str) -> None:
    assert refusal(make()).rule == rule


@pytest.mark.parametrize("name", ["header lies", "card lies", "card differs", "card says none", "exact number told"])
def test_sign_refuses(name: str) -> None:
    bad = BAD[name][0]()
    files = {path: bad.files[path] for path in (release_files.EMBEDDING, release_files.CARD)}
    with pytest.raises((UnsupportedClaimError, ArtifactError)) as caught:
        sign(files)
    assert caught.value.exit_code == (6 if "lies" in name else 3)


@pytest.mark.parametrize(("make", "error", "rule"), BAD.values(), ids=BAD.keys())
def test_push_refuses_what_was_signed_so(
    make: Any, error: type[EmbhubError], rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a byte is sent: no registry is even asked."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    make().to_folder(tmp_path / "outbox")
    with pytest.raises((error, UnsupportedClaimError)):
        publishing.push(from_folder=tmp_path / "outbox", dry_run=True, out=tmp_path / "sent")
    assert not (tmp_path / "sent").exists()


def test_push_takes_a_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    GOOD.to_folder(tmp_path / "outbox")
    publishing.push(from_folder=tmp_path / "outbox", dry_run=True, out=tmp_path / "sent")
    assert (tmp_path / "sent").exists()


def test_a_file_that_promises_too_much_is_not_read() -> None:
    with pytest.raises(UnsupportedClaimError, match="the smaller of its two figures is 2"):
        embedding.parse(with_header_claim(GOOD.embedding, LIE))


def test_no_header_tells_a_loss_beside_a_claim() -> None:
    with pytest.raises(ArtifactError, match="a loss beside a privacy claim"):
        make_embedding(privacy=CLAIM, training={"steps": 500, "loss": 0.123})
    for fact in ("n_patients", "n_images", "losses", "gradient_norm", "clip_fraction", "seed"):
        with pytest.raises(ArtifactError, match=fact):
            make_embedding(privacy=CLAIM, training={"steps": 500, fact: 1})


def test_a_card_by_hand_that_promises_too_much_is_not_read(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x.yaml", front_matter(GOOD, epsilon=0.5))
    with pytest.raises(UnsupportedClaimError):
        card.parse({**GOOD.card.to_dict(), "privacy": json.loads(LIE)})


def test_show_has_the_claim_as_an_object_and_in_words() -> None:
    facts = describe(GOOD)
    assert facts["privacy"] == CLAIM.to_dict() == json.loads(json.dumps(facts))["privacy"]
    assert all(sentence in in_words(facts)["privacy"] for sentence in CLAIM.words())
    assert (
        facts["trained on"]["patients"] == "at least 100" and "at least 100 patients" in in_words(facts)["trained on"]
    )
    assert in_words(describe(make_release()))["privacy"].startswith("none")


def test_card_init_copies_the_claim_and_declares_the_numbers() -> None:
    described = GOOD.card
    assert (described.n_patients, described.n_images, described.max_images_per_patient) == (100, "100-500", 4)
    values, _ = card_draft.draft(GOOD.embedding, defaults={}, facts={"n_patients": 123, "privacy": "none"})
    assert values["privacy"] == CLAIM.to_dict() and values["n_patients"] == 100
    images = make_embedding(privacy=make_claim(unit="image", max_images_per_unit=1))
    values, _ = card_draft.draft(images, defaults={}, facts={"n_images": 123})
    assert values["n_images"] == 100


@pytest.mark.parametrize(("most", "drafted"), [(4, "100-500"), (1, "100-200"), (50, "100-5000"), (51, "100-10000")])
def test_no_drafted_number_follows_from_the_exact_count(most: int, drafted: str) -> None:
    """One patient more or less would else be seen wherever the count passes a round number."""
    artifact = make_embedding(privacy=make_claim(max_images_per_unit=most))
    for exact in (101, 200, 201, 500, 501, 4000):
        values, _ = card_draft.draft(artifact, defaults={}, facts={"n_images": exact})
        assert values["n_images"] == drafted


def figure(metric: str, *, task: str = "Image classification") -> dict[str, Any]:
    return {"task": task, "dataset": "films", "metric": metric, "value": 0.5, "interval": [0.4, 0.6]}


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({"n_patients": 123}, "n_patients"),
        ({"n_patients": "101-200"}, "n_patients"),
        ({"n_patients": "100-123"}, "n_patients"),
        ({"n_images": 250}, "n_images"),
        ({"n_images": "100-251"}, "n_images"),
        ({"max_images_per_patient": 3}, "max_images_per_patient"),
        ({"preprocessing": "Cut to a square. In 3 of 137 images: T2 is red, ADC is green."}, "preprocessing"),
        ({"population": {"sex": {"F": 60, "M": 63}}}, "population"),
        ({"population": {"age_bands": {"40-60": 60, "60-80": 63}}}, "population"),
        ({"evaluation": [figure("AUC gained by 300 drawn images beside 20 real ones")]}, "evaluation"),
        ({"evaluation": [figure("share of real images taken for generated", task="Reader study")]}, "evaluation"),
        ({"evaluation": [figure("share of generated images that show: csPCa; of real ones 0.83")]}, "evaluation"),
        ({"evaluation": [figure("agreement: share of generated images that the classifier takes for their label")]},
         "evaluation"),
    ],
)  # fmt: skip
def test_no_card_tells_the_numbers_that_the_claim_keeps(told: dict[str, Any], word: str) -> None:
    with pytest.raises(ArtifactError, match=word):
        sign(private_files(**told))


@pytest.mark.parametrize(
    "told",
    [
        {"n_patients": "100-200"},
        {"n_images": "200-1000"},
        {"population": {"region": "NL"}},
        {"evaluation": [figure("share of generated images taken for real", task="Reader study")]},
        {"evaluation": [figure("share of generated images that show: csPCa", task="Reader study")]},
    ],
)
def test_declared_ranges_are_no_exact_numbers(told: dict[str, Any]) -> None:
    verify(sign(private_files(**told)))


def test_what_the_site_counts_in_all_is_said_and_a_large_sum_is_a_warning() -> None:
    curve = make_claim().curve
    for others, outcome in ((1, "ok"), (20, "warning")):
        claim = make_claim(composition=site_total(*[curve] * others, plain=2))
        finding = next(item for item in verify(make_private_release(claim)).findings if item.check == "privacy")
        assert finding.outcome == outcome and "nothing is bounded" in finding.text


def test_an_audit_that_shows_more_than_the_claim_allows_refutes_it() -> None:
    strong = make_claim(sigma=200.0)
    assert strong.epsilon < 0.1
    leaking = make_embedding(privacy=strong)
    loud, quiet = make_audit(leaking, "mechanism", shift=6.0), make_audit(leaking, "mechanism")
    assert loud.coins is not None and loud.coins.lower_bound > 1
    assert "the audit shows" in (refuted(strong, loud) or "")
    assert refuted(strong, quiet) is None and refuted("none", make_report(leaking, shift=6.0)) is None
    files = private_files(strong)
    files[release_files.AUDIT] = loud.to_bytes()
    summary = {"verdict": loud.verdict, "suite": loud.suite, "power": power(loud)}
    told = card.parse({**card.from_readme(files[release_files.CARD]).to_dict(), "audit": summary})
    files[release_files.CARD] = card.to_readme(told)
    with pytest.raises(ArtifactError):
        sign(files)
    assert refusal(Release.from_files({**GOOD.files, **files})).rule == "privacy-claim"


def test_plain_data() -> None:
    assert plain("none") == "none"
    assert isinstance(CLAIM, PrivacyClaim) and plain(CLAIM) == CLAIM.to_dict()


def test_a_claim_of_a_study_is_read_signed_admitted_and_told_with_both_figures() -> None:
    release, claim = study_records.release(), study_records.claim()
    verified = verification.verify(release, trust=study_records.trust(), now=NOW, repository=REPOSITORY)
    assert next(found for found in verified.findings if found.check == "privacy").text == " ".join(claim.words())
    digest = study_records.plan().digest
    listed = admit(release, trust=study_records.trust(), studies={digest: None})
    assert listed.verified is not None and listed.verified.embedding.privacy == claim
    shown = privacy_of(release.card, "radboud", [])
    assert shown.together == f"{claim.largest_epsilon:g} against any one of the 4 sites that trained it"
    summary = listing.summarise(release.card, listed)
    assert summary["epsilon"] == claim.epsilon_to_judge_by > claim.epsilon
    assert f"{claim.largest_epsilon:g}" in summary["privacy"] and summary["site_total"] is None
    assert _privacy(summary["privacy"]) == f"epsilon {claim.epsilon:g} or {claim.largest_epsilon:g} (claimed)"
    assert digest in in_words(describe(release))["privacy"]
    for studies in ({}, {digest: "umcu"}):
        with pytest.raises(RequestDeniedError) as caught:
            admit(release, trust=study_records.trust(), studies=studies)
        assert caught.value.rule == "study" and caught.value.hint


def test_a_study_of_a_release_cannot_be_left_out_or_changed() -> None:
    block = json.loads(STUDY_CLAIM.to_text())["study"]
    for change in ({"study": None}, {"study": block | {"digest": "00" * 32}}):
        text = altered(STUDY_CLAIM, **change)
        files = make_private_release(STUDY_CLAIM).files
        bent = with_header_claim(make_private_release(STUDY_CLAIM).embedding, text)
        with pytest.raises(EmbhubError):
            verify(Release.from_files({**files, release_files.EMBEDDING: bent}))
