"""Withdrawing a version in a page, with a reason; who may, and what everybody sees then."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support import pushes, releases
from tests.support.databases import looking_into
from tests.support.people import Person
from tests.support.servers import RunningRegistry, running_registry

NAME = releases.REPOSITORY
HERE = f"/account/withdraw?repository={NAME}"
REASON = "trained on <mislabelled> images"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("withdraw")) as made:
        token = made.add_user("alice", namespace="radboud")
        made.add_user("rita", namespace="radboud", role="reader")
        made.add_user("lea", namespace="lumc")
        made.add_key(releases.SITE, namespace="radboud")
        assert pushes.create(made, NAME, token=token).status == 200
        release = releases.make_release(repository=NAME, audited=False)
        assert pushes.commit(made, NAME, dict(release.files), token=token).status == 200
        yield made


def someone(registry: RunningRegistry, user: str) -> Person:
    person = Person(registry)
    person.use_link(user)
    return person


def withdrawn(registry: RunningRegistry) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(registry.get(f"/embhub/v1/status/{NAME}").body)["yanked"]
    return found


def test_a_publisher_withdraws_and_recommends_again(registry: RunningRegistry) -> None:
    alice = someone(registry, "alice")
    assert f'href="{HERE}"' in alice.open(f"/{NAME}"), "the page of the embedding leads here"
    alice.open(HERE)
    assert "reason of 1 to 500 characters" in alice.press(HERE, change="withdraw", version="1.0.0", status=400)
    alice.open(HERE)
    alice.press(HERE, change="withdraw", version="1.0.0", reason=REASON)
    assert REASON[1:] in alice.text() and "<mislabelled>" not in alice.page
    [row] = withdrawn(registry)
    assert (row["version"], row["reason"], row["by"], row["scope"]) == ("1.0.0", REASON, "publisher", "release")
    assert "radboud yanked this release" in Person(registry).open(f"/{NAME}"), "everybody sees it"
    alice.open(HERE)
    alice.press(HERE, change="recommend", version="1.0.0")
    assert withdrawn(registry) == []
    lines = [json.loads(line) for line in (registry.folder / "audit.jsonl").read_text().splitlines()]
    told = [(line["event"], line["actor"]) for line in lines if "yanked" in line["event"]]
    assert told == [("yanked", "alice"), ("unyanked", "alice")]


def test_the_bytes_themselves(registry: RunningRegistry) -> None:
    alice = someone(registry, "alice")
    alice.open(HERE)
    alice.press(HERE, change="withdraw", version="1.0.0", reason="a patient withdrew", scope="bytes")
    assert withdrawn(registry)[0]["scope"] == "bytes"
    alice.open(HERE)
    alice.press(HERE, change="recommend", version="1.0.0", revision=withdrawn(registry)[0]["revision"])
    assert withdrawn(registry) == []


@pytest.mark.parametrize("user", ["rita", "lea"])
def test_others_may_not_and_see_no_button(registry: RunningRegistry, user: str) -> None:
    person = someone(registry, user)
    assert "/account/withdraw" not in person.open(f"/{NAME}")
    person.open(HERE, status=403)
    person.open("/account")
    fields = {"form_token": person.form("/account/tokens")["form_token"], "change": "withdraw", "reason": "x"}
    assert person._send("POST", HERE, fields).status == 403 and withdrawn(registry) == []


def test_what_the_operator_withdrew_stays(registry: RunningRegistry) -> None:
    alice = someone(registry, "alice")
    registry.run("curate", "yank", NAME, "--version", "1.0.0", "--reason", "under investigation")
    try:
        assert "Recommend again" not in alice.open(HERE)
        fields = {"form_token": alice.form(HERE)["form_token"], "change": "recommend", "version": "1.0.0"}
        assert alice._send("POST", HERE, fields).status == 403 and len(withdrawn(registry)) == 1
    finally:
        registry.run("curate", "unyank", NAME, "--version", "1.0.0")


def test_an_old_proof_a_missing_login_and_a_foreign_form(registry: RunningRegistry) -> None:
    alice = someone(registry, "alice")
    alice.open(HERE)
    foreign = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    assert alice.send(HERE, headers=foreign, change="withdraw", reason="x").status == 403
    with looking_into(registry.folder) as db:
        db.execute("UPDATE session SET confirmed = '2026-01-01T00:00:00.000Z'")
    assert alice.send(HERE, change="withdraw", version="1.0.0", reason="x").status == 303, "asked again who she is"
    assert "<h1>Log in</h1>" in Person(registry).open(HERE)
    assert withdrawn(registry) == []
