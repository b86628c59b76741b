"""A release that was taken back is fetched with a warning; what the registry says of it is nobody's signature."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.__main__ import main
from embhub.client.pulling import pull as pulling
from embhub.client.wire import guard
from embhub.release.checks import yanks
from embhub.release.demands import PolicyRefusedError
from embhub.release.verification import Verified
from tests.support import hostile
from tests.support.between import INFO, STATUS, TWIN, World
from tests.support.hostile import Answer, Middleman, edited, raw
from tests.support.quick import others_thorough
from tests.support.releases import REPOSITORY
from tests.support.sites import Site

REASON = "the labels were wrong in 3 of 60 cases"


@pytest.fixture
def site(world: World, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr("embhub.client.wire.hub.PAUSES", (0.0,))
    return world.site(tmp_path / "site", monkeypatch, warm=False)


def heard(verified: Verified) -> list[tuple[str, str]]:
    return [(finding.outcome, finding.text) for finding in verified.findings if finding.check == "yanked"]


def test_a_real_registrys_yank_is_the_first_thing_that_is_said(
    world: World, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", TWIN]) == 0
    assert "warning" not in capsys.readouterr().err
    world.registry.run("curate", "yank", TWIN, "--reason", REASON)
    try:
        assert main(["pull", TWIN, "--json"]) == 8, "nobody gets by accident what was taken back"
        refusal = json.loads(capsys.readouterr().out)
        assert refusal["verified"] is False and refusal["rule"] == "policy" and refusal["unmet"] == ["not-yanked"]
        commit = re.search(rf"{TWIN}@([0-9a-f]{{40}})", refusal["hint"])
        assert commit is not None
        for words in (["pull", commit[0]], ["verify", TWIN]):
            assert main([*words, "--json"]) == 0
            said = capsys.readouterr()
            document = json.loads(said.out)
            assert document["yanked"]["reason"] == REASON and document["yanked"]["date"].startswith("20")
            assert document["findings"][0]["check"] == "yanked" and document["findings"][0]["outcome"] == "warning"
            lines = [line for line in said.err.splitlines() if line.startswith(("warning", "written"))]
            assert lines[0].startswith("warning: ") and REASON in lines[0] and "unsigned statement" in lines[0]
    finally:
        world.registry.run("curate", "unyank", TWIN)
    assert heard(pulling.pull(TWIN)) == []


def said_of(commit: str, **changes: object) -> bytes:
    row = {"revision": commit, "version": "1.1.0", "reason": REASON, "date": "2026-11-20T10:00:00Z", **changes}
    return json.dumps({"repository": REPOSITORY, "yanked": [row], "more": 1}).encode()


def saying(body: bytes) -> Answer:
    return lambda handler: handler.send(200, body)


def test_another_revision_that_was_taken_back_concerns_nobody(world: World, middle: Middleman, site: Site) -> None:
    middle.lies = {STATUS: saying(said_of(world.old_commit))}
    verified = pulling.pull(REPOSITORY)
    assert verified.yanked is None and verified.to_json()["yanked"] is None and heard(verified) == []
    middle.lies = {STATUS: saying(said_of(world.new_commit))}
    assert pulling.pull(f"{REPOSITORY}@{world.new_commit}").yanked is not None


def test_a_reason_does_not_steer_the_terminal(world: World, middle: Middleman, site: Site) -> None:
    middle.lies = {STATUS: saying(said_of(world.new_commit, reason="\x1b[2J\u202e\nverified", version="\x07"))}
    with pytest.raises(PolicyRefusedError) as caught:
        pulling.pull(REPOSITORY)
    assert caught.value.message.isprintable() and caught.value.hint.isprintable()
    verified = pulling.verify_path(REPOSITORY)
    assert verified.yanked is not None
    for text in (heard(verified)[0][1], *verified.yanked.to_json().values()):
        assert text.isprintable()


def test_a_host_that_is_no_embhub_registry_says_nothing(middle: Middleman, site: Site) -> None:
    for body in (b"", b"{}", b"<html>"):
        middle.lies = {STATUS: lambda handler, body=body: handler.send(404, body)}  # type: ignore[misc]  # the type checker cannot follow the default, which keeps this turn's value
        assert heard(pulling.pull(REPOSITORY)) == []


@pytest.mark.parametrize(("address", "demand"), [(STATUS, "not-yanked"), ("/embhub/v1/audits/", "no-leak")])
def test_an_address_that_is_not_there_meets_no_demand(middle: Middleman, site: Site, address: str, demand: str) -> None:
    """Whoever wants to hide a withdrawal or a leak need not lie: 404 would do."""
    pulling.verify_path(REPOSITORY, require="not-yanked")
    middle.lies = {address: lambda handler: handler.send(404, b"{}")}
    with pytest.raises(PolicyRefusedError):
        pulling.verify_path(REPOSITORY, require=demand)


BAD = {
    "HTML": b"<html>",
    "nothing": b"",
    "a list": b"[]",
    "no rows": b'{"repository": "radboud/prostate-cspca"}',
    "rows that are none": b'{"repository": "radboud/prostate-cspca", "yanked": "all"}',
    "another repository": b'{"repository": "radboud/other", "yanked": []}',
    "a member twice": b'{"repository": "radboud/prostate-cspca", "yanked": [], "yanked": []}',
    "no commit": said_of("main"),
    "a reason that is a number": said_of("0" * 40, reason=1),
    "a novel": said_of("0" * 40, reason="x" * 3000),
    "more than anybody reads": b" " * (yanks.MAX_BYTES + 1) + b"{}",
}


@pytest.mark.parametrize("name", others_thorough(BAD, list(BAD)[:3]))
def test_nonsense_is_told_and_ignored(middle: Middleman, site: Site, name: str) -> None:
    middle.lies = {STATUS: saying(BAD[name])}
    verified = pulling.pull(REPOSITORY)
    assert verified.yanked is None
    (told,) = heard(verified)
    assert told[0] == ("note" if name.startswith("more") else "warning") and "<html" not in told[1]
    assert (site.folder / "prostate-cspca").is_dir()


@pytest.mark.parametrize(
    "lie",
    [lambda handler: handler.send(500, b"{}"), raw(b""), hostile.drip(b" ", pause=0.05), edited(lambda b: b[:-5])],
    ids=["500", "hung up", "dripping", "cut"],
)
def test_no_answer_holds_nobody_up(middle: Middleman, site: Site, monkeypatch: pytest.MonkeyPatch, lie: Answer) -> None:
    monkeypatch.setattr(guard, "LONGEST_QUESTION", 1.0)
    middle.lies = {STATUS: lie}
    verified = pulling.pull(REPOSITORY)
    assert verified.yanked is None and len(heard(verified)) == 1


def test_nothing_is_asked_about_a_release_that_does_not_verify(middle: Middleman, site: Site) -> None:
    middle.lies = {INFO: edited(lambda body: body[:-20])}
    assert main(["pull", REPOSITORY]) == 5
    assert not [path for _, path, _, _ in middle.requests if STATUS in path]


@given(st.binary(max_size=400) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_arbitrary_answers(data: bytes | str) -> None:
    raw_data = data if isinstance(data, bytes) else b'{"repository": "a/b", "yanked": ' + data.encode() + b"}"
    with suppress(ValueError):
        assert all(yank.to_json() for yank in yanks.parse(raw_data, repository="a/b"))
