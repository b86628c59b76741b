"""`push --private` and `--gated`, and a closed registry as a client meets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub_registry.storage import configuration
from tests.support.releases import REPOSITORY
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="module")
def publisher(registry: RunningRegistry, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("publisher")
    with pytest.MonkeyPatch.context() as patch:
        site = open_site(registry, folder, namespace="radboud", user="alice").enter(patch)
        new_key(registry, namespace="radboud")
        site.trust(registry)
    return site


@pytest.fixture
def site(publisher: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    return publisher.enter(monkeypatch)


def info(registry: RunningRegistry, name: str) -> dict[str, object]:
    return registry.get(f"/api/models/{name}", token=registry.admin).json()


@pytest.mark.parametrize(
    ("option", "private", "gated", "words"),
    [
        ("--private", True, False, "only members of radboud and the registry's operator"),
        pytest.param("--gated", False, "manual", "embhub curate access list radboud/", marks=pytest.mark.thorough),
        (None, False, False, "public"),
    ],
)
def test_the_first_push_says_what_it_created(
    registry: RunningRegistry, site: Site, capsys: pytest.CaptureFixture[str], option: str | None, private: bool,
    gated: object, words: str,
) -> None:  # fmt: skip
    name = f"made-{(option or 'plain').strip('-')}"
    file, options = site.make(name), [option] if option else []
    assert main(["push", str(file), "--json", *options]) == 0
    said = capsys.readouterr()
    found = info(registry, f"radboud/{name}")
    assert (found["private"], found["gated"]) == (private, gated)
    result = json.loads(said.out)
    assert result["created"] is True and result["visibility"] == (option or "--public").strip("-")
    assert words in said.err
    assert main(["push", str(file), "--json", *options]) == 0, "the same again changes nothing"
    again = json.loads(capsys.readouterr().out)
    assert again["created"] is False and again["visibility"] == result["visibility"]


@pytest.mark.parametrize("option", ["--private", "--gated"])
def test_nothing_is_sent_to_one_that_is_seen_by_more(
    registry: RunningRegistry, site: Site, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    name = f"public-before{option[1:]}"
    file = site.make(name, version="1.0.0")
    assert main(["push", str(file), "--json"]) == 0
    before = info(registry, f"radboud/{name}")["sha"]
    newer = site.make(name, version="1.1.0", seed=1)
    capsys.readouterr()
    Path(f"{newer.with_suffix('')}.publish.sigstore.json").unlink()
    assert main(["push", str(newer), option]) == 5
    said = capsys.readouterr().err
    assert "exists" in said and "is public" in said and "operator" in said and "Traceback" not in said
    assert info(registry, f"radboud/{name}")["sha"] == before


def test_options_that_contradict_each_other(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(site.make("contrary"))
    for words in (
        ["--private", "--gated"],
        ["--private", "--dry-run", "--out", "o"],
        ["--gated", "--dry-run", "--out", "o"],
    ):
        assert main(["push", file, *words]) == 2
        assert "--private" in capsys.readouterr().err
    assert not Path("o").exists()


def test_a_refused_release_leaves_no_repository(registry: RunningRegistry, site: Site) -> None:
    other = site.make("refused-private")
    with registry.opened() as opened:
        configuration.write(opened, "quota.bytes", "10")
    try:
        assert main(["push", str(other), "--private"]) == 5
    finally:
        with registry.opened() as opened:
            configuration.write(opened, "quota.bytes", "2000000000")
    assert registry.get("/api/models/radboud/refused-private", token=registry.admin).status == 404


def test_a_closed_registry_is_read_with_the_stored_token(
    registry: RunningRegistry, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["push", str(site.make())]) == 0
    with registry.opened() as opened:
        configuration.write(opened, "read.anonymous", "no")
    try:
        reader = open_site(registry, tmp_path / "reader", namespace="lumc", user="lea", role="reader")
        Site(reader.folder, registry.url, "").enter(monkeypatch).trust(registry)
        capsys.readouterr()
        for words in (["search"], ["show", REPOSITORY], ["pull", REPOSITORY]):
            assert main(words) == 5, words
            said = capsys.readouterr().err
            assert f"embhub login --registry {registry.url}" in said and "access token" in said
            assert "your token" not in said, "there was none"
        assert main(["login", "--registry", registry.url, "--access-token", reader.token]) == 0
        for words in (["search"], ["show", REPOSITORY], ["pull", REPOSITORY]):
            capsys.readouterr()
            assert main(words) == 0, (words, capsys.readouterr().err)
        monkeypatch.setenv("EMBHUB_TOKEN", "hf_emb_" + "x" * 43)
        assert main(["search"]) == 5
        said = capsys.readouterr().err
        assert "does not accept your token" in said and f"embhub login --registry {registry.url}" in said
    finally:
        with registry.opened() as opened:
            configuration.write(opened, "read.anonymous", "yes")
