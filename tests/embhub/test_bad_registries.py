"""What people hand in by mistake or in bad faith: registries."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from tests.support import hostile
from tests.support.quick import quick
from tests.support.refusing import CONFIG, REGISTRY, Refused
from tests.support.releases import REPOSITORY, ROOT, make_export
from tests.support.servers import RunningRegistry, start_registry
from tests.support.sites import Site, new_key, open_site


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    running = start_registry(tmp_path_factory.mktemp("registry"))
    yield running
    running.stop()


@pytest.fixture
def signed(registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    name = f"n{abs(hash(str(tmp_path))) % 10**8}"
    found = open_site(registry, tmp_path / "site", namespace=name, user=name).enter(monkeypatch)
    new_key(registry, namespace=name)
    assert main(["sign", str(found.make()), f"{name}/prostate-cspca"]) == 0
    return found


def test_an_unknown_namespace(signed: Site, refused: Refused) -> None:
    path = signed.make("other", seed=1)
    assert main(["sign", str(path), "nobody/other"]) == 0
    refused("push", path, code=REGISTRY)


def test_tokens_that_do_not_count(
    registry: RunningRegistry, signed: Site, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = registry.add_user(f"f-{signed.folder.parent.name[-12:]}".lower().replace("_", "-"), namespace="foreign")
    revoked = str(registry.ask("token", "new", "admin")["token"])
    assert main(["push", "prostate-cspca.safetensors"]) == 0
    registry.run("token", "revoke", revoked)
    for token in (foreign, revoked, "hf_emb_" + "a" * 43):
        monkeypatch.setenv("EMBHUB_TOKEN", token)
        refused("push", "prostate-cspca.safetensors", code=REGISTRY)
    monkeypatch.setenv("EMBHUB_TOKEN", "two words")
    refused("push", "prostate-cspca.safetensors", code=CONFIG)
    monkeypatch.setenv("EMBHUB_TOKEN", "")
    refused("login", "--access-token", revoked, code=REGISTRY)


def test_a_registry_that_is_down(signed: Site, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    (signed.folder / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("EMBHUB_REGISTRY", f"http://127.0.0.1:{free.getsockname()[1]}")
    for words in (
        ("push", "prostate-cspca.safetensors"),
        ("pull", REPOSITORY),
        ("show", REPOSITORY),
        ("verify", REPOSITORY),
        ("login", "--access-token", "hf_emb_x"),
        ("trust", "add", os.environ["EMBHUB_REGISTRY"], "--fingerprint", ROOT.fingerprint),
    ):
        assert "cannot be reached" in refused(*words, code=REGISTRY)


@pytest.mark.parametrize("body", quick([b"<html>log in first</html>"], thorough=[b"", b"[]", b"{}", b"null", b"\xff"]))
def test_a_registry_that_answers_nonsense(
    signed: Site, refused: Refused, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    (signed.folder / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    with hostile.serve() as liar:
        liar.lies["/"] = lambda handler: handler.send(200, body)
        monkeypatch.setenv("EMBHUB_REGISTRY", liar.url)
        log_in = ("login", "--access-token", "hf_emb_x")
        for words in (("push", "prostate-cspca.safetensors"), ("pull", REPOSITORY), log_in):
            refused(*words, code=REGISTRY)
        said = refused("trust", "refresh", liar.url, code=CONFIG)
        assert "no root key is pinned" in said
