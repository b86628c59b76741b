"""What a success says: what a person needs who uses a release; each check on request."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.wire.hub import Hub
from tests.support.releases import AUDITOR, SITE, make_embedding, make_release, resigned
from tests.support.servers import RunningRegistry, running_registry

NAME = "radboud/first"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("hub")) as running:
        running.add_key(SITE, namespace="radboud")
        running.add_key(AUDITOR, namespace="nki", role="audit")
        running.add_user("alice", namespace="radboud")
        release = resigned(make_release(repository=NAME, artifact=make_embedding(seed=4)), audit_key=AUDITOR)
        Hub(running.url, token=running.ask("token", "new", "alice")["token"]).push(release, NAME)
        yield running


@pytest.fixture(autouse=True)
def site(registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMBHUB_REGISTRY", registry.url)
    monkeypatch.chdir(tmp_path)
    assert main(["trust", "add", registry.url, "--fingerprint", registry.root_fingerprint]) == 0


def test_a_pull_says_eight_lines_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["pull", NAME]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = dict(line.split(None, 1) for line in lines if not line.startswith(("not for", "  ")))
    assert len([line for line in lines if not line.startswith("  warning")]) <= 8
    assert told["verified"].endswith("; embhub verify --all first") and "checks, notes on " in told["verified"]
    assert told["release"].startswith(f"{NAME} 1.0.0, signed by radboud")
    assert told["audit"] == "insufficient-evidence, countersigned by nki"
    assert told["privacy"] == "no guarantee bounds what it reveals about a patient"
    assert told["written"] == "first"
    words = shlex.split(told["next"])
    assert words[:2] == ["embhub", "generate"] and "<cspca>" in words[2] and words[4] == "first"


def test_each_check_is_listed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", NAME]) == 0
    capsys.readouterr()
    assert main(["verify", "first"]) == 0
    brief = capsys.readouterr().out
    assert main(["verify", "first", "--all"]) == 0
    every = capsys.readouterr().out
    assert len(brief.splitlines()) < 10 < len(every.splitlines())
    assert f"{len([line for line in every.splitlines() if line.startswith('  ')])} checks" in brief
    assert "the signature (ECDSA P-256, SHA-256) covers the statement" in every


def test_a_card_that_names_another_publisher_is_said_in_brief(
    registry: RunningRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "radboud/renamed"
    release = make_release(repository=name, artifact=make_embedding(seed=5), publisher="Someone Else")
    Hub(registry.url, token=registry.ask("token", "new", "alice")["token"]).push(release, name)
    capsys.readouterr()
    assert main(["pull", name]) == 0
    assert "the card gives 'Someone Else' as publisher" in capsys.readouterr().out


def test_a_search_for_another_modality_names_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--modality", "XR"]) == 0
    assert "nothing found for modality XR; there are: MR" in capsys.readouterr().err
