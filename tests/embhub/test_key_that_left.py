"""A member's key was removed. Later the root signs a keyring with it: what becomes of it at a site that saw both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire.hub import Hub
from embhub.refusals import RollbackError, UnknownSignerError
from embhub.release.demands import PolicyRefusedError
from embhub.site.pins import trust_store
from embhub_registry.operation.keyrings import keyring_changes
from tests.support.releases import REPOSITORY, SITE, make_release
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningRegistry]:
    """A site that pulled, confirmed the keyring, and knows the signer."""
    with running_registry(tmp_path / "place") as started:
        started.add_key(SITE, namespace="radboud")
        hub = Hub(started.url, token=started.add_user("alice", namespace="radboud"))
        hub.push(make_release(), REPOSITORY)
        Site(tmp_path / "site", started.url).enter(monkeypatch)
        roots.add_root(started.url, fingerprint=started.root_fingerprint)
        pulling.pull(REPOSITORY, require="known-signer")
        yield started


def test_a_keyring_that_forgets_the_removal_is_refused(registry: RunningRegistry) -> None:
    with registry.opened() as opened:
        before = keyring_changes.latest(opened)
    registry.run("key", "remove", SITE.fingerprint)
    with pytest.raises(UnknownSignerError, match="was removed"):
        pulling.pull(REPOSITORY, out=Path("again"))
    with registry.opened() as opened, opened.database.writing() as db:
        keyring_changes.store(opened, db, before)  # what blinded signers would sign
    with pytest.raises(RollbackError, match="revoked or removed"):
        pulling.pull(REPOSITORY, out=Path("again"))
    assert main(["pull", REPOSITORY, "--out", "again"]) == 4 and not Path("again").exists()
    assert trust_store.load(registry.url).keyring.removed() == {SITE.fingerprint}


def test_a_key_that_was_gone_without_a_word_is_no_known_signer_when_it_is_back(registry: RunningRegistry) -> None:
    registry.drop_key(SITE)
    with pytest.raises(UnknownSignerError):
        pulling.pull(REPOSITORY, out=Path("again"))
    registry.add_key(SITE, namespace="radboud")
    for policy, require in (("standard", "known-signer"), ("strict", "")):
        with pytest.raises(PolicyRefusedError) as refused:
            pulling.pull(REPOSITORY, out=Path("again"), policy=policy, require=require)
        assert "known-signer" in refused.value.unmet
    assert any(one.check == "signer" and one.outcome == "warning" for one in pulling.pull(REPOSITORY).findings)
    with pytest.raises(PolicyRefusedError):
        pulling.pull(REPOSITORY, require="known-signer")
    (row,) = roots.refresh_roots(agree=lambda _, lines: True)
    assert row["changes"] == [f"new key for radboud: {SITE.fingerprint} may publish"]
    assert pulling.pull(REPOSITORY, require="known-signer").version == "1.0.0"
