"""Push, pull, verify and the demand `logged` with a real registry and its real log."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.client import log_reader, logged, pulling, roots
from embhub.site import log_memory
from tests.support import pushes, releases
from tests.support.servers import RunningRegistry, start_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    made = start_registry(Path(tmp_path_factory.mktemp("log")))
    try:
        made.add_key(releases.SITE, namespace="radboud")
        yield made
    finally:
        made.stop()


def test_what_was_pulled_verifies_in_the_log_with_and_without_a_network(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    alice = registry.add_user("alice", namespace="radboud")
    pushes.create(registry, "prostate-cspca", token=alice)
    assert pushes.commit(registry, releases.REPOSITORY, releases.make_release().files, token=alice).status == 200
    roots.add_root(registry.url, fingerprint=registry.root_fingerprint)
    pulled = pulling.pull(releases.REPOSITORY, registry=registry.url, out="got", require="logged")
    assert pulled.log_index is not None and pulled.checkpoint is not None
    assert (tmp_path / "got" / logged.PROOF).exists()
    offline = pulling.verify_path("got", require="logged")
    assert offline.log_index == pulled.log_index
    assert "consistent with" in next(one.text for one in offline.findings if one.check == "log")
    (tmp_path / "got" / logged.PROOF).unlink()
    assert pulling.verify_path("got").log_index is None
    shown = pulling.verify_path(releases.REPOSITORY, registry=registry.url, require="logged")
    assert shown.to_json()["log_index"] == pulled.log_index


def test_a_folder_of_the_logs_files_is_as_good_as_the_registry(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    with registry.opened() as opened:
        key = opened.trust().keyring.log_key
    assert key is not None
    shutil.copytree(registry.folder / "log", tmp_path / "copy")
    for source in (log_reader.HttpLog(registry.url), log_reader.FolderLog(tmp_path / "copy")):
        data = log_reader.checkpoint(source)
        assert data == (registry.folder / "log/checkpoint").read_bytes()
    assert log_memory.recall(key) is None
