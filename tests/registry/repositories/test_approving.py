"""Approving a proposed release: by whom, of which bytes, how many times, and what is published then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from embhub.release import files as release_files
from embhub.release import verification
from embhub.release.checks import approvals
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import EMBEDDING, Release
from embhub.release.policy import STANDARD, parse
from embhub_registry.admission import approving
from embhub_registry.database.clock import stamp
from embhub_registry.database.logs.outbox import Event
from embhub_registry.database.people import accounts, workloads
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people import auth, members, notifications
from embhub_registry.repositories import reviewing
from tests.support import pushes, releases, reviews
from tests.support.reviews import NAME, OFFICER_KEY, SECOND_KEY, Reviewed

SEEDS = iter(range(1, 1000))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with reviews.reviewed_registry(tmp_path_factory.mktemp("approving")) as made:
        yield made


@pytest.fixture
def two(house: Reviewed) -> Iterator[None]:
    house.registry.run("curate", "review", "set", NAME, "--approvals", "2")
    yield
    house.registry.run("curate", "review", "set", NAME, "--approvals", "0")


def newest(house: Reviewed) -> dict[str, Any]:
    found: dict[str, Any] = house.registry.get(f"/api/models/{NAME}").json()
    return found


def published(house: Reviewed, commit: str = "main") -> Release:
    tree = house.registry.get(f"/api/models/{NAME}/tree/{commit}?recursive=true").json()
    files = {row["path"]: house.registry.get(f"/{NAME}/resolve/{commit}/{row['path']}").body
             for row in tree if row["type"] == "file"}  # fmt: skip
    return Release.from_files(files)


def verified(house: Reviewed, release: Release, *words: str) -> verification.Verified:
    with house.registry.opened() as registry:
        return verification.verify(
            release, trust=registry.trust(), now=datetime.now(UTC), repository=NAME,
            policy=STANDARD.demanding(parse(words)),
        )  # fmt: skip


def hashes(release: Release) -> dict[str, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in release.files.items()}


def version_of(seed: int) -> str:
    return f"1.{seed}.0"


def test_one_approval_publishes_exactly_what_was_approved(house: Reviewed) -> None:
    seed = next(SEEDS)
    release = reviews.version(seed)
    made = house.propose(release)
    assert made["digest"] == approvals.digest_of(hashes(release)) and made["needed"] == 1
    before = newest(house)["sha"]
    done = house.approve(house.olga, made).json()
    assert done["commit"] == newest(house)["sha"] != before
    found = published(house)
    assert found.without_approvals().files == release.files
    (one,) = verified(house, found, "approved").approvals
    assert (one.kind, one.namespace, one.digest) == ("registry", "radboud", made["digest"])
    with pytest.raises(PolicyRefusedError, match="only the registry says so"):
        verified(house, found, "approved-by-key")
    steps = [(row["event"], row["actor"]) for row in house.events() if row.get("proposal") == made["id"]]
    assert steps == [("release-proposed", "alice"), ("release-approved", "olga"), ("release-published", "olga")]


def test_an_approval_by_ones_own_key_is_in_the_release_and_in_the_log(house: Reviewed) -> None:
    seed = next(SEEDS)
    release = reviews.version(seed)
    made = house.propose(release)
    signed = reviews.attest(made, hashes(release), user="olga", version=version_of(seed))
    assert house.approve(house.olga, made, attestation=signed).status == 200
    found = published(house)
    checked = verified(house, found, "approved", "approved-by-key")
    (one,) = checked.approvals
    assert (one.kind, one.fingerprint) == ("signed", OFFICER_KEY.fingerprint)
    assert "olga" not in json.dumps(checked.to_json()), "an attestation names no account"
    (said,) = [finding for finding in checked.findings if finding.check == "approval"]
    assert said.outcome == "ok" and OFFICER_KEY.fingerprint in said.text and made["digest"][:12] in said.text
    identity = json.loads(found.files[release_files.approval_bundle(1)])
    assert identity["verificationMaterial"]["publicKey"]["hint"] == OFFICER_KEY.fingerprint


def test_who_proposed_it_never_approves_it_whatever_role_they_get(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    assert house.approve(house.alice, made).status == 403, "a publisher"
    with house.registry.opened() as registry:
        members.join(registry, "alice", namespace="radboud", role="approver")
    try:
        answer = house.approve(house.alice, made)
        assert (answer.status, "proposed this release" in answer.body.decode()) == (403, True)
    finally:
        with house.registry.opened() as registry:
            members.join(registry, "alice", namespace="radboud", role="publisher")
    assert house.ask(house.olga, f"/{made['id']}").json()["state"] == "open"


def test_who_registered_a_workload_never_approves_what_it_proposed(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    with house.registry.opened() as registry, registry.database.writing() as db:
        identity = accounts.add_user(db, name="workload-1", namespace="radboud", role="publisher", now=stamp())
        workloads.add(
            db, "1", identity, namespace="radboud", repository=NAME, issuer="https://ci.example.org", audience="x",
            claims={"sub": "1"}, scope="publish", created_by="olga", now=stamp(),
        )  # fmt: skip
        db.execute("UPDATE proposal SET author = 'workload-1', author_id = ? WHERE id = ?", (identity, made["id"]))
    answer = house.approve(house.olga, made)
    assert (answer.status, "registered the workload" in answer.body.decode()) == (403, True)
    assert house.approve(house.omar, made).status == 200


def test_names_of_who_has_left_are_erased_from_proposals_and_approvals(house: Reviewed, two: None) -> None:
    registry = house.registry
    pia = registry.add_user("pia", namespace="radboud")
    quinn = registry.add_user("quinn", namespace="radboud", role="approver")
    reviews.made_by_owner(registry, "quinn")
    made = house.propose(reviews.version(next(SEEDS)), token=pia)
    assert house.approve(quinn, made).status == 200
    for name in ("pia", "quinn"):
        registry.ask("user", "offboard", name, "--erase")
    assert house.answer(house.omar, made["id"], answer="decline", reason="not now").status == 200
    with registry.opened() as opened:
        db = opened.database.connection()
        for table in ("proposal", "approval", "review_rule", "invite"):
            for row in db.execute(f"SELECT * FROM {table}"):
                assert not {"pia", "quinn"} & {str(value) for value in tuple(row)}, table


def test_erasing_an_account_with_a_namespaces_name_changes_no_proposal(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    house.registry.add_user("radboud", namespace="radboud", role="reader")
    house.registry.ask("user", "offboard", "radboud", "--erase")
    with house.registry.opened() as opened:
        db = opened.database.connection()
        (row,) = db.execute("SELECT caller FROM proposal WHERE id = ?", (made["id"],))
    assert row[0] == "radboud", "the caller is the namespace in whose name it was proposed"


def test_an_admin_without_the_role_approves_nothing(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    assert house.approve(house.registry.admin, made).status == 404
    assert house.answer(house.registry.admin, made["id"], answer="decline", reason="x").status == 404


def test_an_approval_is_of_one_digest_and_ends_with_a_new_push(house: Reviewed, two: None) -> None:
    first = house.propose(reviews.version(next(SEEDS)))
    assert house.approve(house.olga, first).json()["approvals"] == 1
    second = house.propose(reviews.version(next(SEEDS)))
    assert second["id"] != first["id"] and second["digest"] != first["digest"]
    assert house.approve(house.omar, first).status == 409, "replaced"
    assert (
        house.answer(house.omar, second["id"], answer="approve", digest=first["digest"], not_before=None).status == 409
    )
    assert house.approve(house.omar, second).json()["commit"] is None, "the first approval did not come along"
    assert house.ask(house.olga, f"/{first['id']}").json()["state"] == "replaced"


def test_the_same_push_again_is_the_same_proposal_with_its_approvals(house: Reviewed, two: None) -> None:
    release = reviews.version(next(SEEDS))
    made = house.propose(release)
    assert house.approve(house.olga, made).status == 200
    assert house.propose(release)["id"] == made["id"]
    assert house.approve(house.omar, made).json()["commit"]


def test_two_persons_and_two_keys(house: Reviewed, two: None) -> None:
    seed = next(SEEDS)
    release, before = reviews.version(seed), newest(house)["sha"]
    made = house.propose(release)
    assert made["needed"] == 2
    facts: dict[str, Any] = {"version": version_of(seed)}
    signed = reviews.attest(made, hashes(release), user="olga", **facts)
    assert house.approve(house.olga, made, attestation=signed).json() | {"commit": None} == {
        "id": made["id"], "repository": NAME, "answer": "approved", "approvals": 1, "needed": 2, "commit": None,
    }  # fmt: skip
    assert house.approve(house.olga, made).status == 409, "the same person again"
    borrowed = reviews.attest(made, hashes(release), user="omar", **facts)
    assert house.approve(house.omar, made, attestation=borrowed).status == 409, "another person with the same key"
    assert newest(house)["sha"] == before
    own = reviews.attest(made, hashes(release), user="omar", key=SECOND_KEY, **facts)
    assert house.approve(house.omar, made, attestation=own).json()["commit"]
    found = verified(house, published(house), "approved-by-key").approvals
    assert {one.fingerprint for one in found} == {OFFICER_KEY.fingerprint, SECOND_KEY.fingerprint}


def test_an_approver_who_lost_the_role_does_not_count(house: Reviewed, two: None) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    assert house.approve(house.olga, made).json()["approvals"] == 1
    with house.registry.opened() as registry:
        members.join(registry, "olga", namespace="radboud", role="reader")
    try:
        done = house.approve(house.omar, made).json()
        assert (done["approvals"], done["commit"]) == (1, None)
        assert house.approve(house.olga, made).status == 404
    finally:
        with house.registry.opened() as registry:
            members.join(registry, "olga", namespace="radboud", role="approver")


def test_a_rule_that_is_loosened_does_not_let_go_what_was_proposed(house: Reviewed) -> None:
    house.registry.run("curate", "review", "set", NAME, "--approvals", "2")
    made = house.propose(reviews.version(next(SEEDS)))
    house.registry.run("curate", "review", "set", NAME, "--approvals", "0")
    assert house.approve(house.olga, made).json()["commit"] is None
    assert house.approve(house.omar, made).json()["commit"]


def test_a_rule_that_is_tightened_holds_for_what_waits(house: Reviewed, two: None) -> None:
    house.registry.run("curate", "review", "set", NAME, "--approvals", "0")
    made = house.propose(reviews.version(next(SEEDS)))
    assert made["needed"] == 1
    house.registry.run("curate", "review", "set", NAME, "--approvals", "2")
    assert house.approve(house.olga, made).json()["commit"] is None
    assert house.approve(house.omar, made).json()["commit"]


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "9.9.9"}, {"repository": "radboud/other"}, {"registry": "elsewhere.example"},
        {"kind": "registry"}, {"approver": "0" * 16}, {"key": releases.SITE}, {"key": releases.AUDITOR},
        {"key": releases.make_key("nobody's")}, {"user": "omar"},
    ],
    ids=str,
)  # fmt: skip
def test_attestations_that_do_not_fit(house: Reviewed, changes: dict[str, Any]) -> None:
    made, release = _waiting(house)
    signed = reviews.attest(made, hashes(release), **{"user": "olga", "version": made["version"], **changes})
    assert house.approve(house.olga, made, attestation=signed).status in (403, 422)
    assert house.ask(house.olga, f"/{made['id']}").json()["approvals"] == []


def test_an_attestation_of_other_files_or_of_an_earlier_proposal(house: Reviewed) -> None:
    made, release = _waiting(house)
    held = hashes(release) | {"README.md": "0" * 64}
    for files, about in ((held, made), (hashes(release), {"id": "0" * 40})):
        signed = reviews.attest(about, files, user="olga", version=made["version"])
        assert house.approve(house.olga, made, attestation=signed).status == 422


def test_damaged_attestations(house: Reviewed) -> None:
    made, release = _waiting(house)
    good = reviews.attest(made, hashes(release), user="olga", version=made["version"])
    other = reviews.attest(made, hashes(release), user="olga", version=made["version"])
    other["dsseEnvelope"]["signatures"] = reviews.attest(made, hashes(release), user="omar", version=made["version"])[
        "dsseEnvelope"
    ]["signatures"]
    for bad in (other, {}, good | {"extra": 1}):
        assert house.approve(house.olga, made, attestation=bad).status == 422


def _waiting(house: Reviewed) -> tuple[dict[str, Any], Release]:
    """The proposal that waits, for several tests, or a new one."""
    rows = [row for row in house.ask(house.alice).json()["proposals"] if row["state"] == "open" and row["version"]]
    if not rows:
        house.propose(reviews.version(next(SEEDS)))
        return _waiting(house)
    row = rows[0]
    return row, Release.from_files(
        {path: house.ask(house.alice, f"/{row['id']}/files/{path}").body for path in row["files"]}
    )


def test_declined_with_a_reason_and_its_bytes_go(house: Reviewed) -> None:
    release = reviews.version(next(SEEDS))
    made = house.propose(release)
    digest = hashlib.sha256(release.files[EMBEDDING]).hexdigest()
    assert house.answer(house.olga, made["id"], answer="decline").status == 400
    assert house.answer(house.olga, made["id"], answer="decline", reason=" ").status == 400
    assert house.answer(house.olga, made["id"], answer="decline", reason="wrong scanner").status == 200
    seen = house.ask(house.alice, f"/{made['id']}").json()
    assert (seen["state"], seen["reason"], seen["files"]) == ("declined", "wrong scanner", {})
    assert house.approve(house.omar, made).status == 409
    with house.registry.opened() as registry:
        db = registry.database.connection()
        assert db.execute("SELECT 1 FROM blob WHERE digest = ?", (digest,)).fetchone() is None
        assert db.execute("SELECT 1 FROM purge WHERE digest = ?", (digest,)).fetchone() is not None
    house.registry.stop()
    checked = house.registry.run("check", check=False)
    house.registry.start()
    assert checked.returncode == 0, checked.stdout + checked.stderr
    again = house.propose(release)
    assert again["id"] != made["id"] and house.approve(house.olga, again).json()["commit"], "and it may come again"
    assert published(house).files[EMBEDDING] == release.files[EMBEDDING]


def test_who_proposed_it_withdraws_it(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    assert house.answer(house.paul, made["id"], answer="decline", reason="not mine").status == 404
    assert house.answer(house.alice, made["id"], answer="decline", reason="a typing error").status == 200
    assert house.events()[-1]["event"] == "proposal-withdrawn"


def test_what_was_built_on_an_older_commit_is_not_published(house: Reviewed) -> None:
    late = house.propose(reviews.version(next(SEEDS)), token=house.paul)
    made = house.propose(reviews.version(next(SEEDS)))
    assert house.approve(house.olga, made).json()["commit"]
    assert house.approve(house.olga, late).status == 409
    assert house.ask(house.paul, f"/{late['id']}").json()["state"] == "replaced"


def test_admission_is_asked_again_when_it_is_approved(house: Reviewed) -> None:
    """The bytes were withdrawn since."""
    release = reviews.version(next(SEEDS))
    made = house.propose(release)
    assert house.approve(house.olga, made).json()["commit"]
    following = house.propose(reviews.version(next(SEEDS)))
    assert house.answer(house.olga, following["id"], answer="decline", reason="first the other").status == 200
    waiting = house.propose(releases.make_release(
        artifact=releases.make_embedding(seed=int(made["digest"][:4], 16) + 5000), version=version_of(next(SEEDS)),
    ))  # fmt: skip
    body = {"reason": "a patient withdrew", "scope": "bytes"}
    answer = house.registry.request("POST", f"/embhub/v1/yank/{NAME}", token=house.alice, json_body=body)
    assert answer.status == 200
    swapped = house.propose(releases.make_release(
        artifact=releases.make_embedding(seed=77777), version=version_of(next(SEEDS)),
    ))  # fmt: skip
    assert swapped["id"] != waiting["id"]
    with house.registry.opened() as registry, registry.database.writing() as db:
        digest = db.execute("SELECT digest FROM proposal_file WHERE proposal_id = ? AND path = ?",
                            (swapped["id"], EMBEDDING)).fetchone()[0]  # fmt: skip
        db.execute("UPDATE withdrawal SET digest = ? WHERE scope = 'bytes'", (digest,))
    assert house.approve(house.olga, swapped).status == 422
    assert house.ask(house.olga, f"/{swapped['id']}").json()["state"] == "open"
    with house.registry.opened() as registry, registry.database.writing() as db:
        db.execute("UPDATE withdrawal SET lifted = created WHERE scope = 'bytes'")


def test_racing_approvals_publish_once(house: Reviewed, two: None) -> None:
    made, before = house.propose(reviews.version(next(SEEDS))), newest(house)["sha"]
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda token: house.approve(token, made), [house.olga, house.omar] * 3))
    assert sorted(answer.status for answer in done).count(200) == 2
    assert sum(answer.status == 200 and answer.json()["commit"] is not None for answer in done) == 1
    history = house.registry.get(f"/api/models/{NAME}/commits/main").json()
    assert history[1]["id"] == before
    assert len(verified(house, published(house)).approvals) == 2


def test_a_push_that_races_with_an_approval_is_never_approved_by_it(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    other = reviews.version(next(SEEDS))
    with ThreadPoolExecutor(2) as pool:
        approved = pool.submit(house.approve, house.olga, made)
        pushed = pool.submit(pushes.commit, house.registry, NAME, other.files, token=house.alice)
        assert pushed.result().status in (200, 409, 412)
        assert approved.result().status in (200, 409)
    assert published(house).files[EMBEDDING] != other.files[EMBEDDING]


def test_a_card_alone_and_an_auditors_report_are_proposed_too(house: Reviewed) -> None:
    before = newest(house)["sha"]
    answer = pushes.commit(house.registry, NAME, {".gitattributes": b"* text\n"}, token=house.alice)
    assert answer.json()["proposal"]["needed"] == 1 and newest(house)["sha"] == before
    made = answer.json()["proposal"]
    kept = {path for path in published(house).files if release_files.is_approval(path)}
    assert house.approve(house.olga, made).json()["commit"] != before
    assert kept <= set(published(house).files), "the release is the same: its approvals stay"
    assert verified(house, published(house)).version


def test_nobody_brings_or_removes_an_approval_by_a_push(house: Reviewed) -> None:
    release = published(house)
    name = release_files.approval_bundle(1)
    answer = pushes.commit(house.registry, NAME, {name: release.files[name]}, token=house.alice)
    assert answer.json()["commitOid"] == newest(house)["sha"] and "proposal" not in answer.json()
    header = {"key": "header", "value": {"summary": "x"}}
    lines = [header, {"key": "deletedFile", "value": {"path": name}}]
    body = "\n".join(map(json.dumps, lines)).encode()
    done = house.registry.request("POST", f"/api/models/{NAME}/commit/main", token=house.alice, body=body)
    assert done.json()["commitOid"] == newest(house)["sha"]
    made = house.propose(Release.from_files({**reviews.version(next(SEEDS)).files, name: release.files[name]}))
    assert name not in house.ask(house.olga, f"/{made['id']}").json()["files"]


def test_an_approval_of_another_release_counts_for_nothing(house: Reviewed) -> None:
    old = published(house)
    name = release_files.approval_bundle(1)
    seed = next(SEEDS)
    moved = Release.from_files({**reviews.version(seed).files, name: old.files[name]})
    checked = verified(house, moved)
    assert checked.approvals == ()
    assert any("counts for nothing" in finding.text for finding in checked.findings)
    with pytest.raises(PolicyRefusedError, match="nobody approved it"):
        verified(house, moved, "approved")


def test_only_an_admin_or_the_operator_changes_the_rule(house: Reviewed) -> None:
    with house.registry.opened() as registry:
        db = registry.database.connection()
        for token in (house.alice, house.olga, house.rita, house.lea):
            account = auth.authenticate(db, f"Bearer {token}")
            with pytest.raises(RequestDeniedError) as refused:
                reviewing.set_rule(registry, account, "radboud", "", 0)
            assert refused.value.status == 403
    rows = house.registry.ask("curate", "review", "list")["rules"]
    assert [(row["namespace"], row["name"], row["approvals"]) for row in rows] == [("radboud", "", 1)]


def test_a_repository_that_is_deleted_and_made_again_keeps_its_rule(house: Reviewed) -> None:
    pushes.create(house.registry, "Drafts.v1", token=house.alice)
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "0")
    house.registry.run("curate", "review", "set", "radboud/Drafts.v1", "--approvals", "1")
    try:
        gone = {"name": "Drafts.v1", "organization": "radboud"}
        assert house.registry.request("DELETE", "/api/repos/delete", token=house.alice, json_body=gone).status == 200
        pushes.create(house.registry, "drafts_v1", token=house.alice)
        answer = pushes.commit(house.registry, "radboud/drafts_v1", {"README.md": b"# Hello\n"}, token=house.alice)
        assert answer.json()["proposal"]["needed"] == 1
    finally:
        house.registry.run("curate", "review", "set", "radboud", "--approvals", "1")


def test_bytes_that_wait_count_towards_the_quota(house: Reviewed) -> None:
    before = {row["namespace"]: row["bytes"]["used"] for row in house.registry.ask("quota", "show")["namespaces"]}
    house.propose(reviews.version(next(SEEDS)), token=house.paul)
    after = {row["namespace"]: row["bytes"]["used"] for row in house.registry.ask("quota", "show")["namespaces"]}
    assert after["radboud"] > before["radboud"]


def test_an_embargo_ends_by_the_clock_and_not_before(house: Reviewed) -> None:
    release, before = reviews.version(next(SEEDS)), newest(house)["sha"]
    ends = datetime.now(UTC) + timedelta(days=3)
    made = propose_until(house, release, ends)
    assert made["not_before"].startswith(ends.strftime("%Y-%m-%dT%H:%M"))
    assert house.approve(house.olga, made).json()["commit"] is None, "approved, and still to come"
    assert newest(house)["sha"] == before
    with house.registry.opened() as registry:
        assert approving.publish_due(registry) == 0
        with registry.database.writing() as db:
            db.execute("UPDATE proposal SET not_before = '2026-01-01T00:00:00.000Z' WHERE id = ?", (made["id"],))
        approving.publish_due(registry)  # here, or in the server that runs beside it
    assert newest(house)["sha"] != before
    assert published(house).files[EMBEDDING] == release.files[EMBEDDING]


def test_an_embargo_that_ended_without_an_approval_publishes_nothing(house: Reviewed) -> None:
    before = newest(house)["sha"]
    made = propose_until(house, reviews.version(next(SEEDS)), datetime.now(UTC) + timedelta(days=3))
    with house.registry.opened() as registry:
        with registry.database.writing() as db:
            db.execute("UPDATE proposal SET not_before = '2026-01-01T00:00:00.000Z' WHERE id = ?", (made["id"],))
        assert approving.publish_due(registry) == 0
    assert newest(house)["sha"] == before
    shown = house.ask(house.olga, f"/{made['id']}").json()
    assert house.approve(house.olga, shown).json()["commit"]


def test_an_embargo_where_no_approval_is_needed(house: Reviewed) -> None:
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "0")
    before = newest(house)["sha"]
    try:
        made = propose_until(house, reviews.version(next(SEEDS)), datetime.now(UTC) + timedelta(days=3))
        assert (made["needed"], newest(house)["sha"]) == (0, before)
        with house.registry.opened() as registry:
            with registry.database.writing() as db:
                db.execute("UPDATE proposal SET not_before = '2026-01-01T00:00:00.000Z' WHERE id = ?", (made["id"],))
            approving.publish_due(registry)
        assert newest(house)["sha"] != before
    finally:
        house.registry.run("curate", "review", "set", "radboud", "--approvals", "1")


@pytest.mark.parametrize("said", ["2020-01-01T00:00:00Z", "tomorrow", 5, "2999-01-01T00:00:00Z", ""])
def test_an_embargo_is_a_moment_ahead(house: Reviewed, said: object) -> None:
    answer = _push(house, reviews.version(3), {"embargo": said})
    assert answer.status == 400 and b"embargo" in answer.body


def until(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_its_publisher_moves_an_embargo_and_an_earlier_end_needs_the_approvals_again(house: Reviewed) -> None:
    start = datetime.now(UTC)
    made = propose_until(house, reviews.version(next(SEEDS)), start + timedelta(days=3))
    assert house.approve(house.olga, made).json()["approvals"] == 1
    later, earlier = until(start + timedelta(days=9)), until(start + timedelta(days=1))
    moved = house.answer(house.alice, made["id"], answer="embargo", until=later)
    assert moved.status == 200 and moved.json() == {
        "id": made["id"], "repository": NAME, "answer": "embargo", "not_before": later.replace("Z", ".000Z"),
        "before": made["not_before"], "approvals": 1,
    }, moved.body  # fmt: skip
    moved = house.answer(house.alice, made["id"], answer="embargo", until=earlier)
    assert (moved.json()["approvals"], moved.json()["before"]) == (0, later.replace("Z", ".000Z"))
    old = house.approve(house.olga, made, not_before=later.replace("Z", ".000Z"))
    assert old.status == 409 and b"embargo" in old.body, "what the approver saw had another end"
    silent = house.answer(house.olga, made["id"], answer="approve", digest=made["digest"])
    assert silent.status == 400 and b"not_before" in silent.body, "an approver says which end they saw"
    shown = house.ask(house.olga, f"/{made['id']}").json()
    assert house.approve(house.olga, made, not_before=shown["not_before"]).json()["approvals"] == 1
    line = [line for line in house.events() if line["event"] == "embargo-changed"][-1]
    assert (line["actor"], line["before"], line["approvals_dropped"]) == ("alice", later.replace("Z", ".000Z"), 1)


def test_an_embargo_that_ends_now_is_published_where_nothing_else_is_missing(house: Reviewed) -> None:
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "0")
    try:
        release = reviews.version(next(SEEDS))
        made = propose_until(house, release, datetime.now(UTC) + timedelta(days=3))
        assert house.answer(house.alice, made["id"], answer="embargo", until="now").status == 200
        with house.registry.opened() as registry:
            approving.publish_due(registry)  # here, or in the server that runs beside it
        assert published(house).files[EMBEDDING] == release.files[EMBEDDING]
        ended = house.answer(house.alice, made["id"], answer="embargo", until="now")
        assert ended.status == 409, "it is published"
    finally:
        house.registry.run("curate", "review", "set", "radboud", "--approvals", "1")


def test_an_embargo_is_moved_by_its_publisher_alone_and_while_it_lasts(house: Reviewed) -> None:
    start = datetime.now(UTC)
    made = propose_until(house, reviews.version(next(SEEDS)), start + timedelta(days=3))
    later = until(start + timedelta(days=9))
    for token, status in ((house.olga, 403), (house.paul, 404), (house.registry.admin, 404), (house.lea, 404)):
        assert house.answer(token, made["id"], answer="embargo", until=later).status == status
    for wrong in ("2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "", "soon", 5, None):
        assert house.answer(house.alice, made["id"], answer="embargo", until=wrong).status == 400
    read = house.registry.ask("token", "new", "alice", "--scope", "read")["token"]
    assert house.answer(read, made["id"], answer="embargo", until=later).status == 403
    with house.registry.opened() as registry, registry.database.writing() as db:
        db.execute("UPDATE proposal SET not_before = '2026-01-01T00:00:00.000Z' WHERE id = ?", (made["id"],))
    assert house.answer(house.alice, made["id"], answer="embargo", until=later).status == 409, "it has ended"
    plain = house.propose(reviews.version(next(SEEDS)))
    assert house.answer(house.alice, plain["id"], answer="embargo", until=later).status == 409, "it has none"


def propose_until(house: Reviewed, release: Release, ends: datetime) -> dict[str, Any]:
    answer = _push(house, release, {"embargo": ends.strftime("%Y-%m-%dT%H:%M:%SZ")})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()["proposal"]
    return found


def _push(house: Reviewed, release: Release, header: dict[str, object]) -> Any:
    lines = pushes.commit_body(release.files).split(b"\n")
    first = json.loads(lines[0])
    first["value"] |= header
    body = b"\n".join([json.dumps(first).encode(), *lines[1:]])
    return house.registry.request("POST", f"/api/models/{NAME}/commit/main", token=house.alice, body=body)


def test_a_repository_that_is_deleted_takes_its_proposals_along(house: Reviewed) -> None:
    pushes.create(house.registry, "scratch", token=house.alice)
    card = b"# Scratch, of which nothing else has the bytes\n"
    answer = pushes.commit(house.registry, "radboud/scratch", {"README.md": card}, token=house.alice)
    made = answer.json()["proposal"]
    gone = {"name": "scratch", "organization": "radboud"}
    assert house.registry.request("DELETE", "/api/repos/delete", token=house.alice, json_body=gone).status == 200
    assert house.ask(house.olga, f"/{made['id']}").status == 404
    assert house.approve(house.olga, made).status == 404
    with house.registry.opened() as registry:
        digest = hashlib.sha256(card).hexdigest()
        assert (
            registry.database.connection().execute("SELECT 1 FROM blob WHERE digest = ?", (digest,)).fetchone() is None
        )


def test_approvers_are_told_of_a_proposal_and_its_author_of_the_answer(house: Reviewed) -> None:
    registry = house.registry
    for name in ("olga", "alice", "paul", "rita"):
        registry.run("user", "mail", name, f"{name}@example.org")
    registry.run("user", "mail", "admin", "admin@example.org")
    try:
        made = house.propose(reviews.version(next(SEEDS)))
        assert told(house, "review.requested") == {"olga"}, "not who proposed it, a colleague, a reader or an admin"
        assert house.answer(house.omar, made["id"], answer="decline", reason="said in confidence").status == 200
        assert told(house, "review.decided") == {"alice"}
        with registry.opened() as opened:
            rows = opened.database.connection().execute("SELECT data FROM event").fetchall()
        assert not any("confidence" in row[0] or made["digest"] in row[0] for row in rows)
        assert json.loads(rows[-1][0])["status"] == "declined"
    finally:
        for name in ("olga", "alice", "paul", "rita", "admin"):
            registry.run("user", "mail", name)


def told(house: Reviewed, kind: str) -> set[str]:
    """Who gets mail of an event of this kind, as the worker decides it."""
    with house.registry.opened() as registry:
        db = registry.database.connection()
        statement = (
            "SELECT event.*, delivery.user_id AS person FROM delivery JOIN event ON event.id = delivery.event_id"
            " WHERE kind = ?"
        )
        found = set()
        for row in db.execute(statement, (kind,)).fetchall():
            account = auth.find_account(db, row["person"])
            event = Event(row["id"], row["kind"], row["namespace"], row["repository"], bool(row["private"]),
                          row["created"], json.loads(row["data"]))  # fmt: skip
            if account is not None and notifications.may_know(db, event, account, by_mail=True):
                found.add(account.user)
        return found
