"""A push that is proposed, an approver who signs with their own key, and a pull that asks for it: real programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.client.member import reviewing
from embhub.site.memory import seen
from tests.support import pushes, reviews
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site

NAME = "radboud/prostate-cspca"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("reviewing")) as made:
        yield made


def run(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> Any:
    assert main([*map(str, words), "--json"]) == code
    said = capsys.readouterr()
    return json.loads(said.out) if code == 0 else said


def test_from_a_push_to_a_pull_that_demands_an_approval(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher = open_site(registry, tmp_path / "a", namespace="radboud", user="alice").enter(monkeypatch)
    registry.run("curate", "review", "set", "radboud", "--approvals", "1")
    new_key(registry, namespace="radboud")
    publisher.trust(registry)
    file = publisher.make(description="Lesions.", version="1.0.0")
    done = run(capsys, "push", file, NAME)
    assert done["proposed"].startswith(f"{registry.url}/account/review/") and not done["commit"]
    assert seen.newest(registry.url, NAME) is None, "not accepted by anybody yet"
    proposal = done["proposed"].rpartition("/")[2]
    assert run(capsys, "curate", "review", "list")[0]["id"] == proposal
    run(capsys, "pull", NAME, code=4)

    officer = open_site(registry, tmp_path / "b", namespace="radboud", user="olga", role="approver").enter(monkeypatch)
    officer.trust(registry)
    assert run(capsys, "curate", "review", "show", proposal)["version"] == "1.0.0"
    run(capsys, "curate", "review", "approve", proposal, "--digest", "0" * 64, code=2)
    run(capsys, "curate", "review", "approve", "nonsense", code=2)
    digest = run(capsys, "curate", "review", "list")[0]["digest"]
    refused = run(capsys, "curate", "review", "approve", proposal, "--digest", digest, code=7)
    assert "key" in refused.err
    new_key(registry, namespace="radboud", name="default", role="approve")
    done = run(capsys, "curate", "review", "approve", proposal, "--digest", digest)
    assert done["commit"] and done["approvals"] == 1

    reader = open_site(registry, tmp_path / "c", namespace="lumc", user="lea").enter(monkeypatch)
    reader.trust(registry)
    run(capsys, "pull", NAME, "--require", "approved,approved-by-key")
    (one,) = run(capsys, "verify", reader.folder / "prostate-cspca")["approvals"]
    assert (one["kind"], one["digest"]) == ("signed", digest)
    assert main(["verify", "--all", str(reader.folder / "prostate-cspca")]) == 0
    assert f"approved by radboud's approver with the key {one['fingerprint']}" in capsys.readouterr().out
    folder = reader.folder / "prostate-cspca" / "attestations" / "approval.1.sigstore.json"
    folder.unlink()
    run(capsys, "verify", folder.parents[1], "--require", "approved", code=8)


def test_declining_and_an_embargo(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = open_site(registry, tmp_path / "d", namespace="radboud", user="paul").enter(monkeypatch)
    new_key(registry, namespace="radboud", name="default")
    site.trust(registry)
    file = site.make("brain", seed=7)
    run(capsys, "push", file, "radboud/brain", "--embargo", "2020-01-01T00:00:00Z", code=5)
    done = run(capsys, "push", file, "radboud/brain", "--embargo", "2027-06-01T00:00:00Z")
    proposal = done["proposed"].rpartition("/")[2]
    assert run(capsys, "curate", "review", "list")[0]["not_before"] == "2027-06-01T00:00:00.000Z"
    moved = run(capsys, "curate", "review", "embargo", proposal, "--until", "2027-07-01T00:00:00Z")
    assert (moved["before"], moved["not_before"]) == ("2027-06-01T00:00:00.000Z", "2027-07-01T00:00:00.000Z")
    run(capsys, "curate", "review", "embargo", proposal, "--until", "yesterday", code=5)
    officer = Site(tmp_path / "e", registry.url, registry.add_user("omar", namespace="radboud", role="approver"))
    officer.enter(monkeypatch).trust(registry)
    with registry.opened() as opened, opened.database.writing() as db:
        db.execute("UPDATE proposal SET version = NULL, title = 'a \x1b[2Jtitle' WHERE id = ?", (proposal,))
    assert reviewing.fetch(proposal).verified is not None, "an embedding is verified, whatever the registry calls it"
    assert main(["curate", "review", "show", proposal]) == 0
    said = capsys.readouterr().out
    assert "[2Jtitle" in said and "\x1b[2J" not in said
    done = run(capsys, "curate", "review", "decline", proposal, "--reason", "the card names the wrong scanner")
    assert done["answer"] == "declined"
    run(capsys, "curate", "review", "approve", proposal, "--digest", "0" * 64, code=2)


def test_no_key_is_left_out_in_silence(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.run("curate", "review", "set", "radboud", "--approvals", "1")
    token = registry.add_user("ann", namespace="radboud")
    assert pushes.create(registry, "notes", token=token).status == 200
    made = pushes.commit(registry, "radboud/notes", {"README.md": b"# Notes\n"}, token=token).json()["proposal"]
    officer = Site(tmp_path / "f", registry.url, registry.add_user("otto", namespace="radboud", role="approver"))
    officer.enter(monkeypatch).trust(registry)
    refused = run(capsys, "curate", "review", "approve", made["id"], "--digest", made["digest"], code=2)
    assert "--without-key" in refused.err
    words = ("curate", "review", "approve", made["id"], "--digest", made["digest"], "--without-key")
    assert "embhub login --device --scope publish" in run(capsys, *words, code=5).err
    link = ("curate", "review", "link", made["id"], "--for", "ethics board", "--days", "7")
    assert "embhub login --device --scope publish" in run(capsys, *link, code=5).err
    reviews.made_by_owner(registry, "otto")
    done = run(capsys, *link)
    assert done["link"].startswith(f"{registry.url}/login/reviewer#rev_")
    (row,) = run(capsys, "curate", "review", "links", made["id"])
    assert row["id"] == done["id"] and "link" not in row
    assert main(["curate", "review", "links", made["id"]]) == 0
    assert "ethics board" in capsys.readouterr().out
    assert run(capsys, "curate", "review", "unlink", made["id"], row["id"])["answer"] == "ended"
    assert run(capsys, "curate", "review", "links", made["id"]) == []
    run(capsys, "curate", "review", "unlink", made["id"], "../x", code=5)
    assert run(capsys, *words)["commit"]
