"""A quota bounds what the store holds: what is refused, or loses a race, was never stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from embhub_registry.admission import publication
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.repositories import repos
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import folder, quotas
from embhub_registry.storage.folder import Registry
from tests.support import releases
from tests.support.postgres import Server

ALICE = accounts.Account(1, "alice", "radboud", "publisher", "", b"", None, None)
CLIENTS = 10
SIZE = 100_000


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(tmp_path: Path, postgresql: Server, request: pytest.FixtureRequest) -> Iterator[Registry]:
    """A registry, and a repository for each client."""
    database = postgresql.new_schema() if request.param == "postgresql" else None
    made = folder.create(tmp_path / "hub", name="T", url=releases.REGISTRY, audit="optional", database=database)
    administration.add_user(made, "alice", namespace="radboud", role="publisher")
    key = tmp_path / "site.pem"
    key.write_text(releases.SITE.public_pem)
    administration.add_key(made, key, namespace="radboud", role="publish")
    for client in range(CLIENTS):
        repos.create(made, ALICE, None, f"notes-{client}", private=False)
    yield made
    made.close()


def push(registry: Registry, name: str, files: dict[str, bytes]) -> str:
    request = CommitRequest("t", "", None, files, frozenset(), frozenset())
    try:
        publication.publish(registry, ALICE, "radboud", name, branch="main", request=request)
    except RequestDeniedError as error:
        return error.rule
    return "stored"


def stored_bytes(registry: Registry) -> int:
    return sum(len(registry.blobs.read(digest)) for digest in registry.blobs.stored())


def orphans(registry: Registry) -> list[str]:
    db = registry.database.connection()
    return [digest for digest in registry.blobs.stored() if not repositories.blob_is_known(db, digest)]


def text(client: int, turn: int) -> dict[str, bytes]:
    return {"README.md": f"# {client} {turn}\n".encode().ljust(SIZE, b"x")}


def test_with_a_quota_of_nothing_nothing_is_stored(registry: Registry) -> None:
    quotas.change(registry, "radboud", {"bytes": 0})
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = pool.map(lambda n: push(registry, f"notes-{n % CLIENTS}", text(n % CLIENTS, n)), range(CLIENTS * 5))
        assert Counter(found) == {"quota": CLIENTS * 5}
    assert stored_bytes(registry) == 0


def test_ten_clients_fill_a_quota_and_the_store_holds_no_more(registry: Registry) -> None:
    allowed = 4 * SIZE + SIZE // 2
    quotas.change(registry, "radboud", {"bytes": allowed})
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = Counter(pool.map(lambda n: push(registry, f"notes-{n}", text(n, 0)), range(CLIENTS)))
    while found["stored"] < 4:  # two that did not fit together were both refused
        found[push(registry, "notes-0", text(0, 100 + found.total()))] += 1
        assert found.total() < 30
    with ThreadPoolExecutor(CLIENTS) as pool:
        assert set(pool.map(lambda n: push(registry, f"notes-{n}", text(n, 1)), range(CLIENTS))) == {"quota"}
    assert found["stored"] == 4 and stored_bytes(registry) == 4 * SIZE <= allowed
    assert orphans(registry) == []


def test_the_losers_of_a_race_for_a_version_leave_nothing(registry: Registry) -> None:
    repos.create(registry, ALICE, None, "prostate-cspca", private=False)
    made = [dict(releases.make_release(artifact=releases.make_embedding(seed=seed)).files) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        found = Counter(pool.map(partial(push, registry, "prostate-cspca"), made))
    assert found["stored"] == 1 and found.total() == 6, found
    assert orphans(registry) == []


def test_a_refused_number_of_releases_leaves_nothing(registry: Registry) -> None:
    repos.create(registry, ALICE, None, "prostate-cspca", private=False)
    quotas.change(registry, "radboud", {"releases": 0})
    assert push(registry, "prostate-cspca", dict(releases.make_release().files)) == "quota"
    assert stored_bytes(registry) == 0
