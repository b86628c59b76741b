"""Asking for access in a page, with terms that are accepted and recorded; the publisher answers in a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from embhub.release import files as release_files
from tests.support import pushes, releases
from tests.support.databases import looking_into
from tests.support.people import Person
from tests.support.servers import RunningRegistry, running_registry

NAME = releases.REPOSITORY
ASK, HERE = f"/account/access/ask?repository={NAME}", "/account/access"
TERMS = "Use it for research. Do not try to identify <patients>."
EMBEDDING = f"/{NAME}/resolve/main/{release_files.EMBEDDING}"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("access")) as made:
        token = made.add_user("alice", namespace="radboud")
        made.add_user("rita", namespace="radboud", role="reader")
        for user in ("lea", "leo", "lex"):
            made.add_user(user, namespace="lumc")
        made.add_key(releases.SITE, namespace="radboud")
        body = {"name": NAME.partition("/")[2]}
        assert made.request("POST", "/api/repos/create", token=token, json_body=body).status == 200
        path = f"/api/models/{NAME}/settings"
        assert made.request("PUT", path, token=token, json_body={"gated": "manual"}).status == 200
        assert made.request("PUT", f"/embhub/v1/terms/{NAME}", token=token, json_body={"text": TERMS}).status == 200
        release = releases.make_release(repository=NAME, audited=False)
        assert pushes.commit(made, NAME, dict(release.files), token=token).status == 200
        yield made


def someone(registry: RunningRegistry, user: str) -> Person:
    person = Person(registry)
    person.use_link(user)
    return person


def rows(registry: RunningRegistry, statement: str) -> list[Any]:
    with looking_into(registry.folder) as db:
        found = db.execute(statement)
        return [tuple(row) for row in found] if statement.startswith("SELECT") else []


def ask(person: Person) -> None:
    person.open(ASK)
    person.press(ASK, accept="yes")


def test_from_the_question_to_the_files(registry: RunningRegistry) -> None:
    lea, alice = someone(registry, "lea"), someone(registry, "alice")
    assert f'href="{ASK}"' in Person(registry).open(f"/{NAME}"), "everybody is shown where to ask"
    assert lea._send("GET", EMBEDDING).status == 403
    lea.open(ASK)
    assert "identify <patients>" in lea.text().replace("&lt;", "<") or "Do not try" in lea.text()
    assert "not accepted the terms" in lea.press(ASK, status=403), "without the tick"
    lea.open(ASK)
    assert lea.send(ASK, accept="yes", digest="0" * 64).status == 409, "other terms than those in force"
    ask(lea)
    assert "waits for an answer" in lea.text()
    [(version, digest)] = rows(registry, "SELECT version, digest FROM terms_accepted")
    assert version == 1 and len(digest) == 64
    alice.open(HERE)
    assert "lea of lumc asked just now and accepted version 1 of the terms" in alice.text()
    alice.press(f"{HERE}/answer", answer="accept")
    assert "0 requests wait" in alice.text()
    lea.open(HERE)
    assert "accepted" in lea.text() and lea._send("GET", EMBEDDING).status == 200
    assert "You have access" in lea.open(ASK)
    lines = [json.loads(line) for line in (registry.folder / "audit.jsonl").read_text().splitlines()]
    told = {line["event"]: line["actor"] for line in lines}
    assert (told["terms-accepted"], told["access-asked"], told["access-answered"]) == ("lea", "lea", "alice")


def test_declined_with_a_reason(registry: RunningRegistry) -> None:
    leo, alice = someone(registry, "leo"), someone(registry, "alice")
    ask(leo)
    alice.open(HERE)
    assert "say why you decline" in alice.press(f"{HERE}/answer", answer="decline", status=400).lower()
    alice.open(HERE)
    alice.press(f"{HERE}/answer", answer="decline", reason="no agreement <yet>")
    leo.open(HERE)
    assert "declined" in leo.text() and "Reason: no agreement <yet>" in leo.text() and "<yet>" not in leo.page
    assert leo._send("GET", EMBEDDING).status == 403


def test_who_may_not_answer_sees_nothing_and_cannot(registry: RunningRegistry) -> None:
    lex, rita = someone(registry, "lex"), someone(registry, "rita")
    ask(lex)
    [(identity,)] = rows(registry, "SELECT id FROM access WHERE status = 'pending'")
    for person in (rita, lex):
        assert "Accept" not in person.open(HERE).replace("Access", "") and "lex of lumc" not in person.text()
        person.open("/account")
        token = person.form("/account/tokens")["form_token"]
        fields = {"form_token": token, "repository": NAME, "request": identity, "answer": "accept"}
        assert person._send("POST", f"{HERE}/answer", fields).status == 403
    alice = someone(registry, "alice")
    alice.open(HERE)
    rows(registry, "UPDATE session SET confirmed = '2026-01-01T00:00:00.000Z'")
    assert alice.send(f"{HERE}/answer", answer="accept").status == 303, "asked again who she is"
    assert rows(registry, "SELECT status FROM access WHERE id = '" + identity + "'") == [("pending",)]
    assert "<h1>Log in</h1>" in Person(registry).open(ASK)
