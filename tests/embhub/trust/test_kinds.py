"""Each kind of statement, read as readers read it, once its key was replaced, lost, stolen, or is named no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import utils

from embhub.refusals import BadSignatureError, ReleaseRefusedError, UnknownSignerError
from embhub.release import files as release_files
from embhub.release import signing, verification
from embhub.release.checks import approvals as approved
from embhub.release.checks import attested, base_report, evaluated, registered_audits, signers, study
from embhub.release.checks.signers import Signer
from embhub.release.files import Release
from embhub.trust import advisories, audit_designs, bundle, kept_advisories, kinds, root_keys, statement
from embhub.trust.keyring import REASONS, Reason, Role, Trust, as_sequence
from embhub.trust.kinds import KINDS, Kind, Listed, Revoked
from tests.support import designs, releases, study_records
from tests.support.base_reports import signed as on_base
from tests.support.evaluations import signed as evaluation
from tests.support.releases import AUDITOR, NOW, ORIGIN, OTHER_SITE, REPOSITORY, SITE, make_key
from tests.support.reviews import attest as approval

APPROVER, EVALUATOR, ONLINE, NEWER = (make_key(f"of kinds: {word}") for word in ("approve", "find", "online", "newer"))
GOOD = releases.make_release()
DIGEST = GOOD.embedding.digest
AFTER, BEFORE = "2026-11-20T12:00:00Z", "2026-11-20T09:00:00Z"  # of NOW, 10:30, when everything here was signed
AUDITED = designs.register(GOOD.embedding, key=AUDITOR)
PUBLISHER = Signer("radboud", None, SITE.fingerprint, "publish", releases.REGISTRY)
HELD = [
    ("radboud", SITE, "publish"), ("radboud", APPROVER, "approve"), ("nki", AUDITOR, "audit"),
    ("umcu", EVALUATOR, "evaluate"), ("lumc", OTHER_SITE, "publish"),
]  # fmt: skip
PROPOSAL = {"id": "0" * 40}


def trust(*rows: tuple[Any, str, str], online: Any = ONLINE) -> Trust:
    """A keyring with a key of each role that revokes (key, reason, date); one that left is a member's no more."""
    left = [key for key, reason, _ in rows if reason == "left"]
    members = [
        releases.member(name, [(key, role) for place, key, role in HELD if place == name and key not in left])
        for name in ("radboud", "nki", "umcu", "lumc")
    ]
    revoked = [{"fingerprint": key.fingerprint, "reason": reason, "date": date} for key, reason, date in rows]
    named = {"advisories": root_keys.named(online.public).model_dump()}
    return releases.make_trust(releases.make_keyring(members=members, revoked=revoked, online=named))


def read_publish(keyring: Trust | list[Trust]) -> None:
    verification.verify(GOOD, trust=keyring, now=NOW)


def read_audit(keyring: Trust | list[Trust]) -> None:
    assert GOOD.audit is not None
    digest = release_files.digest(GOOD.files[release_files.AUDIT])
    data = signing.attest_audit(
        GOOD.audit, report_digest=digest, registry=ORIGIN, repository=REPOSITORY, version="1.0.0", key=AUDITOR, now=NOW
    )
    attested.read(data, digest=DIGEST, trusts=as_sequence(keyring))


def registered(keyring: Trust) -> registered_audits.Registered:
    shown = [registered_audits.Shown(AUDITED.registration.design, AUDITED.result)]
    (found,) = registered_audits.find(
        [*AUDITED.before, *AUDITED.after], digest=DIGEST, keyring=keyring, publisher="radboud", shown=shown
    )
    return found


def read_design(keyring: Trust) -> None:
    signers.find(AUDITED.registration.design, kinds.DESIGN, trusts=[keyring], registry=None, of="radboud")
    assert registered(keyring).design == AUDITED.registration.design.envelope.identity


def read_notice(keyring: Trust) -> None:
    assert registered(keyring).notice == 0


def read_result(keyring: Trust) -> None:
    signers.find(AUDITED.result, kinds.RESULT, trusts=[keyring], registry=None, of="radboud")
    assert registered(keyring).result == 2
    bad = designs.register(GOOD.embedding, key=AUDITOR, shift=3.0)
    shown = [registered_audits.Shown(bad.registration.design, bad.result)]
    assert registered_audits.leaks(shown, digest=DIGEST, keyring=keyring, publisher="radboud")


def read_approval(keyring: Trust) -> None:
    count_approval(keyring, key=APPROVER, kind="signed")


def read_registrys_approval(keyring: Trust) -> None:
    count_approval(keyring, key=ONLINE, kind="registry")


def count_approval(keyring: Trust, **facts: Any) -> None:
    files = {name: release_files.digest(data) for name, data in GOOD.files.items()}
    made = approval(PROPOSAL, files, user="olga", version="1.0.0", created=NOW, **facts)
    name = release_files.approval_bundle(1)
    release = Release.from_files({**GOOD.files, name: json.dumps(made).encode()})
    publish = statement.read_publish(release.publish_bundle.statement)
    found, said = approved.find(release, publish, keyring=keyring, publisher=PUBLISHER)
    if not found:
        raise ReleaseRefusedError(said[0].text)


def read_evaluation(keyring: Trust | list[Trust]) -> None:
    made = json.dumps(evaluation(DIGEST, key=EVALUATOR, created=NOW)).encode()
    evaluated.read(made, digest=DIGEST, trusts=as_sequence(keyring))


def read_base_report(keyring: Trust | list[Trust]) -> None:
    base_report.read(on_base(key=EVALUATOR, created=NOW), trusts=as_sequence(keyring))


def read_proposal(keyring: Trust | list[Trust]) -> None:
    study.read_proposal(study_records.proposal(), trusts=as_sequence(keyring))


def read_join(keyring: Trust | list[Trust]) -> None:
    study.read_join(study_records.join("radboud", key=APPROVER), trusts=as_sequence(keyring))


def read_withdrawal(keyring: Trust | list[Trust]) -> None:
    study.read_withdrawal(study_records.withdrawal("radboud", key=APPROVER), trusts=as_sequence(keyring))


def read_advisories(keyring: Trust) -> None:
    listed = advisories.build(ORIGIN, number=1, issued="2026-11-20T10:30:00Z", entries=())
    held = Trust(keyring.registry, keyring.root_fingerprint, keyring.keyring, advisories=listed.sign(ONLINE))
    assert kept_advisories.listed(held) == listed


READERS: dict[str, tuple[Kind, Any, Callable[[Trust], None]]] = {
    "publish": (kinds.PUBLISH, SITE, read_publish),
    "mia-audit": (kinds.AUDIT, AUDITOR, read_audit),
    "audit-design": (kinds.DESIGN, AUDITOR, read_design),
    "audit-notice": (kinds.NOTICE, AUDITOR, read_notice),
    "audit-result": (kinds.RESULT, AUDITOR, read_result),
    "approval": (kinds.APPROVAL, APPROVER, read_approval),
    "evaluation": (kinds.EVALUATION, EVALUATOR, read_evaluation),
    "base-report": (kinds.BASE_REPORT, EVALUATOR, read_base_report),
    "study": (kinds.STUDY, SITE, read_proposal),
    "study-join": (kinds.STUDY_JOIN, APPROVER, read_join),
    "study-withdrawal": (kinds.STUDY_WITHDRAWAL, APPROVER, read_withdrawal),
}
RULES = {  # written down again, so that a rule is changed in two places or in none
    "publish": "VOUCHED", "mia-audit": "DATED", "audit-design": "KEPT", "audit-notice": "KEPT", "audit-result": "KEPT",
    "approval": "DATED", "evaluation": "DATED", "base-report": "DATED",
    "study": "DATED", "study-join": "DATED", "study-withdrawal": "KEPT",
}  # fmt: skip
REVOKED: dict[str, dict[tuple[Reason, str], bool]] = {
    "DATED": {
        ("superseded", AFTER): True, ("superseded", BEFORE): False, ("lost", AFTER): True, ("lost", BEFORE): False,
        ("stolen", AFTER): False, ("stolen", BEFORE): False,
    },
    "KEPT": {(reason, date): True for reason in ("superseded", "lost", "stolen") for date in (AFTER, BEFORE)},
    "NAMED": {(reason, date): False for reason in ("superseded", "lost", "stolen") for date in (AFTER, BEFORE)},
}  # fmt: skip
REVOKED["VOUCHED"] = REVOKED["DATED"]  # nobody vouches here: test_revocations has the other half


def holds(read: Callable[[Any], None], keyring: Trust | list[Trust]) -> bool:
    try:
        read(keyring)
    except ReleaseRefusedError:
        return False
    return True


def test_every_kind_is_read_here_and_every_reason_asked() -> None:
    assert {*(kind for kind, _, _ in READERS.values()), kinds.ADVISORIES} == {*KINDS} and len(KINDS) == 12
    assert len({kind.type for kind in KINDS}) == len(KINDS)
    assert {reason for reason, _ in REVOKED["DATED"]} | {"left"} == {*REASONS}
    assert {*REVOKED} == {rule.name for rule in Revoked}


@pytest.mark.parametrize("name", READERS)
def test_what_a_revoked_key_signed_is_worth(name: str) -> None:
    kind, key, read = READERS[name]
    assert kind.revoked.name == RULES[name]
    assert holds(read, trust()), "nothing is revoked"
    for (reason, date), good in REVOKED[RULES[name]].items():
        assert holds(read, trust((key, reason, date))) == good, (reason, date)
        assert kind.revoked.counts(reason, date, "2026-11-20T10:30:00Z") == good
    assert holds(read, trust((OTHER_SITE, "stolen", BEFORE))), "another's key"


@pytest.mark.parametrize("name", READERS)
def test_what_a_key_signed_that_was_removed_counts_for_nothing(name: str) -> None:
    _, key, read = READERS[name]
    assert not _is_read(read, trust((key, "left", AFTER)))
    assert not any(rule.counts("left", AFTER, "2026-11-20T10:30:00Z") for rule in Revoked)


def test_a_publishers_removed_key_is_known_as_such_by_whichever_keyring_removed_it() -> None:
    removed, earlier = trust((SITE, "left", AFTER)), trust()
    for keyrings in ([removed], [removed, earlier], [earlier, removed]):
        with pytest.raises(UnknownSignerError, match=f"was removed from the keyring of .* on {AFTER}"):
            verification.verify(GOOD, trust=keyrings, now=NOW)


@pytest.mark.parametrize("name", ["publish", "mia-audit", "evaluation", "base-report", "study", "study-join"])
def test_which_of_several_keyrings_of_one_registry_is_heard(name: str) -> None:
    kind, key, read = READERS[name]
    good, bad = trust(), trust((key, "stolen", AFTER))
    assert [holds(read, [bad, good]), holds(read, [good, bad])] == [False, not kind.every_keyring]
    assert kind.every_keyring == (name == "publish")


@pytest.mark.parametrize("read", [read_registrys_approval, read_advisories])
def test_what_the_registrys_own_key_signed_counts_as_long_as_the_keyring_names_it(
    read: Callable[[Trust], None],
) -> None:
    assert kinds.ADVISORIES.revoked is Revoked.NAMED and kinds.APPROVAL.purpose == kinds.ADVISORIES.purpose
    assert holds(read, trust()) and not holds(read, trust(online=NEWER))


def test_the_moment_of_a_revocation_is_still_before_it() -> None:
    assert Revoked.DATED.counts("lost", AFTER, AFTER) and Revoked.VOUCHED.counts("superseded", AFTER, AFTER)


def test_how_large_statements_and_lists_of_them_are() -> None:
    """Written down again: what a limit takes today is refused by readers whose limit is lower."""
    usual = {kind.bytes for kind in KINDS if kind not in (kinds.EVALUATION, kinds.BASE_REPORT, kinds.ADVISORIES)}
    assert (usual, kinds.EVALUATION.bytes, kinds.ADVISORIES.bytes) == ({64_000}, 12_000, 1_500_000)
    assert kinds.BASE_REPORT.bytes == 12_000
    assert bundle.MAX_BYTES == 64_000 and audit_designs.MOST == 64 and kinds.ADVISORIES.bytes == advisories.MAX_BYTES
    assert [kind.listed for kind in kinds.LISTED.values()] == [
        Listed("audits", 50, 2_000_000), Listed("designs", 256, 8_192_000, "design"),
        Listed("evaluations", 50, 1_000_000, removable=True), Listed("base-reports", 50, 1_000_000, about="base"),
    ]  # fmt: skip
    assert [kind.listed.removable for kind in kinds.LISTED.values()] == [False, False, True, False]


def test_a_registered_audits_signature_has_one_form() -> None:
    assert {kind for kind in KINDS if kind.one_form} == {kinds.DESIGN, kinds.NOTICE, kinds.RESULT}
    envelope = AUDITED.result.envelope
    first, second = utils.decode_dss_signature(envelope.signature)
    other = utils.encode_dss_signature(first, releases.ORDER_OF_P256 - second)
    high = bundle.Bundle(replace(envelope, signature=other), AUDITED.result.hint)
    signers.find(AUDITED.result, kinds.RESULT, trusts=[trust()], registry=None, of="radboud")
    with pytest.raises(BadSignatureError):
        signers.find(high, kinds.RESULT, trusts=[trust()], registry=None, of="radboud")


@pytest.mark.parametrize("rule", Revoked)
@pytest.mark.parametrize("reason", ["superseded", "lost", "stolen", None])
def test_nothing_new_is_made_with_a_revoked_key(rule: Revoked, reason: Reason | None) -> None:
    assert rule.counts(reason, AFTER, None) == (reason is None or rule is Revoked.KEPT)


@pytest.mark.parametrize("name", READERS)
def test_who_may_sign_it(name: str) -> None:
    """As each reader finds it: a key with every other role of the keyring may not."""
    kind, key, read = READERS[name]
    for role in get_args(Role):
        for namespace in ("radboud", "nki", "umcu"):
            able = kind.role_of({role}, own=namespace == "radboud") is not None
            members = [releases.member(namespace, [(key, role)])]
            if key is not SITE and namespace != "radboud":
                members.append(releases.member("radboud", [(SITE, "publish")]))
            given = releases.make_trust(releases.make_keyring(members=members))
            assert _is_read(read, given) == able, (role, namespace)


def _is_read(read: Callable[[Trust], None], keyring: Trust) -> bool:
    try:
        return holds(read, keyring)
    except ValueError:  # no notice counts
        return False
