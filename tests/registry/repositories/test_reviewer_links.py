"""Links for reviewers without an account: what one shows, to whom, until when, and what it leaves behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from embhub.formats import instants
from embhub.release.files import CARD, EMBEDDING
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import reviewer_links as rows
from embhub_registry.database.people import sessions
from embhub_registry.database.standing import withdrawals
from embhub_registry.database.standing.withdrawals import Withdrawal
from embhub_registry.people import members
from embhub_registry.wire.session_cookies import REVIEWER
from tests.support import pushes, releases, reviews
from tests.support.people import Person
from tests.support.reviews import NAME, Reviewed
from tests.support.servers import Answer

SEEDS = iter(range(1, 1000))
PAGE = "/login/reviewer"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with reviews.reviewed_registry(tmp_path_factory.mktemp("links")) as made:
        yield made


@pytest.fixture
def waiting(house: Reviewed) -> Iterator[dict[str, Any]]:
    made = house.propose(reviews.version(next(SEEDS)))
    yield made
    house.answer(house.olga, made["id"], answer="decline", reason="the test is over")


def make(house: Reviewed, made: dict[str, Any], token: str | None = None, **body: Any) -> Answer:
    sent = {"purpose": "ethics board", "days": 3, **body}
    address = f"{reviews.API}/{made['id']}/links"
    return house.registry.request("POST", address, token=token or house.olga, json_body=sent)


def code_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    address = str(answer.json()["link"])
    assert "?" not in address and re.fullmatch(r"http://\S+/login/reviewer#rev_[\w-]{43}", address)
    return address.partition("#")[2]


def outsider(house: Reviewed, code: str) -> Person:
    """Somebody without an account who entered a code."""
    person = Person(house.registry)
    person.open(PAGE)
    answer = person.send(PAGE, code=code)
    assert answer.status == 303, answer.body
    return person


def enter(house: Reviewed, code: str) -> int:
    person = Person(house.registry)
    person.open(PAGE)
    return person.send(PAGE, code=code).status


def ask(person: Person, path: str, **headers: str) -> Answer:
    cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    return person.registry.get(path, headers={"Cookie": cookies, **headers})


def test_a_link_shows_its_release_and_nothing_else(house: Reviewed, waiting: dict[str, Any]) -> None:
    secret = "radboud/not-for-them"
    wanted = {"name": "not-for-them", "type": "model", "private": True}
    registry = house.registry
    assert registry.request("POST", "/api/repos/create", token=house.alice, json_body=wanted).status == 200
    other = house.propose(reviews.version(next(SEEDS)), token=house.paul)
    person = outsider(house, code_of(make(house, waiting)))
    page = ask(person, PAGE, Accept="text/html")
    text = page.body.decode()
    assert page.status == 200 and waiting["digest"] in text and "Wombatstone" in text
    assert not any(name in text for name in ("alice", "olga", "paul", "Approve these files"))
    headers = {name.lower(): value for name, value in page.headers.items()}
    assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "strict-origin"
    card = ask(person, f"{PAGE}/file/{CARD}")
    assert card.status == 200 and b"Wombatstone" in card.body
    assert ask(person, f"{PAGE}/file/{EMBEDDING}").status == 200
    assert ask(person, f"{PAGE}/audit", Accept="text/html").status == 200
    assert ask(person, f"{PAGE}/file/none.txt").status == 404
    for path in (
        f"/api/models/{secret}", f"/{secret}", f"{reviews.API}/{waiting['id']}", f"{reviews.API}/{other['id']}",
        reviews.API, f"{reviews.API}/{waiting['id']}/files/{CARD}", f"{reviews.API}/{waiting['id']}/links",
        f"/api/models/{NAME}/revision/{waiting['digest'][:40]}",
    ):  # fmt: skip
        assert ask(person, path).status in (401, 404), path
    for path in ("/api/models?search=not-for-them", "/?q=Wombatstone&format=json", "/feed.atom", f"/{NAME}"):
        found = ask(person, path)
        assert b"not-for-them" not in found.body and waiting["digest"].encode() not in found.body, path
    for path in ("/account", "/account/review", f"/account/review/{waiting['id']}"):
        assert ask(person, path, Accept="text/html").status == 303, "nobody is logged in"


def test_a_link_changes_nothing(house: Reviewed, waiting: dict[str, Any]) -> None:
    person = outsider(house, code_of(make(house, waiting)))
    cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    body = {"answer": "approve", "digest": waiting["digest"], "not_before": None}
    for method, path in (
        ("POST", f"{reviews.API}/{waiting['id']}"), ("POST", f"{reviews.API}/{waiting['id']}/links"),
        ("POST", f"/account/review/{waiting['id']}"), ("DELETE", "/api/repos/delete"),
    ):  # fmt: skip
        answer = house.registry.request(method, path, headers={"Cookie": cookies}, json_body=body)
        assert answer.status in (401, 403), path
    assert house.ask(house.olga, f"/{waiting['id']}").json()["state"] == "open"


def test_who_may_make_and_end_a_link(house: Reviewed, waiting: dict[str, Any]) -> None:
    for token, status in ((house.paul, 404), (house.rita, 404), (house.lea, 404), (house.registry.admin, 404)):
        reviews_fresh = {house.paul: "paul", house.rita: "rita", house.lea: "lea", house.registry.admin: "admin"}
        reviews.made_by_owner(house.registry, reviews_fresh[token])
        assert make(house, waiting, token).status == status
    assert make(house, waiting, house.alice).status == 403, "the operator made her token: it is no new proof"
    reviews.made_by_owner(house.registry, "alice")
    made = make(house, waiting, house.alice)
    code = code_of(made)
    assert house.ask(house.paul, f"/{waiting['id']}/links").status == 404
    (row,) = house.ask(house.omar, f"/{waiting['id']}/links").json()["links"]
    assert (row["made_by"], row["uses"], row["purpose"]) == ("alice", 0, "ethics board") and "link" not in row
    address = f"{reviews.API}/{waiting['id']}/links/{row['id']}"
    assert house.registry.request("DELETE", address, token=house.paul).status == 404
    person = outsider(house, code)
    assert house.registry.request("DELETE", address, token=house.omar).status == 200, "another approver ends it"
    assert house.registry.request("DELETE", address, token=house.omar).status == 404
    assert enter(house, code) == 403
    assert ask(person, PAGE, Accept="text/html").status == 403 and ask(person, f"{PAGE}/file/{CARD}").status == 403


@pytest.mark.parametrize("body", [{"purpose": ""}, {"purpose": "x" * 61}, {"days": 0}, {"days": 31}, {"days": True}])
def test_links_that_cannot_be(house: Reviewed, waiting: dict[str, Any], body: dict[str, Any]) -> None:
    assert make(house, waiting, **body).status == 400


def test_it_ends_by_the_clock_and_unknown_codes_open_nothing(house: Reviewed, waiting: dict[str, Any]) -> None:
    answer = make(house, waiting)
    code = code_of(answer)
    for wrong in ("rev_" + "x" * 43, code[:-1] + ("A" if code[-1] != "A" else "B"), "", code[4:], "ü" * 40):
        assert enter(house, wrong) in (403,), wrong
    assert enter(house, f"  {answer.json()['link']} ") == 303, "the whole link may be pasted"
    with house.registry.opened() as registry, registry.database.writing() as db:
        db.execute("UPDATE reviewer_link SET expires = ? WHERE id = ?", (stamp(), answer.json()["id"]))
    assert enter(house, code) == 403


@pytest.mark.parametrize("decision", ["published", "declined", "replaced"])
def test_it_ends_with_the_proposal(house: Reviewed, decision: str) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    person = outsider(house, code_of(make(house, made)))
    if decision == "published":
        assert house.approve(house.olga, made).json()["commit"]
    elif decision == "declined":
        assert house.answer(house.alice, made["id"], answer="decline", reason="a mistake").status == 200
    else:
        house.propose(reviews.version(next(SEEDS)))
    assert ask(person, PAGE, Accept="text/html").status == 403
    with house.registry.opened() as registry:
        statement = "SELECT 1 FROM reviewer_link WHERE proposal_id = ?"
        assert registry.database.connection().execute(statement, (made["id"],)).fetchone() is None


@pytest.mark.parametrize("suspicion", ["withdrawn", "quarantine", "disabled repository", "role lost", "left"])
def test_it_shows_nothing_under_suspicion(house: Reviewed, waiting: dict[str, Any], suspicion: str) -> None:
    registry = house.registry
    maker = registry.add_user(f"vera-{suspicion[:4].strip()}", namespace="radboud", role="approver")
    name = f"vera-{suspicion[:4].strip()}"
    reviews.made_by_owner(registry, name)
    person = outsider(house, code_of(make(house, waiting, maker)))
    with registry.opened() as opened:
        with opened.database.writing() as db:
            statement = "SELECT digest FROM proposal_file WHERE proposal_id = ? AND path = ?"
            digest = db.execute(statement, (waiting["id"], EMBEDDING)).fetchone()[0]
            where = db.execute("SELECT repository_id FROM proposal WHERE id = ?", (waiting["id"],)).fetchone()[0]
            if suspicion == "withdrawn":
                row = Withdrawal(
                    repository=NAME, namespace="radboud", version="1.0.0", digest=digest, private=False, scope="bytes",
                    authority="operator", reason="consent", created=instants.write(now()),
                )  # fmt: skip
                withdrawals.add(db, row, repository_id=where)
            elif suspicion == "quarantine":
                db.execute("INSERT INTO quarantine (repository_id, revision_id, digest, reason, author, created)"
                           " VALUES (?, 'x', ?, 'looked at', 'operator', ?)", (where, digest, stamp()))  # fmt: skip
            elif suspicion == "disabled repository":
                db.execute("UPDATE repository SET disabled = 1 WHERE id = ?", (where,))
        if suspicion == "role lost":
            members.join(opened, name, namespace="radboud", role="reader")
    if suspicion == "left":
        registry.ask("user", "offboard", name)
    try:
        assert ask(person, PAGE, Accept="text/html").status == 403
        assert ask(person, f"{PAGE}/file/{EMBEDDING}").status == 403
    finally:
        with registry.opened() as opened, opened.database.writing() as db:
            db.execute("DELETE FROM withdrawal")
            db.execute("DELETE FROM quarantine WHERE revision_id = 'x'")
            db.execute("UPDATE repository SET disabled = 0")


def test_its_code_is_stored_nowhere_and_its_use_is_written_down(house: Reviewed, waiting: dict[str, Any]) -> None:
    registry = house.registry
    code = code_of(make(house, waiting, purpose="board of Dr. Vos"))
    person = outsider(house, code)
    assert code not in person.cookies[REVIEWER]
    login = str(registry.ask("user", "login-link", "rita")["link"]).rpartition("/")[2]
    Person(registry).use_link("rita")
    registry.get(f"/login/link/{login}", headers={"Accept": "text/html"})
    steps = [row for row in house.events() if row.get("proposal") == waiting["id"] and "link" in row["event"]]
    assert [row["event"] for row in steps] == ["reviewer-link-made", "reviewer-link-used"]
    assert steps[0]["user"] == "olga" and steps[1]["made_by"] == "olga" and steps[0]["link"] == steps[1]["link"]
    (row,) = house.ask(house.olga, f"/{waiting['id']}/links").json()["links"]
    assert row["uses"] == 1 and row["last_used"]
    with registry.opened() as opened:
        db = opened.database.connection()
        stored = [tuple(one) for one in db.execute("SELECT * FROM reviewer_link")]
    assert stored and not any(code in str(value) for one in stored for value in one)
    for path in registry.folder.parent.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert code.encode() not in data, path
            assert not (b".log" in path.name.encode() or path.suffix == ".jsonl") or login.encode() not in data, path


def test_a_closed_registry_shows_a_link_and_nothing_else(house: Reviewed, waiting: dict[str, Any]) -> None:
    code = code_of(make(house, waiting))
    house.registry.run("setting", "set", "read.anonymous", "no")
    try:
        person = outsider(house, code)
        assert waiting["digest"] in person.open(PAGE)
        assert ask(person, f"/{NAME}", Accept="text/html").status == 401
        assert ask(person, "/api/models").status == 401
    finally:
        house.registry.run("setting", "set", "read.anonymous", "yes")


def test_an_embargoed_release_can_be_shown(house: Reviewed) -> None:
    lines = pushes.commit_body(reviews.version(next(SEEDS)).files).split(b"\n")
    first = json.loads(lines[0])
    first["value"] |= {"embargo": "2027-06-01T00:00:00Z"}
    body = b"\n".join([json.dumps(first).encode(), *lines[1:]])
    answer = house.registry.request("POST", f"/api/models/{NAME}/commit/main", token=house.alice, body=body)
    made = answer.json()["proposal"]
    person = outsider(house, code_of(make(house, made)))
    assert "until 2027-06-01" in person.open(PAGE)
    assert releases.REPOSITORY.partition("/")[2] in person.open(PAGE)
    house.answer(house.olga, made["id"], answer="decline", reason="done")


def test_a_code_that_was_not_entered_opens_nothing(house: Reviewed, waiting: dict[str, Any]) -> None:
    """Else whoever sets the cookie by hand reads the release, and the audit log has no line of it."""
    person = Person(house.registry)
    person.cookies[REVIEWER] = code_of(make(house, waiting))
    assert ask(person, PAGE, Accept="text/html").status == 403
    assert ask(person, f"{PAGE}/file/{EMBEDDING}").status == 403


def test_a_restore_ends_links(house: Reviewed, waiting: dict[str, Any]) -> None:
    """A backup holds links that were ended since, as it holds tokens that were revoked since."""
    code_of(make(house, waiting))
    with house.registry.opened() as registry, pytest.raises(ZeroDivisionError), registry.database.writing() as db:
        sessions.forget_all(db)
        assert rows.of_proposal(db, waiting["id"], now=stamp()) == []
        raise ZeroDivisionError  # undone, for the tests beside this one


def test_whoever_reviews_sees_of_which_withdrawn_numbers_a_proposal_has_nearly_those(house: Reviewed) -> None:
    """By a link as in an approver's page; a proposal that is not published is in no table of numbers yet."""
    seed = next(SEEDS)
    before = house.propose(reviews.version(seed))
    assert house.approve(house.olga, before).status == 200
    house.registry.run(
        "curate", "yank", NAME, "--version", f"1.{seed}.0", "--scope", "bytes", "--reason", "found unsafe"
    )
    (rows,) = releases.make_embedding(seed=seed).tensors.values()
    changed = np.nextafter(rows, np.inf, dtype=rows.dtype)
    made = house.propose(
        releases.make_release(artifact=releases.make_embedding(rows=changed), version=f"1.{next(SEEDS)}.0")
    )
    words = f"nearly the numbers of {NAME} 1.{seed}.0, withdrawn"
    assert words in outsider(house, code_of(make(house, made))).open(PAGE)
    olga = Person(house.registry)
    olga.use_link("olga")
    page = olga.open(f"/account/review/{made['id']}")
    assert page.index(words) < page.index("Approve these files"), "it is read before the decision"
    house.answer(house.olga, made["id"], answer="decline", reason="the test is over")
