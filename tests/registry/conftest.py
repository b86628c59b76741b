"""One running registry for all tests of this folder, with a publisher, a foreign publisher and their keys."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embhub_registry.storage import blob_places, database_place
from tests.support import object_stores, postgres, releases, tools
from tests.support.object_stores import RunningStore
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


@pytest.fixture(scope="session")
def object_store() -> Iterator[RunningStore]:
    """moto's server, started when the first test needs it."""
    with object_stores.running_store() as store:
        yield store


@pytest.fixture
def bucket(object_store: RunningStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket, and the AWS variables that lead to it."""
    for name, value in object_stores.variables(object_store.url).items():
        monkeypatch.setenv(name, value)
    return object_store.make_bucket()


@pytest.fixture(scope="session", autouse=object_stores.CHOSEN)
def every_registry_in_s3(request: pytest.FixtureRequest) -> Iterator[None]:
    """With EMBHUB_TEST_BLOBS=s3 each registry that a test makes keeps its objects below a prefix of its own in S3.

    These tests expect bytes to go at once, as from a folder: no grace, which is right where one process stores.
    """
    store: RunningStore = request.getfixturevalue("object_store")
    name = store.make_bucket()
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in object_stores.variables(store.url).items():
            patch.setenv(variable, value)
        patch.setattr(blob_places, "chosen", lambda url: url or f"s3://{name}/{uuid.uuid4().hex}?grace=0")
        yield
