"""One running registry for all tests of this folder, with a publisher, a foreign publisher and their keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embhub_registry.storage import database_place
from tests.support import postgres, releases, tools
from tests.support.servers import RunningRegistry, start_registry


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    """One server for the tests of this process."""
    tools.require("postgresql", found=postgres.programs() is not None)
    with postgres.running_server() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def chosen_database(request: pytest.FixtureRequest) -> Iterator[None]:
    """With EMBHUB_TEST_DATABASE=postgresql each new registry of these tests is in a schema of its own."""
    if not postgres.CHOSEN:
        yield
        return
    server = request.getfixturevalue("postgresql")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database_place, "choose", lambda folder, asked: asked or server.new_schema())
        yield


@dataclass(frozen=True)
class House:
    """A registry and those who live in it: `alice` publishes for radboud, `lea` for lumc, `nora` audits for nki."""

    registry: RunningRegistry
    alice: str
    lea: str
    nora: str


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    registry = start_registry(Path(tmp_path_factory.mktemp("house")))
    try:
        registry.add_key(releases.SITE, namespace="radboud")
        registry.add_key(releases.AUDITOR, namespace="nki", role="audit")
        yield House(
            registry,
            alice=registry.add_user("alice", namespace="radboud"),
            lea=registry.add_user("lea", namespace="lumc"),
            nora=registry.add_user("nora", namespace="nki", role="auditor"),
        )
    finally:
        registry.stop()
