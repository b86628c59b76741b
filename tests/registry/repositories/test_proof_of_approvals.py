"""What an approval rests on: the approver's own key, or a proof of identity that is new; never a token alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from embhub.release.files import Release
from embhub_registry.database.people import accounts
from embhub_registry.people import access_tokens, auth
from embhub_registry.people.login import sessions
from tests.support import reviews
from tests.support.people import Person
from tests.support.reviews import OFFICER_KEY, SECOND_KEY, Reviewed

SEEDS = iter(range(1, 1000))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with reviews.reviewed_registry(tmp_path_factory.mktemp("proof")) as made:
        yield made


@pytest.fixture
def waiting(house: Reviewed) -> tuple[dict[str, Any], Release]:
    release = reviews.version(next(SEEDS))
    return house.propose(release), release


def attested(made: dict[str, Any], release: Release, user: str, **changes: Any) -> dict[str, Any]:
    files = {path: hashlib.sha256(data).hexdigest() for path, data in release.files.items()}
    return reviews.attest(made, files, user=user, version=release.card.version, **changes)


def test_a_token_alone_approves_nothing(house: Reviewed, waiting: tuple[dict[str, Any], Release]) -> None:
    """An operator's token, or one that its owner made a while ago, may lie on a disk; a signature is still enough."""
    made, release = waiting
    stored = str(house.registry.ask("token", "new", "olga", "--scope", "publish")["token"])
    refused = house.approve(stored, made)
    said = refused.body.decode()
    assert refused.status == 403 and "proof" in said and "--device" in said, said
    reviews.made_by_owner(house.registry, "olga", ago=timedelta(minutes=16))
    assert house.approve(house.olga, made).status == 403
    assert house.ask(house.olga, f"/{made['id']}").json()["approvals"] == []
    assert house.approve(stored, made, attestation=attested(made, release, "olga")).json()["commit"]
    reviews.made_by_owner(house.registry, "olga")


def test_a_token_that_its_owner_just_made_in_a_page_approves(
    house: Reviewed, waiting: tuple[dict[str, Any], Release]
) -> None:
    with house.registry.opened() as registry:
        row = accounts.find_user(registry.database.connection(), "omar")
        assert row is not None
        account = auth.find_account(registry.database.connection(), row["id"])
        assert account is not None
        made = access_tokens.make_own(registry, account, purpose="laptop", scope="publish", days=1)
    assert house.approve(made["token"], waiting[0]).json()["commit"]


def test_a_rotated_token_is_no_proof(house: Reviewed, waiting: tuple[dict[str, Any], Release]) -> None:
    with house.registry.opened() as registry:
        db = registry.database.connection()
        account = auth.authenticate(db, f"Bearer {house.olga}")
        assert account is not None and access_tokens.is_fresh(account)
    rotated = str(house.registry.ask("token", "rotate", account.token_id, "--grace-hours", "1")["token"])
    assert house.approve(rotated, waiting[0]).status == 403
    assert house.answer(rotated, waiting[0]["id"], answer="decline", reason="it needs no proof").status == 200


def test_a_program_that_a_person_lets_in_approves_for_minutes(
    house: Reviewed, waiting: tuple[dict[str, Any], Release]
) -> None:
    person = Person(house.registry)
    person.use_link("omar")
    asked = {"client": "embhub", "scope": "publish", "days": "1"}
    begun = house.registry.request("POST", "/embhub/v1/device/code", json_body=asked).json()
    person.open(f"/login/device?code={begun['user_code']}")
    person.press(f"/login/device?code={begun['user_code']}", answer="approve")
    with house.registry.opened() as registry, registry.database.writing() as db:
        (answered,) = db.execute("SELECT polled FROM device_request").fetchone()
    sent = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": begun["device_code"]}
    token = house.registry.request("POST", "/embhub/v1/device/token", json_body=sent).json()["access_token"]
    with house.registry.opened() as registry:
        account = auth.authenticate(registry.database.connection(), f"Bearer {token}")
        assert account is not None and account.proved == answered, "the minutes begin when the person answered"
    assert house.approve(token, waiting[0]).json()["commit"]


def test_a_rule_that_asks_for_signatures(house: Reviewed) -> None:
    """The page and a new token are not enough then; what somebody approved without a key before does not count."""
    release = reviews.version(next(SEEDS))
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "2")
    made = house.propose(release)
    assert house.approve(house.olga, made).json()["approvals"] == 1
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "2", "--signed")
    try:
        shown = house.ask(house.olga, f"/{made['id']}").json()
        assert (shown["approvals"], shown["signed"]) == ([], True)
        refused = house.approve(house.omar, made)
        assert refused.status == 403 and "sign" in refused.body.decode()
        person = Person(house.registry)
        person.use_link("omar")
        here = f"/account/review/{made['id']}"
        assert "Approve these files" not in person.open(here) and "have to be signed" in person.open(here)
        signed = attested(made, release, "olga", key=OFFICER_KEY)
        assert house.approve(house.olga, made, attestation=signed).json()["approvals"] == 1
        signed = attested(made, release, "omar", key=SECOND_KEY)
        assert house.approve(house.omar, made, attestation=signed).json()["commit"]
        (row,) = house.registry.ask("curate", "review", "list")["rules"]
        assert (row["approvals"], row["signed"]) == (2, True)
    finally:
        house.registry.run("curate", "review", "set", "radboud", "--approvals", "1")
    (row,) = house.registry.ask("curate", "review", "list")["rules"]
    assert (row["approvals"], row["signed"]) == (1, False)


def test_what_the_registry_attested_with_an_earlier_key_has_to_be_approved_again(house: Reviewed) -> None:
    """Verifiers know the registry's present key alone: the published release would lack an approval."""
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "2")
    try:
        made = house.propose(reviews.version(next(SEEDS)))
        assert house.approve(house.olga, made).json()["approvals"] == 1
        with house.registry.opened() as registry, registry.database.writing() as db:
            statement = "UPDATE approval SET fingerprint = ? WHERE proposal_id = ?"
            db.execute(statement, (OFFICER_KEY.fingerprint, made["id"]))
        done = house.approve(house.omar, made).json()
        assert (done["approvals"], done["commit"]) == (1, None)
        assert house.approve(house.olga, made).json()["commit"]
    finally:
        house.registry.run("curate", "review", "set", "radboud", "--approvals", "1")


def test_a_session_that_was_confirmed_is_the_shorter_proof() -> None:
    assert sessions.CONFIRMED_FOR < access_tokens.FRESH_FOR
