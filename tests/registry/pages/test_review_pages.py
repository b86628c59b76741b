"""Reviewing a proposed release in pages without JavaScript: the queue, the evidence, approving, declining, the rule."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support import pushes, reviews
from tests.support.databases import looking_into
from tests.support.people import Person
from tests.support.reviews import NAME, Reviewed

HERE = "/account/review"
SEEDS = iter(range(1, 100))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with reviews.reviewed_registry(tmp_path_factory.mktemp("review-pages")) as made:
        yield made


def someone(house: Reviewed, user: str) -> Person:
    person = Person(house.registry)
    person.use_link(user)
    return person


def test_an_approver_sees_the_evidence_and_approves_the_digest(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    here = f"{HERE}/{made['id']}"
    olga = someone(house, "olga")
    assert "1 release waits for your approval" in olga.open(HERE) and here in olga.page
    olga.open(here)
    for words in (made["digest"], "alice", "Audit: ", "All checks", "Privacy: no guarantee"):
        assert words in olga.page, words
    assert "Wombatstone" not in Person(house.registry).open(f"/{NAME}")
    olga.press(here, answer="approve")
    assert "was approved and is published" in olga.text()
    assert "attested by this registry, not signed by the person" in olga.text()
    everybody = Person(house.registry).open(f"/{NAME}")
    assert "Version 1.1.0 approved by an approver before it was published" in everybody
    assert "olga" not in everybody, "pages name no account"


def test_an_approver_sees_every_word_that_would_be_published_and_to_whom(house: Reviewed) -> None:
    """The description stands on the release's page, and title and message in the history: both are free text."""
    lines = pushes.commit_body(reviews.version(next(SEEDS)).files).split(b"\n")
    first = json.loads(lines[0])
    first["value"] |= {"summary": "Numbats <b>first", "description": "Bilbies in the message"}
    body = b"\n".join([json.dumps(first).encode(), *lines[1:]])
    address = f"/api/models/{NAME}/commit/main"
    made = house.registry.request("POST", address, token=house.alice, body=body).json()["proposal"]
    olga = someone(house, "olga")
    olga.open(f"{HERE}/{made['id']}")
    for words in ("Wombatstone", "Numbats &lt;b&gt;first", "Bilbies in the message", "everybody, on the branch main"):
        assert words in olga.page, words
    olga.press(f"{HERE}/{made['id']}", answer="decline", reason="seen")


def test_the_publisher_moves_an_embargo_and_an_approver_who_saw_another_end_looks_again(house: Reviewed) -> None:
    lines = pushes.commit_body(reviews.version(next(SEEDS)).files).split(b"\n")
    first = json.loads(lines[0])
    first["value"] |= {"embargo": "2027-06-01T00:00:00Z"}
    body = b"\n".join([json.dumps(first).encode(), *lines[1:]])
    address = f"/api/models/{NAME}/commit/main"
    made = house.registry.request("POST", address, token=house.alice, body=body).json()["proposal"]
    here, olga, alice = f"{HERE}/{made['id']}", someone(house, "olga"), someone(house, "alice")
    assert "Change the embargo" not in olga.open(here)
    assert "2027-06-01T00:00:00Z" in alice.open(here)
    alice.press(here, answer="embargo", until="2027-05-01T00:00:00Z")
    assert "until 2027-05-01 00:00 UTC" in alice.text()
    assert "The embargo of this proposal was changed" in olga.press(here, answer="approve", status=409)
    olga.open(here)
    olga.press(here, answer="approve")
    assert "It waits for the end of its embargo" in olga.text()
    alice.open(here)
    alice.press(here, answer="decline", reason="moved")


def test_declining_takes_a_reason_that_the_publisher_reads(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    here, olga, alice = f"{HERE}/{made['id']}", someone(house, "olga"), someone(house, "alice")
    olga.open(here)
    olga.press(here, answer="decline", reason="", status=400)
    olga.open(here)
    olga.press(here, answer="decline", reason="the <scanner> is wrong")
    alice.open(here)
    assert "The <scanner> is wrong." in alice.text()
    assert "<scanner>" not in alice.page and "Your decision" not in alice.page


def test_the_publisher_sees_it_and_gets_no_button_to_approve(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    here, alice = f"{HERE}/{made['id']}", someone(house, "alice")
    assert "Approve these files" not in alice.open(here)
    fields = {**alice.form(here), "answer": "approve", "digest": made["digest"]}
    assert alice._send("POST", here, fields).status == 403
    assert alice.open(f"{here}/file/README.md") and "Wombatstone" in alice.page
    alice.open(here)
    alice.press(here, answer="decline", reason="a typing error")
    assert "declined" in alice.page


@pytest.mark.parametrize("user", ["paul", "rita", "lea", "admin"])
def test_others_find_nothing_here(house: Reviewed, user: str) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    person = someone(house, user)
    assert made["id"] not in person.open(HERE)
    for path in ("", "/audit", "/file/README.md", "/file/learned_embeds.safetensors"):
        person.open(f"{HERE}/{made['id']}{path}", status=404)
    person.open("/account")
    fields = {"form_token": person.form("/account/tokens")["form_token"], "answer": "approve", "digest": made["digest"]}
    assert person._send("POST", f"{HERE}/{made['id']}", fields).status == 404


def test_nobody_without_a_login_and_no_foreign_or_old_form(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    here, olga = f"{HERE}/{made['id']}", someone(house, "olga")
    assert "<h1>Log in</h1>" in Person(house.registry).open(here)
    olga.open(here)
    foreign = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    assert olga.send(here, headers=foreign, answer="approve").status == 403
    fields = {**olga.form(here), "answer": "approve", "form_token": "x" * 43}
    assert olga._send("POST", here, fields).status == 403
    with looking_into(house.registry.folder) as db:
        db.execute("UPDATE session SET confirmed = '2026-01-01T00:00:00.000Z'")
    assert olga.send(here, answer="approve").status == 303, "asked again who she is"
    assert house.ask(house.olga, f"/{made['id']}").json()["approvals"] == []


def test_nothing_of_it_is_kept_by_a_cache_and_files_are_saved_not_shown(house: Reviewed) -> None:
    made = house.propose(reviews.version(next(SEEDS)))
    olga = someone(house, "olga")
    for path in ("", "/audit", "/file/README.md"):
        answer = olga._send("GET", f"{HERE}/{made['id']}{path}")
        assert answer.status == 200 and "no-store" in str(answer.header("cache-control")), path
    said = olga._send("GET", f"{HERE}/{made['id']}/file/README.md")
    assert "attachment" in str(said.header("content-disposition"))
    assert "sandbox" in str(said.header("content-security-policy"))


def test_two_persons_in_pages(house: Reviewed) -> None:
    house.registry.run("curate", "review", "set", NAME, "--approvals", "2")
    made = house.propose(reviews.version(next(SEEDS)))
    here, olga, omar = f"{HERE}/{made['id']}", someone(house, "olga"), someone(house, "omar")
    olga.open(here)
    olga.press(here, answer="approve")
    assert "waits for another approver" in olga.text() and "Approve these files" not in olga.page
    omar.open(here)
    omar.press(here, answer="approve")
    assert "is published" in omar.text()
    house.registry.run("curate", "review", "set", NAME, "--approvals", "0")


def test_an_admin_alone_sets_the_rule_and_proves_who_they_are(house: Reviewed) -> None:
    rules = f"{HERE}/rules"
    for user in ("olga", "alice"):
        someone(house, user).open(rules, status=403)
        person = someone(house, user)
        person.open("/account")
        fields = {"form_token": person.form("/account/tokens")["form_token"], "which": "radboud", "approvals": "0"}
        assert person._send("POST", rules, fields).status == 403
    admin = someone(house, "admin")
    assert "radboud, every repository" in admin.open(rules)
    admin.press(rules, which="lumc", approvals="2")
    assert "lumc, every repository" in admin.text() and "2 approvals" in admin.text()
    admin.press(rules, which="lumc", approvals="0")
    assert "lumc, every" not in admin.text()
    admin.press(rules, which="no-such", approvals="1", status=400)
    admin.open(rules)
    with looking_into(house.registry.folder) as db:
        db.execute("UPDATE session SET confirmed = '2026-01-01T00:00:00.000Z'")
    assert admin.send(rules, which="radboud", approvals="0").status == 303
    assert [row["approvals"] for row in house.registry.ask("curate", "review", "list")["rules"]] == [1]
