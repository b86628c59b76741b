"""Files of a proposal go to its author as the repository's front door gives them, and to nobody by an author's link."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from embhub.release.files import CARD, EMBEDDING, audit_bundle_of
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import reviewer_links as rows
from embhub_registry.people import auth, members
from tests.support import pushes, releases, reviews
from tests.support.people import Person
from tests.support.reviews import NAME, Reviewed
from tests.support.servers import Answer

ACCESS = f"/api/models/{NAME}/user-access-request"
SETTINGS = f"/api/models/{NAME}/settings"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with reviews.reviewed_registry(tmp_path_factory.mktemp("files")) as made:
        yield made


@pytest.fixture
def countersigned(house: Reviewed) -> Iterator[dict[str, Any]]:
    """What an auditor of another namespace proposed."""
    name = audit_bundle_of("nki")
    signed = releases.resigned(reviews.version(0), audit_key=releases.AUDITOR).files[name]
    answer = pushes.commit(house.registry, NAME, {name: signed}, token=house.nora)
    made: dict[str, Any] = answer.json()["proposal"]
    yield made
    house.answer(house.olga, made["id"], answer="decline", reason="the test is over")


def file(house: Reviewed, token: str, made: dict[str, Any], path: str = EMBEDDING) -> Answer:
    return house.ask(token, f"/{made['id']}/files/{path}")


def make_link(house: Reviewed, token: str, made: dict[str, Any]) -> Answer:
    body = {"purpose": "ethics board", "days": 3}
    return house.registry.request("POST", f"{reviews.API}/{made['id']}/links", token=token, json_body=body)


def set_up(house: Reviewed, **body: Any) -> None:
    assert house.registry.request("PUT", SETTINGS, token=house.registry.admin, json_body=body).status == 200


@contextmanager
def shut(house: Reviewed, how: str) -> Iterator[None]:
    """The repository shows its files to an outside auditor no more."""
    registry = house.registry
    match how:
        case "gated":
            set_up(house, gated="manual")
        case "private" | "disabled":
            set_up(house, **{how: True})
        case "quarantine":
            registry.run("curate", "quarantine", "set", NAME, "--version", "1.0.0", "--reason", "Suspected copy")
        case "role":
            with registry.opened() as opened:
                members.join(opened, "nora", namespace="nki", role="reader")
    try:
        yield
    finally:
        match how:
            case "gated":
                set_up(house, gated=False)
            case "private" | "disabled":
                set_up(house, **{how: False})
            case "quarantine":
                registry.run("curate", "quarantine", "lift", NAME, "--version", "1.0.0")
            case "role":
                with registry.opened() as opened:
                    members.join(opened, "nora", namespace="nki", role="auditor")


def seen_by_page(house: Reviewed, user: str, made: dict[str, Any]) -> tuple[str, int, int]:
    """The page of a proposal, and what a file and the audit report of it answer."""
    person = Person(house.registry)
    person.use_link(user)
    here = f"/account/review/{made['id']}"
    page = person.open(here)
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in person.cookies.items())}
    at = [house.registry.get(f"{here}/{path}", headers=cookies).status for path in (f"file/{EMBEDDING}", "audit")]
    return page, at[0], at[1]


@pytest.mark.parametrize("how", ["gated", "private", "disabled", "quarantine", "role"])
def test_an_author_has_no_more_than_the_repository_gives(
    house: Reviewed, countersigned: dict[str, Any], how: str
) -> None:
    assert file(house, house.nora, countersigned).status == 200, "while it is open to her"
    with shut(house, how):
        for path in (EMBEDDING, CARD):
            answer = file(house, house.nora, countersigned, path)
            assert answer.status == 404, how
            unknown = file(house, house.nora, countersigned, "none.txt")
            assert answer.body.replace(path.encode(), b"none.txt") == unknown.body
        seen = house.ask(house.nora, f"/{countersigned['id']}").json()
        assert (seen["state"], seen["digest"], seen["files"]) == ("open", countersigned["digest"], {})
        assert [row["files"] for row in house.ask(house.nora).json()["proposals"] if row["state"] == "open"] == [{}]
        page, of_file, of_audit = seen_by_page(house, "nora", countersigned)
        assert (of_file, of_audit) == (404, 404)
        assert countersigned["digest"] in page and "Withdraw the proposal" in page
        assert "You may not have its files now" in page
        assert file(house, house.olga, countersigned).status == 200, "an approver looks on"
    assert file(house, house.nora, countersigned).status == 200


def test_an_author_who_was_let_in_reads_on_until_she_is_refused(house: Reviewed, countersigned: dict[str, Any]) -> None:
    with shut(house, "gated"):
        registry = house.registry
        grant = registry.request("POST", ACCESS + "/grant", token=house.alice, json_body={"user": "nora"})
        assert grant.status == 200 and file(house, house.nora, countersigned).status == 200
        body = {"user": "nora", "status": "rejected", "rejectionReason": "over"}
        assert registry.request("POST", ACCESS + "/handle", token=house.alice, json_body=body).status == 200
        assert file(house, house.nora, countersigned).status == 404


def test_who_proposed_it_without_files_may_still_withdraw_it(house: Reviewed, countersigned: dict[str, Any]) -> None:
    with shut(house, "private"):
        answer = house.answer(house.nora, countersigned["id"], answer="decline", reason="a mistake")
        assert answer.status == 200


@pytest.mark.parametrize("how", ["gated", "private", "quarantine"])
def test_a_publisher_keeps_what_the_namespace_may_see(house: Reviewed, how: str) -> None:
    made = house.propose(reviews.version(7))
    with shut(house, how):
        assert file(house, house.alice, made).status == 200
    house.answer(house.olga, made["id"], answer="decline", reason="the test is over")


def test_an_outside_auditor_makes_no_link(house: Reviewed, countersigned: dict[str, Any]) -> None:
    """An approver or the publisher makes one: the files are the publisher's to show."""
    reviews.made_by_owner(house.registry, "nora")
    assert make_link(house, house.nora, countersigned).status == 403
    person = Person(house.registry)
    person.use_link("nora")
    assert "Make a link" not in person.open(f"/account/review/{countersigned['id']}")
    made = make_link(house, house.olga, countersigned)
    assert made.status == 200
    address = f"{reviews.API}/{countersigned['id']}/links/{made.json()['id']}"
    assert house.registry.request("DELETE", address, token=house.nora).status == 403


def test_a_link_that_an_outside_auditor_made_before_shows_nothing(
    house: Reviewed, countersigned: dict[str, Any]
) -> None:
    code = "rev_" + "n" * 43
    with house.registry.opened() as registry, registry.database.writing() as db:
        nora = db.execute("SELECT id FROM user WHERE name = 'nora'").fetchone()[0]
        rows.add(
            db, link_id="0" * 12, digest=auth.digest(code), proposal_id=countersigned["id"], user_id=nora,
            purpose="x", now=stamp(), expires="2099-01-01T00:00:00.000Z",
        )  # fmt: skip
    person = Person(house.registry)
    person.open("/login/reviewer")
    assert person.send("/login/reviewer", code=code).status == 403


def test_an_embargoed_countersignature_is_no_way_in(house: Reviewed) -> None:
    """Without a rule, an embargo keeps a commit as a proposal too."""
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "0")
    try:
        name = audit_bundle_of("nki")
        signed = releases.resigned(reviews.version(0), audit_key=releases.AUDITOR).files[name]
        lines = pushes.commit_body({name: signed}).split(b"\n")
        first = json.loads(lines[0])
        first["value"] |= {"embargo": "2027-06-01T00:00:00Z"}
        body = b"\n".join([json.dumps(first).encode(), *lines[1:]])
        answer = house.registry.request("POST", f"/api/models/{NAME}/commit/main", token=house.nora, body=body)
        made = answer.json()["proposal"]
        with shut(house, "quarantine"):
            assert file(house, house.nora, made).status == 404
        house.answer(house.nora, made["id"], answer="decline", reason="done")
    finally:
        house.registry.run("curate", "review", "set", "radboud", "--approvals", "1")
