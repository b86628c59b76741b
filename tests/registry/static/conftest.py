"""One registry with a public repository of two releases, a yanked, a private and a gated one; its export; mirrors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from embhub_registry.static.mirror import running
from embhub_registry.static.mirror.following import Mirror
from tests.support import evaluations, releases
from tests.support.servers import RunningRegistry, start_registry
from tests.support.statics import YANKED, publish


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    registry = start_registry(Path(tmp_path_factory.mktemp("static")))
    try:
        registry.add_key(releases.SITE, namespace="radboud")
        registry.add_key(releases.AUDITOR, namespace="nki", role="audit")
        alice = registry.add_user("alice", namespace="radboud")
        publish(registry, "prostate-cspca", token=alice)
        publish(registry, "prostate-cspca", token=alice, version="1.1.0")
        publish(registry, "breast-mass", token=alice, seed=4)
        publish(registry, "secret", token=alice, seed=5)
        publish(registry, "gated", token=alice, seed=6)
        registry.run("repo", "visibility", "radboud/secret", "private")
        registry.run("repo", "visibility", "radboud/gated", "gated")
        evaluations.publish(registry, releases.make_embedding(seed=0).digest, version="1.1.0")
        registry.run("curate", "yank", YANKED, "--reason", "wrong anatomy on the card")
        yield registry
    finally:
        registry.stop()


@pytest.fixture(scope="session")
def export(hub: RunningRegistry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export; tests copy it before they change it."""
    folder = Path(tmp_path_factory.mktemp("export")) / "hub"
    hub.run("export", "--static", folder)
    return folder


@pytest.fixture
def mirror_of(
    hub: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Mirror]]:
    """A new mirror of an address; the process acts as the mirror from then on."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))  # so that a test that sets it leaves nothing behind
    with ExitStack() as stack:

        def make(url: str) -> Mirror:
            mirror = stack.enter_context(running.open_mirror(tmp_path / "mirror", url, name="mirror.example.org"))
            mirror.pin(hub.root_fingerprint)
            return mirror

        yield make
