"""A claim's statement about its whole site goes stale: page and `verify` show the namespace's newest beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.client.pulling import pull as pulling
from embhub.client.wire.hub import Hub
from embhub.privacy.claim import PrivacyClaim
from embhub.release.files import Release
from tests.support.claims import make_claim, site_total
from tests.support.releases import SITE, make_embedding, make_release
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site

FIRST = make_claim(composition=site_total(as_of="2026-11-19"))
SECOND = make_claim(composition=site_total(make_claim().curve, as_of="2026-11-20"))


def private(repository: str, claim: PrivacyClaim, *, seed: int) -> Release:
    artifact = make_embedding(privacy=claim, seed=seed)
    counts: dict[str, Any] = {"n_patients": claim.n_public, "n_images": "100-300"}
    counts["max_images_per_patient"] = claim.max_images_per_unit
    name = repository.partition("/")[2]
    return make_release(artifact=artifact, audited=False, repository=repository, name=name, **counts)


@pytest.fixture
def registry(tmp_path: Path) -> object:
    with running_registry(tmp_path / "hub") as running:
        running.add_key(SITE, namespace="radboud")
        yield running


def test_an_older_release_shows_what_a_newer_one_states(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = registry.add_user("alice", namespace="radboud")
    reader = Site(tmp_path / "reader", registry.url).enter(monkeypatch)
    reader.trust(registry)
    hub = Hub(registry.url, token=token)
    hub.push(private("radboud/first", FIRST, seed=1), "radboud/first")

    def newer() -> object:
        return registry.get("/radboud/first?format=json").json()["privacy"]["newer"]

    assert newer() is None
    pulling.pull("radboud/first", out=tmp_path / "first")
    assert main(["verify", "--all", str(tmp_path / "first")]) == 0
    assert "states more" not in capsys.readouterr().out

    hub.push(private("radboud/second", SECOND, seed=2), "radboud/second")
    assert SECOND.composition is not None
    said = f"its 2 private trainings come to epsilon {SECOND.composition.epsilon:g} together"
    assert said in str(newer()) and "As of 2026-11-20" in str(newer())
    text = registry.get("/radboud/first").body.decode()
    assert "Since then." in text and said in text
    assert registry.get("/radboud/second?format=json").json()["privacy"]["newer"] is None

    pulling.pull("radboud/second", out=tmp_path / "second")
    for target in ("radboud/first", str(tmp_path / "first")):
        assert main(["verify", "--all", target]) == 0
        out = capsys.readouterr().out
        assert "A newer release of radboud states more" in out and said in out
    assert main(["verify", "--all", str(tmp_path / "second")]) == 0
    assert "states more" not in capsys.readouterr().out


@pytest.mark.thorough
def test_what_a_private_repository_states_is_not_shown(registry: RunningRegistry) -> None:
    token = registry.add_user("alice", namespace="radboud")
    hub = Hub(registry.url, token=token)
    hub.push(private("radboud/first", FIRST, seed=1), "radboud/first")
    hub.push(private("radboud/hidden", SECOND, seed=2), "radboud/hidden")
    with registry.opened() as opened:
        opened.database.connection().execute("UPDATE repository SET private = 1 WHERE name = 'hidden'")
    assert registry.get("/radboud/first?format=json").json()["privacy"]["newer"] is None
