"""A gated repository through our own client: refused in words, nothing written, pulled once the account was let in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from embhub.client.publishing import push as publishing
from embhub.client.pulling import pull as pulling
from embhub.client.wire.errors import NotAllowedError
from tests.support.releases import REPOSITORY
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    (tmp_path / "hub").mkdir()
    with running_registry(tmp_path / "hub") as running:
        yield running


def test_a_gate_is_told_and_opened(registry: RunningRegistry, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        publisher = open_site(registry, tmp_path / "a", namespace="radboud", user="alice").enter(patch)
        new_key(registry, namespace="radboud")
        publishing.push(publisher.make())
        HfApi(endpoint=registry.url, token=registry.admin).update_repo_settings(REPOSITORY, gated="manual")
    with pytest.MonkeyPatch.context() as patch:
        nobody = Site(tmp_path / "b", registry.url, "").enter(patch)
        nobody.trust(registry)
        with pytest.raises(NotAllowedError, match="for accounts that were let in") as caught:
            pulling.pull(REPOSITORY)
        assert f"embhub curate access request {REPOSITORY}" in caught.value.hint
        assert not list(nobody.folder.rglob("*.safetensors"))
    with pytest.MonkeyPatch.context() as patch:
        reader = open_site(registry, tmp_path / "c", namespace="lumc", user="lea", role="reader").enter(patch)
        reader.trust(registry)
        with pytest.raises(NotAllowedError, match="lea was not let in"):
            pulling.pull(REPOSITORY)
        asked = registry.request("POST", f"/{REPOSITORY}/ask-access", token=reader.token)
        assert asked.json() == {"status": "pending"}
        with pytest.raises(NotAllowedError, match="awaits an answer"):
            pulling.pull(REPOSITORY)
        answer = {"user": "lea", "status": "accepted"}
        address = f"/api/models/{REPOSITORY}/user-access-request/handle"
        assert registry.request("POST", address, token=publisher.token, json_body=answer).status == 200
        assert pulling.pull(REPOSITORY).repository == REPOSITORY
