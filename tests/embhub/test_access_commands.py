"""`embhub curate access`: a reader accepts terms and asks, the publisher answers, changed terms ask again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.member import access
from embhub.client.wire.errors import NotAllowedError
from embhub.client.wire.hub import Hub
from embhub.errors import RegistryError
from tests.support.releases import REPOSITORY
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site

TERMS = "Research only.\nNo attempt to identify a patient."


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def publisher(registry: RunningRegistry, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Published with `push --gated`, and terms set by the command."""
    with pytest.MonkeyPatch.context() as patch:
        site = open_site(registry, tmp_path_factory.mktemp("a"), namespace="radboud", user="alice").enter(patch)
        new_key(registry, namespace="radboud")
        assert main(["push", str(site.make()), "--gated"]) == 0
        Path("terms.txt").write_text(TERMS + "\n", encoding="utf-8-sig")
        assert main(["curate", "access", "terms", REPOSITORY, "--set", "terms.txt"]) == 0
    return site


def act(site: Site, *words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        site.enter(patch)
        return main(list(words))


def test_from_the_refusal_to_the_file(
    registry: RunningRegistry, publisher: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lea = open_site(registry, tmp_path / "b", namespace="lumc", user="lea", role="reader").enter(patch)
        lea.trust(registry)
    assert act(lea, "pull", REPOSITORY) == 5
    assert f"embhub curate access request {REPOSITORY}" in capsys.readouterr().err
    assert act(lea, "curate", "access", "request", REPOSITORY) == 2, "without a terminal nothing is accepted unsaid"
    said = capsys.readouterr().err
    assert TERMS in said and "version 1" in said and "--accept-terms" in said
    assert act(publisher, "curate", "access", "list", REPOSITORY, "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert act(lea, "curate", "access", "request", REPOSITORY, "--accept-terms", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["status"] == "pending" and TERMS in printed.err
    assert act(publisher, "curate", "access", "list", REPOSITORY, "--status", "pending") == 0
    assert capsys.readouterr().out.split()[:3] == ["lea", "lumc", "pending"]
    assert act(publisher, "curate", "access", "list", REPOSITORY, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["terms_version"] == 1 and row["terms_accepted"][:4].isdigit() and len(row["terms_sha256"]) == 64
    assert act(publisher, "curate", "access", "grant", REPOSITORY, "lea") == 0
    assert act(lea, "pull", REPOSITORY, "--out", str(tmp_path / "first")) == 0

    (publisher.folder / "terms.txt").write_text("Research on prostate MRI only.")
    assert act(publisher, "curate", "access", "terms", REPOSITORY, "--set", "terms.txt") == 0
    capsys.readouterr()
    assert act(lea, "pull", REPOSITORY, "--out", str(tmp_path / "second")) == 5
    assert "version 2" in capsys.readouterr().err and not (tmp_path / "second").exists()
    assert act(lea, "curate", "access", "request", REPOSITORY, "--accept-terms") == 0
    assert act(lea, "pull", REPOSITORY, "--out", str(tmp_path / "second")) == 0

    assert act(publisher, "curate", "access", "reject", REPOSITORY, "lea", "--reason", "the agreement has ended") == 0
    capsys.readouterr()
    assert act(lea, "pull", REPOSITORY, "--out", str(tmp_path / "third")) == 5
    assert "the agreement has ended" in capsys.readouterr().err
    assert (
        act(lea, "curate", "access", "list", REPOSITORY) == 5
        and act(lea, "curate", "access", "grant", REPOSITORY, "lea") == 5
    )

    listed = registry.ask("curate", "access", "list", REPOSITORY)["requests"]
    assert [(r["user"], r["status"], r["terms_version"]) for r in listed] == [("lea", "rejected", 2)]
    assert registry.ask("curate", "access", "grant", REPOSITORY, "lea")["status"] == "accepted"
    assert act(lea, "pull", REPOSITORY, "--out", str(tmp_path / "fourth")) == 0


def test_what_is_accepted_is_the_text_that_was_shown(
    registry: RunningRegistry, publisher: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terms that change between reading and accepting are not accepted."""
    token = registry.add_user("rob", namespace="lumc", role="reader")

    def accept(terms: access.Terms) -> bool:
        Hub(registry.url, token=registry.admin).call(
            f"/embhub/v1/terms/{REPOSITORY}", what="terms", method="PUT", send={"text": f"{terms.text} And more."}
        )
        return True

    monkeypatch.setenv("EMBHUB_REGISTRY", registry.url)
    with pytest.raises(RegistryError, match="are version"):
        access.request(REPOSITORY, accept=accept, registry=registry.url, token=token)
    with pytest.raises(NotAllowedError, match="access token"):
        monkeypatch.setenv("EMBHUB_TOKEN", "")
        monkeypatch.setenv("EMBHUB_HOME", "/nonexistent")
        access.request(REPOSITORY, accept=lambda _: True, registry=registry.url)


def test_mistakes_have_words(publisher: Site, capsys: pytest.CaptureFixture[str]) -> None:
    (publisher.folder / "empty.txt").write_text(" \n")
    (publisher.folder / "latin.txt").write_bytes(b"caf\xe9")
    for words, expected in (
        (("terms", REPOSITORY, "--set", "empty.txt"), "--end"),
        (("terms", REPOSITORY, "--set", "latin.txt"), "UTF-8"),
        (("terms", REPOSITORY, "--set", "terms.txt", "--end"), "exclude"),
        (("terms", REPOSITORY, "--set", "absent.txt"), "is not there"),
        (("request", "no-repository"), "not a repository"),
    ):
        assert act(publisher, "curate", "access", *words) == 2
        said = capsys.readouterr().err
        assert expected in said and "Traceback" not in said
    assert act(publisher, "curate", "access", "request", "radboud/absent") == 5
    assert "has no repository" in capsys.readouterr().err
