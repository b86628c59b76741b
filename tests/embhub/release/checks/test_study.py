"""The record of a study in a release: who has to have signed what, and what of it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from embhub.refusals import (
    DigestMismatchError,
    MalformedBundleError,
    MalformedStatementError,
    ReleaseRefusedError,
    RevokedKeyError,
    UnknownSignerError,
    WrongNamespaceError,
    WrongPredicateError,
    WrongRegistryError,
    WrongRoleError,
    WrongStudyError,
)
from embhub.release import files as release_files
from embhub.release import signing, verification
from embhub.release.checks import study
from embhub.release.files import Release
from embhub.trust import dsse, kinds
from embhub.trust.statement import Statement
from tests.support import claims, releases
from tests.support import study_records as of
from tests.support.releases import OTHER_SITE, SITE, STRANGER, make_key
from tests.support.study_records import OFFICERS, SITES, STUDY_KEYS

FILE, OTHER = "e" * 64, "d" * 64


def read(data: bytes, trust: Any = None) -> study.StudyRecord:
    return study.read_record(data, [trust or of.trust()])


def judged(data: bytes, *, embedding: str = FILE, claim: Any = None) -> str:
    return study.check_release(
        read(data), embedding, claim or of.claim(), repository=of.plan().repository
    ).text  # fmt: skip


def edited(change: Callable[[dict[str, Any]], None]) -> bytes:
    document = json.loads(of.record(FILE))
    change(document)
    return json.dumps(document).encode()


def with_join(site: str, **facts: Any) -> bytes:
    return edited(lambda document: document["joins"].update({site: of.sent(of.join(site, **facts))}))


def with_consent(site: str, signature: bytes) -> bytes:
    return edited(lambda document: document["consents"].update({site: dsse.encode(signature)}))


def test_a_whole_record_says_how_many_joined_and_signed() -> None:
    found = read(of.record(FILE))
    assert found.study == of.plan() and found.registry == releases.ORIGIN
    assert {site: key.public_numbers() for site, key in found.keys.items()} == {
        site: key.public.public_numbers() for site, key in STUDY_KEYS.items()
    }
    assert judged(of.record(FILE)).endswith("of 4 sites, of which 4 signed this file")


def test_as_many_consents_as_a_step_needs_sites() -> None:
    assert "of which 3 signed" in judged(of.record(FILE, consenting=SITES[:3]))
    for few in (SITES[:2], ()):
        with pytest.raises(WrongStudyError, match="the study needs 3"):
            judged(of.record(FILE, consenting=few))


def test_consents_are_over_this_file_this_study_and_by_the_joined_key() -> None:
    with pytest.raises(WrongStudyError, match="did not consent to this file"):
        judged(of.record(FILE), embedding=OTHER)
    for signature in (
        of.consent("umcu", OTHER), of.consent("lumc", FILE), of.consent("umcu", FILE, key=OFFICERS["umcu"]), b"12345678"
    ):  # fmt: skip
        with pytest.raises(WrongStudyError, match="umcu did not consent"):
            judged(with_consent("umcu", signature))
    with pytest.raises(WrongStudyError, match="did not join"):
        read(with_consent("nki", of.consent("umcu", FILE)))


def test_every_site_joined_and_none_speaks_for_two() -> None:
    def drop(document: dict[str, Any]) -> None:
        del document["joins"]["umcu"], document["consents"]["umcu"]

    with pytest.raises(WrongStudyError, match="umcu did not join"):
        judged(edited(drop))
    assert set(read(edited(drop)).keys) == set(SITES) - {"umcu"}, "what runs is read, too"
    both = json.loads(with_join("umcu", of_study=STUDY_KEYS["lumc"]))
    both["consents"]["umcu"] = dsse.encode(of.consent("umcu", FILE, key=STUDY_KEYS["lumc"]))
    with pytest.raises(WrongStudyError, match="have one key"):
        judged(json.dumps(both).encode())


def test_joins_are_of_this_study_this_registry_and_its_own_sites() -> None:
    with pytest.raises(WrongStudyError, match="another study"):
        read(with_join("umcu", digest=OTHER))
    with pytest.raises(WrongRegistryError):
        read(with_join("umcu", registry="hub.elsewhere.org"))
    swapped = of.sent(of.join("lumc"))
    with pytest.raises(WrongStudyError, match="in the place of another"):
        read(edited(lambda document: document["joins"].update(umcu=swapped)))
    officer = make_key("officer of nki")
    trust = of.trust(keys=[*of.KEYS, ("nki", officer, "approve")])
    stranger = of.signed(
        study.join(of.plan().digest, "nki", OTHER_SITE.public, registry=releases.ORIGIN, created=releases.NOW), officer
    )
    with pytest.raises(WrongStudyError, match="nki is no site"):
        read(edited(lambda document: document["joins"].update(nki=of.sent(stranger))), trust)


def test_who_may_sign_what() -> None:
    with pytest.raises(WrongRoleError):
        read(with_join("radboud", key=SITE))
    with pytest.raises(WrongNamespaceError):
        read(with_join("umcu", key=OFFICERS["lumc"]))
    with pytest.raises(UnknownSignerError):
        read(with_join("umcu", key=STRANGER))
    for key, refusal in ((OFFICERS["radboud"], WrongRoleError), (OFFICERS["lumc"], WrongNamespaceError)):
        with pytest.raises(refusal):
            study.read_proposal(of.proposal(key=key), trusts=[of.trust()])
    with pytest.raises(WrongNamespaceError):
        study.read_withdrawal(of.withdrawal("umcu", key=OFFICERS["lumc"]), trusts=[of.trust()])
    assert study.read_withdrawal(of.withdrawal("radboud", key=SITE), trusts=[of.trust()]).site == "radboud"


def test_what_a_stolen_key_signed_counts_but_for_a_withdrawal() -> None:
    stolen = {"fingerprint": OFFICERS["umcu"].fingerprint, "reason": "stolen", "date": "2026-11-25T00:00:00Z"}
    with pytest.raises(RevokedKeyError):
        read(of.record(FILE), of.trust(stolen))
    assert study.read_withdrawal(of.withdrawal("umcu"), trusts=[of.trust(stolen)]).site == "umcu"


def test_the_claim_has_the_studys_digest_and_numbers() -> None:
    for changed in (of.claim(caption="another, {}"), of.claim(width=512), claims.make_claim(), "none"):
        with pytest.raises(WrongStudyError, match="the claim is not that of the study"):
            judged(of.record(FILE), claim=changed)


def verified(release: Release, **changes: Any) -> Any:
    return verification.verify(release, **{"trust": of.trust(), "now": releases.NOW, **changes})


def test_a_release_of_a_study_is_verified_from_its_files_alone() -> None:
    (said,) = [one for one in verified(of.release(consenting=SITES[1:])).findings if one.check == "study"]
    assert said.outcome == "ok" and said.text == (
        f"the outcome of study {of.plan().digest[:12]} of 4 sites, of which 3 signed this file"
    )
    assert not [one for one in verified(claims.make_private_release()).findings if one.check == "study"]


OTHER_BASE = {**releases.BASE, "prediction_type": "v_prediction"}
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "base": ({"base": OTHER_BASE}, "base"),
    "base without a fingerprint": ({"base": None}, "base"),
    "name of the base": ({"base_name": "another"}, "base name"),
    "token": ({"token": "<other>"}, "token"),
    "caption": ({"training": {"caption": "chest x-ray, {}"}}, "caption"),
    "steps": ({"training": {"steps": 51}}, "steps"),
    "batch": ({"training": {"batch_size": 17}}, "batch size"),
    "vectors in the header": ({"training": {"vectors": 4}}, "vectors"),
    "vectors": ({"rows": np.full((4, 32), 0.05)}, "vectors"),
    "learning rate": ({"training": {"learning_rate": 0.05}}, "learning rate"),
    "resolution": ({"training": {"resolution": 768}}, "resolution"),
    "fit": ({"training": {"fit": "crop"}}, "fit"),
    "two": ({"token": "<other>", "training": {"steps": 51}}, "token, steps"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_file_says_of_itself_what_the_study_says(case: str) -> None:
    """Its sites would have consented to another file than the one that they approved."""
    changes, named = OTHERS[case]
    with pytest.raises(WrongStudyError, match=rf"file and study differ in {named}\n"):
        verified(of.release(artifact=of.embedding(**changes)))


def test_what_a_header_leaves_out_is_as_the_study_says_where_it_means_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images were cropped where a header says nothing; a study that leaves a setting open is compared by the others."""
    plan = of.plan().model_copy(update={"recipe": {}, "preprocessing": {"fit": "crop", "resolution": None}})
    monkeypatch.setattr(of, "plan", lambda **_: plan)
    facts = {"caption": plan.caption, "steps": plan.attempts, "batch_size": plan.batch, "vectors": 8}
    made = releases.make_embedding(training=facts, privacy=of.embedding().privacy)
    assert verified(of.release(artifact=made))


def test_a_release_of_a_study_is_where_the_study_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sites consented to no other place, and can take it back there alone."""
    elsewhere = of.plan(repository="radboud/elsewhere")
    monkeypatch.setattr(of, "plan", lambda **_: elsewhere)
    with pytest.raises(WrongStudyError, match=r"published as .* and the study is for radboud/elsewhere"):
        verified(of.release())


def test_the_record_is_there_exactly_where_the_claim_is_of_a_study() -> None:
    files = {**of.release().files}
    del files[release_files.STUDY], files[release_files.MODEL_BUNDLE]
    with pytest.raises(WrongStudyError, match=r"there is no study\.json"):
        verified(Release.from_files(files))
    plain = claims.make_private_release()
    with pytest.raises(WrongStudyError, match="names no study"):
        verified(plain.with_files({**plain.files, release_files.STUDY: of.record(plain.embedding.digest)}))
    with pytest.raises(WrongStudyError, match="the study needs 3"):
        verified(of.release(consenting=SITES[:2]))


def test_the_publishers_model_signature_covers_the_record() -> None:
    release = of.release()
    other = release.with_files({**release.files, release_files.STUDY: of.record(release.embedding.digest)})
    with pytest.raises(DigestMismatchError, match=r"another study\.json"):
        verified(other)
    again = signing.sign_anew(release, key=SITE, now=releases.NOW)
    assert again.files[release_files.STUDY] == release.files[release_files.STUDY] and verified(again)


def test_the_keyring_that_vouches_for_the_publisher_judges_the_record() -> None:
    """Not any that is pinned here."""
    elsewhere = of.trust()
    publisher_alone = of.trust(keys=[("radboud", SITE, "publish")])
    with pytest.raises(UnknownSignerError):
        verified(of.release(), trust=[publisher_alone, elsewhere])


def test_a_proposal_holds_the_study_that_it_names() -> None:
    plan = of.plan()
    facts = {"registry": releases.ORIGIN, "created": "2026-11-20T10:30:00Z", "study": json.loads(plan.to_bytes())}
    for digest, changes, refusal in (
        (OTHER, {}, WrongStudyError), (plan.digest, {"study": {**facts["study"], "epsilon": 1.0}}, WrongStudyError),
        (plan.digest, {"more": 1}, MalformedStatementError), (plan.digest, {"study": {}}, WrongNamespaceError),
        (plan.digest, {"study": {"repository": releases.REPOSITORY}}, WrongStudyError),
    ):  # fmt: skip
        made = Statement(digest, kinds.STUDY.type, {**facts, **changes}, study.SUBJECT)
        with pytest.raises(refusal):
            study.read_proposal(of.signed(made, SITE), trusts=[of.trust()])
    with pytest.raises(WrongPredicateError):
        study.read_proposal(of.join("umcu"), trusts=[of.trust()])


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(more=1),
        lambda document: document.update(schema="embhub.study-record/2"),
        lambda document: document.update(joins=[]),
        lambda document: document.update(consents=[1]),
        lambda document: document["joins"].update(umcu=None),
        lambda document: document["joins"].update({"": document["proposal"]}),
        lambda document: document["consents"].update(umcu=1),
        lambda document: document["consents"].update(umcu="===="),
        lambda document: document.pop("proposal"),
        lambda document: document.update(proposal=document["joins"]["umcu"]),
    ],
)
def test_a_malformed_record(change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises((WrongStudyError, MalformedBundleError)):
        read(edited(change))


def test_no_record_is_larger_than_its_limit() -> None:
    with pytest.raises(WrongStudyError):
        read(of.record(FILE) + b" " * 400_000)


def test_a_key_of_a_study_has_one_spelling() -> None:
    pem = STUDY_KEYS["umcu"].public_pem.replace("\n", "\r\n")
    facts = {"registry": releases.ORIGIN, "created": "2026-11-20T10:30:00Z", "site": "umcu", "key": pem}
    made = of.signed(Statement(of.plan().digest, kinds.STUDY_JOIN.type, facts, study.SUBJECT), OFFICERS["umcu"])
    with pytest.raises(ReleaseRefusedError):
        study.read_join(made, trusts=[of.trust()])
