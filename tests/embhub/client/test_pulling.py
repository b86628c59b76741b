"""Fetch, verify, and only then write: from the real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.client.account import accounts
from embhub.client.publishing import push as publishing
from embhub.client.pulling import pull as pulling
from embhub.errors import ConfigError, RegistryError, UsageError
from embhub.release import at_the_site
from embhub.release import files as release_files
from embhub.site import config
from tests.support.releases import REPOSITORY, make_embedding, make_sheet, record_of
from tests.support.servers import RunningRegistry, start_registry
from tests.support.sites import Site, new_key, open_site


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    running = start_registry(tmp_path_factory.mktemp("registry"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def publisher(registry: RunningRegistry, tmp_path_factory: pytest.TempPathFactory) -> Site:
    with pytest.MonkeyPatch.context() as patch:
        site = open_site(registry, tmp_path_factory.mktemp("a"), namespace="radboud", user="alice").enter(patch)
        new_key(registry, namespace="radboud")
        path = site.make(samples=record_of(make_sheet(), make_embedding()))
        at_the_site.beside(path, at_the_site.SHEET).write_bytes(make_sheet())
        publishing.push(path)
    return site


@pytest.fixture
def reader(registry: RunningRegistry, publisher: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path / "b", registry.url, "").enter(monkeypatch)
    site.trust(registry)
    return site


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pull_leaves_a_folder_that_verifies_without_a_network(reader: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    got = pulling.pull(REPOSITORY)
    folder = reader.folder / "prostate-cspca"
    assert got.repository == REPOSITORY and got.signer.namespace == "radboud"
    proofs = {f"attestations/{name}.tlog-proof" for name in ("publish", "audit", "keyring")}
    assert files(folder) == sorted(
        {*release_files.LIMITS, *proofs, "prostate-cspca.safetensors"}
        - {release_files.SOURCE_BUNDLE, release_files.STUDY}
    )
    assert (folder / "prostate-cspca.safetensors").read_bytes() == got.embedding.data
    monkeypatch.setenv("EMBHUB_REGISTRY", "http://127.0.0.1:9")
    for target in (folder, folder / "prostate-cspca.safetensors", folder / release_files.EMBEDDING):
        assert pulling.verify_path(target).digest == got.digest


def test_pull_by_commit_and_out(reader: Site) -> None:
    _, commit = accounts.connect().fetch(REPOSITORY)
    pulling.pull(f"{REPOSITORY}@{commit}", out=reader.folder / "deep/er")
    assert (reader.folder / "deep/er/prostate-cspca.safetensors").exists()


def test_verify_and_search_by_name(reader: Site) -> None:
    assert pulling.verify_path(REPOSITORY, require="no-leak,not-yanked").report
    assert REPOSITORY in [listing.repository for listing in pulling.search("prostate")]
    assert not pulling.search("nothing-has-this-name")
    assert not files(reader.folder / "prostate-cspca")


def test_without_trust_nothing_is_written_and_the_hint_says_what_to_type(
    registry: RunningRegistry, publisher: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path / "c", registry.url).enter(monkeypatch)
    with pytest.raises(ConfigError) as caught:
        pulling.pull(REPOSITORY)
    assert f"embhub trust add {registry.url} --fingerprint" in caught.value.hint
    assert not files(site.folder)


def test_login_keeps_token_and_namespace(
    registry: RunningRegistry, publisher: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Site(tmp_path / "d", registry.url).enter(monkeypatch)
    with pytest.raises(RegistryError, match="does not accept your token"):
        accounts.log_in(token="hf_emb_" + "0" * 43)
    assert config.token_for(registry.url) is None
    account, path = accounts.log_in(token=publisher.token)
    assert account.name == "alice" and "radboud" in account.namespaces
    assert path.stat().st_mode & 0o777 == 0o600
    assert accounts.default_namespace() == "radboud"
    assert config.load().token == publisher.token


def test_no_registry_and_no_repository(reader: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match="no repository"):
        pulling.pull("radboud/nothing")
    with pytest.raises(RegistryError, match="no such revision"):
        pulling.pull(f"{REPOSITORY}@{'0' * 40}")
    with pytest.raises(UsageError):
        pulling.pull("prostate")
    with pytest.raises(UsageError):
        pulling.pull(REPOSITORY, policy="lenient")


def test_where_none_is_set_the_only_registry_known_here_is_asked(
    reader: Site, registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EMBHUB_REGISTRY", "")
    assert pulling.pull(REPOSITORY).repository == REPOSITORY
    assert registry.url in caplog.text
    config.save_credentials(registry.url, "hf_emb_of_this_registry")  # the same one, logged in to: still the only one
    assert accounts.connect()._token == "hf_emb_of_this_registry"
    config.save_credentials("https://other.example.org", "hf_emb_of_another")
    with pytest.raises(ConfigError, match="no registry is set") as caught:
        pulling.pull(REPOSITORY)
    assert registry.url in caught.value.hint and "https://other.example.org" in caught.value.hint


def test_a_token_that_belongs_to_no_registry_is_sent_to_none(
    reader: Site, registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_REGISTRY", "")
    with pytest.raises(ConfigError, match="no registry is set"):
        accounts.connect(token="hf_emb_for_somebody_else")
    monkeypatch.setenv("EMBHUB_TOKEN", "hf_emb_for_somebody_else")
    for call in (accounts.connect, lambda: accounts.log_in(token="hf_emb_new")):
        with pytest.raises(ConfigError, match="no registry is set") as caught:
            call()
        assert registry.url in caught.value.hint
    monkeypatch.setenv("EMBHUB_TOKEN", "")
    with pytest.raises(ConfigError, match="no registry is set"):
        accounts.log_in(token="hf_emb_new")


def test_a_site_that_knows_no_registry_is_told_what_to_say(site: Site) -> None:
    with pytest.raises(ConfigError, match="no registry is set") as caught:
        pulling.pull(REPOSITORY)
    assert "EMBHUB_REGISTRY" in caught.value.hint


def test_a_key_added_since_is_learned_and_a_root_that_changed_is_refused(
    registry: RunningRegistry, reader: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    late = open_site(registry, tmp_path / "late", namespace="late", user="late").enter(monkeypatch)
    new_key(registry, namespace="late")
    publishing.push(late.make(), "late/x")
    reader.enter(monkeypatch)
    assert pulling.pull("late/x").signer.namespace == "late"
