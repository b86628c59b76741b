"""What a review does not let through: embargoes of people who left, keys that ended, repositories shown to more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from embhub.errors import UsageError
from embhub.release.files import EMBEDDING, Release, approval_bundle
from embhub.release.verification import verify
from embhub.site.signing.keys import SigningKey
from embhub_registry.admission import approving, storing
from embhub_registry.admission.storing import Change, Judged
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts, workloads
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people import auth, members
from embhub_registry.storage.folder import Registry
from tests.support import pushes, releases, reviews
from tests.support.people import Person
from tests.support.quick import quick
from tests.support.reviews import NAME, OFFICER_KEY, Reviewed

SEEDS = iter(range(1, 1000))
PAST = "2026-01-01T00:00:00.000Z"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with reviews.reviewed_registry(tmp_path_factory.mktemp("limits")) as made:
        yield made


@pytest.fixture
def unruled(house: Reviewed) -> Iterator[None]:
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "0")
    yield
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "1")


@pytest.fixture
def two(house: Reviewed) -> Iterator[None]:
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "2")
    yield
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "1")


def newest(house: Reviewed) -> str:
    return str(house.registry.get(f"/api/models/{NAME}").json()["sha"])


def state(house: Reviewed, made: dict[str, Any]) -> str:
    return str(house.ask(house.olga, f"/{made['id']}").json()["state"])


def under_embargo(house: Reviewed, token: str | None = None) -> dict[str, Any]:
    lines = pushes.commit_body(reviews.version(next(SEEDS)).files).split(b"\n")
    first = json.loads(lines[0])
    first["value"] |= {"embargo": (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")}
    body = b"\n".join([json.dumps(first).encode(), *lines[1:]])
    answer = house.registry.request(
        "POST", f"/api/models/{NAME}/commit/main", token=token or house.alice, body=body
    )  # fmt: skip
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()["proposal"]
    return found


def pass_time(registry: Registry, made: dict[str, Any]) -> None:
    with registry.database.writing() as db:
        db.execute("UPDATE proposal SET not_before = ? WHERE id = ?", (PAST, made["id"]))


def hashes(release: Release) -> dict[str, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in release.files.items()}


@pytest.mark.parametrize("change", ["role", "disabled"])
def test_an_embargo_of_somebody_who_may_not_publish_any_more_publishes_nothing(
    house: Reviewed, unruled: None, change: str
) -> None:
    """The token of a publisher was stolen, say: what it left behind does not come out weeks later by itself."""
    made, before = under_embargo(house, house.paul), newest(house)
    with house.registry.opened() as registry:
        if change == "role":
            members.join(registry, "paul", namespace="radboud", role="reader")
        else:
            house.registry.run("user", "disable", "paul")
        try:
            pass_time(registry, made)
            assert approving.publish_due(registry) == 0
        finally:
            if change == "role":
                members.join(registry, "paul", namespace="radboud", role="publisher")
            else:
                house.registry.run("user", "enable", "paul")
    assert newest(house) == before
    assert house.answer(house.olga, made["id"], answer="decline", reason="paul left").status in (200, 409)


def test_an_embargo_of_a_workload_that_is_trusted_no_more_publishes_nothing(house: Reviewed, unruled: None) -> None:
    made, before = under_embargo(house), newest(house)
    with house.registry.opened() as registry:
        with registry.database.writing() as db:
            identity = accounts.add_user(db, name="workload-9", namespace="radboud", role="publisher", now=stamp())
            workloads.add(
                db, "9", identity, namespace="radboud", repository=NAME, issuer="https://ci.example.org", audience="x",
                claims={"sub": "9"}, scope="publish", created_by="paul", now=stamp(),
            )  # fmt: skip
            db.execute(
                "UPDATE proposal SET author = 'workload-9', author_id = ? WHERE id = ?", (identity, made["id"])
            )  # fmt: skip
            assert workloads.end(db, "9", now=stamp())
        pass_time(registry, made)
        assert approving.publish_due(registry) == 0
    assert newest(house) == before
    assert house.answer(house.registry.admin, made["id"], answer="decline", reason="x").status == 404
    assert house.answer(house.olga, made["id"], answer="decline", reason="its workload ended").status == 200


def test_an_approver_may_still_let_it_go(house: Reviewed) -> None:
    made, before = house.propose(reviews.version(next(SEEDS)), token=house.paul), newest(house)
    house.registry.run("user", "disable", "paul")
    try:
        assert house.approve(house.olga, made).json()["commit"] == newest(house) != before
    finally:
        house.registry.run("user", "enable", "paul")


def test_embargoes_that_cannot_be_published_hold_up_no_other(house: Reviewed, unruled: None) -> None:
    made, before = under_embargo(house), newest(house)
    with house.registry.opened() as registry:
        with registry.database.writing() as db:
            for number in range(101):
                db.execute(
                    "INSERT INTO proposal (id, repository_id, branch, parent, digest, version, author, author_id,"
                    " caller, admin, title, message, created, needed, not_before, state)"
                    " SELECT ?, repository_id, ?, parent,"
                    " digest, version, author, author_id, caller, admin, title, message, created, 1, ?, state"
                    " FROM proposal WHERE id = ?",
                    (f"{number:040x}", f"b{number}", f"2025-01-01T00:00:00.{number:03d}Z", made["id"]),
                )
        pass_time(registry, made)
        approving.publish_due(registry)
        assert newest(house) != before
        with registry.database.writing() as db:
            db.execute("DELETE FROM proposal WHERE id LIKE '000000%'")


def test_one_that_fails_is_not_judged_at_every_turn(
    house: Reviewed, unruled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = under_embargo(house)
    asked = []

    def refuse(registry: Registry, change: Change) -> Judged:
        asked.append(change)
        raise RequestDeniedError(422, "revoked-key", "a key was revoked", "sign anew")

    with house.registry.opened() as registry:
        monkeypatch.setattr(approving, "judge", refuse)
        pass_time(registry, made)
        held_back: dict[str, str] = {}
        for _ in range(3):
            approving.publish_due(registry, held_back)
    assert len(asked) <= 1 and (held_back.keys() == {made["id"]} or not asked)
    house.answer(house.alice, made["id"], answer="decline", reason="done")


def test_what_is_overtaken_by_a_commit_without_approval_ends(house: Reviewed) -> None:
    """Its files would be kept, and counted, for ever."""
    made = house.propose(reviews.version(next(SEEDS)))
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "0")
    try:
        answer = pushes.commit(house.registry, NAME, reviews.version(next(SEEDS)).files, token=house.paul)
        assert answer.status == 200 and "proposal" not in answer.json()
    finally:
        house.registry.run("curate", "review", "set", "radboud", "--approvals", "1")
    assert state(house, made) == "replaced"
    assert any(row["event"] == "proposal-replaced" and row["proposal"] == made["id"] for row in house.events())


def test_an_approval_counts_while_its_key_is_in_use(house: Reviewed, two: None) -> None:
    third = releases.make_key("a key that ends")
    house.registry.add_key(third, namespace="radboud", role="approve")
    release = reviews.version(next(SEEDS))
    made = house.propose(release)
    signed = reviews.attest(made, hashes(release), user="olga", key=third, version=release.card.version)
    assert house.approve(house.olga, made, attestation=signed).json()["approvals"] == 1
    house.registry.run("key", "revoke", third.fingerprint, "--reason", "stolen")
    assert house.ask(house.omar, f"/{made['id']}").json()["approvals"] == []
    (listed,) = [row for row in house.ask(house.omar).json()["proposals"] if row["id"] == made["id"]]
    assert listed["approvals"] == []
    done = house.approve(house.omar, made).json()
    assert (done["approvals"], done["commit"]) == (1, None)
    signed = reviews.attest(made, hashes(release), user="olga", key=OFFICER_KEY, version=release.card.version)
    assert house.approve(house.olga, made, attestation=signed).json()["commit"] == newest(house)


def approved_by(house: Reviewed, key: SigningKey) -> Release:
    release = reviews.version(next(SEEDS))
    made = house.propose(release)
    signed = reviews.attest(made, hashes(release), user="olga", key=key, version=release.card.version)
    commit = house.approve(house.olga, made, attestation=signed).json()["commit"]
    path = approval_bundle(1)
    data = house.registry.get(f"/{NAME}/resolve/{commit}/{path}").body
    return Release.from_files({**release.files, path: data})


@pytest.mark.parametrize(
    ("reason", "counts"), quick([("stolen", False)], thorough=[("superseded", True), ("lost", True)])
)
def test_what_an_approver_signed_with_a_key_that_was_replaced_stays_good(
    house: Reviewed, reason: str, counts: bool
) -> None:
    """As with a publisher's and an auditor's key: it has no enemy behind it, unless it was stolen."""
    key = releases.make_key(f"an approver's key, {reason}")
    house.registry.add_key(key, namespace="radboud", role="approve")
    release = approved_by(house, key)
    house.registry.run("key", "revoke", key.fingerprint, "--reason", reason)
    with house.registry.opened() as registry:
        found = verify(release, trust=registry.trust(), now=datetime.now(UTC), repository=NAME)
    assert (len(found.approvals) == 1) is counts
    release = reviews.version(next(SEEDS))
    made = house.propose(release)
    signed = reviews.attest(made, hashes(release), user="olga", key=key, version=release.card.version)
    assert house.approve(house.olga, made, attestation=signed).status == 422, "it signs nothing new"
    house.answer(house.olga, made["id"], answer="decline", reason="done")


def test_a_key_that_may_publish_approves_nothing(house: Reviewed) -> None:
    """The publisher would have one key to sign with and one to approve with."""
    key = releases.make_key("a second key of the publisher")
    house.registry.add_key(key, namespace="radboud")
    with pytest.raises(UsageError, match="publish key"):
        house.registry.add_key(key, namespace="radboud", role="approve")
    with pytest.raises(UsageError, match="approve key"):
        house.registry.add_key(OFFICER_KEY, namespace="radboud", role="publish")


@pytest.mark.parametrize("days", [-400, 400])
def test_an_approval_is_dated_when_it_was_made(house: Reviewed, days: int) -> None:
    release = reviews.version(next(SEEDS))
    made = house.propose(release)
    created = datetime.now(UTC) + timedelta(days=days)
    signed = reviews.attest(made, hashes(release), user="olga", version=release.card.version, created=created)
    answer = house.approve(house.olga, made, attestation=signed)
    assert answer.status == 422 and "date" in answer.body.decode()


def test_who_loses_the_role_while_admission_looks_approves_nothing(
    house: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, before, judge = house.propose(reviews.version(next(SEEDS))), newest(house), storing.judge

    def slowly(registry: Registry, change: Change) -> Judged:
        members.join(registry, "omar", namespace="radboud", role="reader")
        return judge(registry, change)

    with house.registry.opened() as registry:
        account = auth.authenticate(registry.database.connection(), f"Bearer {house.omar}")
        monkeypatch.setattr(approving, "judge", slowly)
        try:
            with pytest.raises(RequestDeniedError, match="approver"):
                approving.approve(registry, account, made["id"], digest=made["digest"], embargo="", proved=True)
        finally:
            members.join(registry, "omar", namespace="radboud", role="approver")
    assert newest(house) == before and state(house, made) == "open"


def test_what_was_approved_for_a_few_is_not_opened_to_everybody_by_its_publisher(house: Reviewed) -> None:
    """Approvers saw a private repository: to show it to everybody is to publish it."""
    name = "radboud/for-a-few"
    wanted = {"name": "for-a-few", "type": "model", "private": True}
    assert house.registry.request("POST", "/api/repos/create", token=house.alice, json_body=wanted).status == 200
    files = releases.make_release(artifact=releases.make_embedding(seed=4321), repository=name).files
    answer = pushes.commit(house.registry, name, files, token=house.alice)
    made = answer.json()["proposal"]
    address, wanted = f"/api/models/{name}/settings", {"private": False}
    refused = house.registry.request("PUT", address, token=house.alice, json_body=wanted)
    assert refused.status == 403 and "approv" in refused.body.decode(), refused.body
    assert house.approve(house.olga, made).json()["commit"]
    assert house.registry.request("PUT", address, token=house.alice, json_body=wanted).status == 403
    assert house.registry.request("PUT", address, token=house.registry.admin, json_body=wanted).status == 200
    assert house.registry.get(f"/{name}/resolve/main/{EMBEDDING}").status == 200


def test_a_token_that_may_read_and_a_cookie_alone_approve_nothing(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    reading = str(house.registry.ask("token", "new", "olga", "--scope", "read")["token"])
    assert house.ask(reading, f"/{made['id']}").status == 200
    assert house.approve(reading, made).status == 403
    assert house.answer(reading, made["id"], answer="decline", reason="x").status == 403
    olga = Person(house.registry)
    olga.use_link("olga")
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in olga.cookies.items())}
    body = {"answer": "approve", "digest": made["digest"], "not_before": None}
    address = f"{reviews.API}/{made['id']}"
    assert house.registry.get(address, headers=headers).status == 200, "the cookie is hers"
    answer = house.registry.request("POST", address, headers=headers, json_body=body)
    assert answer.status in (401, 403) and state(house, made) == "open"
    assert house.answer(house.olga, made["id"], answer="decline", reason="done").status == 200
