"""A port's claim counts only with a source that a trusted publisher signed; each way to forge the link is tried."""

from __future__ import annotations

import pytest

from embhub.errors import ArtifactError
from embhub.privacy.claim import PrivacyClaim
from embhub.refusals import RevokedKeyError, SourceMismatchError, UnknownSignerError, WrongPredicateError
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.checks import site_totals
from embhub.release.files import Release
from embhub.release.verification import Verified
from embhub.trust.keyring import Trust
from tests.support.claims import make_claim, make_private_release, site_total
from tests.support.judging import judge
from tests.support.ports import PORT, derive, make_port, make_ported_release, ported_files
from tests.support.releases import (
    NOW,
    ORIGIN,
    OTHER_SITE,
    REPOSITORY,
    SITE,
    STRANGER,
    edited_card,
    make_embedding,
    make_keyring,
    make_release,
    make_trust,
    replaced,
    resigned,
)

PLAIN = make_release(audited=False)
PRIVATE = make_private_release()


def judge_port(release: Release, **arguments: object) -> Verified:
    return judge(release, repository=PORT, **arguments)


def told(verified: Verified) -> list[tuple[str, str]]:
    return [(finding.outcome, finding.text) for finding in verified.findings if finding.check == "source"]


def forged(release: Release, **files: bytes | None) -> Release:
    """Files exchanged, and all of it signed by the publisher, without a check."""
    held = {name: data for name, data in release.files.items() if name != release_files.MODEL_BUNDLE}
    for name, data in files.items():
        held.pop(getattr(release_files, name), None)
        if data is not None:
            held[getattr(release_files, name)] = data
    return resigned(Release.from_files(held))


def test_a_port_names_its_source() -> None:
    (first, name), (second, who) = told(judge_port(make_ported_release(PLAIN)))
    assert (first, second) == ("note", "ok")
    assert PLAIN.embedding.digest in name and "by its publisher's word" in name
    assert f"{REPOSITORY} 1.0.0" in who and "neither claims privacy" in who


def test_a_claim_carries_over_from_the_signed_source() -> None:
    verified = judge_port(make_ported_release(PRIVATE))
    assert isinstance(verified.embedding.privacy, PrivacyClaim)
    outcome, text = told(verified)[-1]
    assert outcome == "ok" and "post-processing" in text and "cannot be seen in the file" in text
    privacy = next(finding for finding in verified.findings if finding.check == "privacy")
    assert privacy.text.startswith("of the training of the source")


def test_a_plain_port_needs_no_source_at_hand() -> None:
    release = make_ported_release(PLAIN, with_source=False)
    assert "not known" in told(judge_port(release))[-1][1]


def test_a_claim_without_its_source_is_neither_signed_nor_taken() -> None:
    with pytest.raises(ArtifactError, match="nothing supports the claim"):
        make_ported_release(PRIVATE, with_source=False)
    with pytest.raises(SourceMismatchError, match="nothing supports the claim"):
        judge_port(forged(make_ported_release(PRIVATE), SOURCE_BUNDLE=None))


@pytest.mark.parametrize("source", [make_private_release(make_claim(steps=400)), PLAIN])
def test_a_claim_is_not_borrowed_from_another_embedding(source: Release) -> None:
    release = make_ported_release(PRIVATE)
    with pytest.raises(SourceMismatchError, match="another embedding"):
        judge_port(forged(release, SOURCE_BUNDLE=source.files[release_files.PUBLISH_BUNDLE]))


def test_a_port_makes_the_claim_of_its_source_and_no_other() -> None:
    for source, privacy in ((PLAIN, make_claim()), (PRIVATE, make_claim(sigma=9.0)), (PRIVATE, "none")):
        port = make_port(source.embedding, privacy=privacy)
        with pytest.raises(ArtifactError, match="another privacy claim than its source"):
            make_ported_release(source, port=port, n_patients=100, n_images="100-500", max_images_per_patient=4)


def test_the_base_of_the_source_is_the_one_that_was_signed() -> None:
    port = make_port(PRIVATE.embedding, derived_from=derive(PRIVATE.embedding, source_base="0" * 64))
    with pytest.raises(ArtifactError, match="another base model"):
        make_ported_release(PRIVATE, port=port)


def test_a_source_that_nobody_known_signed_supports_no_claim() -> None:
    source = signing.sign(PRIVATE, registry=ORIGIN, repository=REPOSITORY, key=STRANGER, now=NOW)
    with pytest.raises(SourceMismatchError, match="counts for nothing here") as refusal:
        judge_port(make_ported_release(source))
    assert isinstance(refusal.value.__cause__, UnknownSignerError)
    plain = signing.sign(PLAIN, registry=ORIGIN, repository=REPOSITORY, key=STRANGER, now=NOW)
    assert told(judge_port(make_ported_release(plain)))[-1][0] == "warning"


def test_a_namespace_signs_no_source_of_another() -> None:
    source = signing.sign(PRIVATE, registry=ORIGIN, repository=REPOSITORY, key=OTHER_SITE, now=NOW)
    with pytest.raises(SourceMismatchError, match="a key of lumc"):
        judge_port(make_ported_release(source))


def test_a_source_of_another_publisher_may_be_ported() -> None:
    source = signing.sign(PRIVATE, registry=ORIGIN, repository="lumc/source", key=OTHER_SITE, now=NOW)
    assert "lumc/source" in told(judge_port(make_ported_release(source)))[-1][1]


def test_an_edited_attestation_of_the_source_is_refused() -> None:
    source = signing.sign(PRIVATE, registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW)
    data = source.files[release_files.PUBLISH_BUNDLE]
    other = resigned(source, key=STRANGER).files[release_files.PUBLISH_BUNDLE]
    mixed = data.replace(data.split(b'"sig"')[1].split(b'"')[1], other.split(b'"sig"')[1].split(b'"')[1])
    assert mixed != data
    with pytest.raises(SourceMismatchError, match="counts for nothing"):
        judge_port(forged(make_ported_release(PRIVATE), SOURCE_BUNDLE=mixed))


def test_an_audit_attestation_is_no_source() -> None:
    audited = make_release()
    with pytest.raises(WrongPredicateError):
        judge_port(forged(make_ported_release(PLAIN), SOURCE_BUNDLE=audited.files[release_files.AUDIT_BUNDLE]))


def test_a_port_of_a_port_makes_no_claim() -> None:
    first = make_ported_release(PRIVATE)
    port = make_port(first.embedding)
    with pytest.raises(ArtifactError, match="one link alone"):
        make_ported_release(first, port=port)
    plain = make_ported_release(PLAIN)
    assert told(judge_port(make_ported_release(plain)))[-1][0] == "ok"


def test_the_card_names_the_same_source() -> None:
    release = make_ported_release(PLAIN)
    for said in (None, derive(make_embedding(seed=5)).to_dict()):
        with pytest.raises(SourceMismatchError, match="header and card"):
            judge_port(replaced(forged(release, CARD=edited_card(release, derived_from=said))))
    assert b"learned from 64 images" in release.files[release_files.CARD].replace(b"\n", b" ")


def test_what_was_trained_holds_no_source() -> None:
    with pytest.raises(SourceMismatchError, match="is no port"):
        judge(forged(PLAIN, SOURCE_BUNDLE=PRIVATE.files[release_files.PUBLISH_BUNDLE]))


def revoking(reason: str) -> Trust:
    row = {"fingerprint": SITE.fingerprint, "date": "2026-11-20T12:00:00Z", "reason": reason}
    return make_trust(make_keyring(version=2, revoked=[row]))


def test_a_stolen_key_supports_no_claim() -> None:
    release = make_ported_release(PRIVATE, key=OTHER_SITE, repository="lumc/port")
    with pytest.raises(RevokedKeyError, match="stolen"):
        judge(release, repository="lumc/port", trust=revoking("stolen"))
    verified = judge(release, repository="lumc/port", trust=revoking("superseded"))
    assert [outcome for outcome, _ in told(verified)] == ["note", "note", "ok"]


def test_what_a_claim_states_of_its_site_is_not_the_porters() -> None:
    source = make_private_release(make_claim(composition=site_total(trainings=3)))
    port = make_ported_release(source, key=OTHER_SITE, repository="lumc/port")
    assert site_totals.stated(site_totals.of_this_site(source.embedding)) is not None
    assert site_totals.stated(site_totals.of_this_site(port.embedding)) is None
    assert site_totals.stated(site_totals.of_this_site(port.card)) is None


def test_signing_anew_keeps_the_source() -> None:
    release = make_ported_release(PRIVATE)
    again = signing.sign_anew(release, key=SITE, now=NOW)
    assert again.files[release_files.SOURCE_BUNDLE] == release.files[release_files.SOURCE_BUNDLE]
    assert judge_port(again).digest == release.embedding.digest


def test_files_that_are_not_signed_say_the_same() -> None:
    unsigned = ported_files(PRIVATE)
    assert unsigned.source_bundle is not None and unsigned.source_bundle.statement.digest == PRIVATE.embedding.digest
