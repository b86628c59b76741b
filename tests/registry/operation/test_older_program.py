"""A really older program beside today's: an earlier commit's servers and today's, over one database and one store."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.client import publishing, pulling
from embhub.formats import safe_yaml
from embhub.release.files import EMBEDDING
from embhub_registry.database import schema
from embhub_registry.database.dialects import POSTGRESQL
from embhub_registry.operation import checking
from tests.support import older_program, pushes
from tests.support.object_stores import RunningStore
from tests.support.older_program import OlderProgram
from tests.support.postgres import Server
from tests.support.releases import make_card, make_embedding
from tests.support.replicas import ONLINE, LogWatcher, Replicas, store_variables, wait_for
from tests.support.servers import RunningRegistry, free_port
from tests.support.sites import Site, new_key, open_site

pytestmark = pytest.mark.thorough
NOTES = "radboud/notes"
FIRST, OLD, NEW = 0, 1, 2  # the first server is upgraded meanwhile


def rolling_steps() -> list[schema.Step]:
    """The newest steps, as far as programs that do not know them may go on."""
    steps = schema.known_steps(POSTGRESQL)
    others = max(number for number, step in enumerate(steps) if not step.is_rolling)
    return steps[others + 1 :]


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> OlderProgram:
    """The last program before the rolling steps."""
    steps = rolling_steps()
    if not steps:
        pytest.skip("the newest step of the schema lets no older program serve beside it")
    commit = older_program.commit_before(steps[0].name)
    if commit is None:
        pytest.skip(f"there is no history from before the step {steps[0].name}")
    return OlderProgram(commit, tmp_path_factory.mktemp("older"))


@pytest.fixture
def replicas(
    tmp_path: Path, postgresql: Server, object_store: RunningStore, older: OlderProgram, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Replicas]:
    """A registry that the older program made and shared, with its schema; none of its servers is started."""
    address, bucket = postgresql.new_schema(), object_store.make_bucket()
    url, blobs = f"http://127.0.0.1:{free_port()}", f"s3://{bucket}/{uuid.uuid4().hex}?grace=600"
    folders = [tmp_path / str(number) / "registry" for number in range(3)]
    for folder in folders:
        folder.parent.mkdir()
    with store_variables(object_store):
        monkeypatch.setenv("EMBHUB_REGISTRY_DATABASE", address)
        joins: list[list[str | Path]] = [["--dir", folder, "join"] for folder in folders[1:]]
        made, *_ = older.run(
            ["--dir", folders[0], "--blobs", blobs, "init", "--name", "Old hub", "--url", url],
            ["--dir", folders[0], "share"],
            *joins,
        )
        for folder in folders[1:]:
            for name in ONLINE:
                shutil.copy(folders[0] / "keys" / name, folder / "keys" / name)
        urls = [url, *(f"http://127.0.0.1:{free_port()}" for _ in folders[1:])]
        yield (found := Replicas(
            [RunningRegistry(folder, at, made["token"], made["root_key"])
             for folder, at in zip(folders, urls, strict=True)], address,
        ))  # fmt: skip
        found.stop()


def push(server: RunningRegistry, text: str, token: str) -> tuple[int, str]:
    """A note; the status and the commit."""
    answer = pushes.commit(server, NOTES, {"README.md": text.encode()}, token=token)
    assert answer.status in (200, 503) and (answer.status == 200 or answer.header("Retry-After")), answer.body
    return answer.status, answer.json()["commitOid"] if answer.status == 200 else ""


def steps_of(postgresql: Server, replicas: Replicas) -> set[str]:
    with postgresql.connect() as db:
        found = db.execute(f"SELECT name FROM {replicas.address.rpartition('%3D')[2]}.migration").fetchall()
        return {str(row[0]) for row in found}


def publish(site: Site, name: str, seed: int) -> bytes:
    """A signed release by the real client; the bytes of its embedding."""
    artifact = make_embedding(seed=seed)
    file = site.folder / f"{name}.safetensors"
    file.write_bytes(artifact.data)
    file.with_name(f"{name}.card.yaml").write_bytes(safe_yaml.dump(make_card(artifact, name=name)))
    publishing.push(file)
    return artifact.data


def test_servers_of_an_older_program_beside_todays(
    replicas: Replicas, older: OlderProgram, postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Today's migrates while two older ones store: nothing acknowledged is lost, and each shows what others stored."""
    first, old, new = replicas.servers
    rolling = {step.name for step in rolling_steps()}
    for server in (first, old):
        older.start(server)
    assert not rolling & steps_of(postgresql, replicas), "the older program made this schema"
    (made,) = older.run(
        ["--dir", first.folder, "user", "add", "alice", "--namespace", "radboud", "--role", "publisher"]
    )
    alice = made["token"]
    assert pushes.create(first, "notes", token=alice).status == 200
    stored: list[str] = []
    refused: list[int] = []
    ended = threading.Event()

    def store() -> None:
        while not ended.wait(0.05):
            turn = len(stored) + len(refused)
            status, commit = push((first, old)[turn % 2], f"older {turn}", alice)
            if status == 200:
                stored.append(commit)
            else:
                refused.append(turn)

    pusher, watcher = threading.Thread(target=store), LogWatcher()
    pusher.start()
    try:
        wait_for("each prepared its statements", 60, lambda: len(stored) > 14)
        new.start()
        assert rolling <= steps_of(postgresql, replicas), "migrated while they serve"
        before = len(stored)
        wait_for("the older ones go on", 60, lambda: len(stored) > before + 4)
    finally:
        ended.set()
        pusher.join()
    status, commit = push(new, "today's", alice)
    stored.append(commit)
    assert status == 200
    check_commits(replicas, stored, alice)

    site = open_site(first, tmp_path / "site", namespace="lumc", user="lea").enter(monkeypatch)
    new_key(first, namespace="lumc")
    data = {"one": publish(site, "one", 1)}  # by the older server
    wait_for("signed", 20, lambda: watcher.look(new) == watcher.look(old) > 0)
    replicas.kill(FIRST)
    first.start()  # today's program in its place
    data["two"] = publish(site, "two", 2)
    reader = Site(tmp_path / "reader", first.url).enter(monkeypatch)
    reader.trust(first)
    for name, expected in data.items():
        pulling.pull(f"lumc/{name}", out=tmp_path / f"pulled-{name}")
        assert (tmp_path / f"pulled-{name}" / EMBEDDING).read_bytes() == expected
        for server in replicas.servers:
            assert server.get(f"/lumc/{name}/resolve/main/{EMBEDDING}").body == expected
            for words in ("lumc", name, name[:2]):
                found = {row["id"] for row in server.get(f"/api/models?search={words}").json()}
                assert f"lumc/{name}" in found, (server.url, words)
    wait_for("one size", 20, lambda: len({watcher.look(server) for server in replicas.servers}) == 1)
    assert watcher.check(old) == watcher.check(new) == watcher.check(first)

    replicas.kill(OLD)
    older.start(old)  # one that starts beside newer ones, in a schema that it does not know
    stored.append(push(old, "older, and started later", alice)[1])
    check_commits(replicas, stored, alice)
    assert_fenced(replicas, postgresql, alice)
    replicas.stop()
    with new.opened() as opened:
        report = checking.check(opened)
        assert report.corrupt == [] and opened.audit_log.problems() == []
        assert len(report.orphaned) <= len(refused) + 1, "files of pushes that were refused wait for `prune`"


def check_commits(replicas: Replicas, stored: list[str], token: str) -> None:
    """Each server shows every commit that was acknowledged, in order."""
    for server in replicas.servers:
        found = [row["id"] for row in server.get(f"/api/models/{NOTES}/commits/main?limit=1000", token=token).json()]
        assert [one for one in found if one in stored] == stored[::-1]
        wait_for("ready", 15, lambda: server.get("/readyz").status == 200)  # noqa: B023  # called at once


def assert_fenced(replicas: Replicas, postgresql: Server, token: str) -> None:
    """What is no rolling step keeps the older program from writing at once; it says so, and still shows what it has."""
    old, table = replicas[OLD], f"{replicas.address.rpartition('%3D')[2]}.migration"
    with postgresql.connect() as db:
        db.execute(f"INSERT INTO {table} VALUES (999, '999_later.sql', '2030-01-01', 'x')")
        assert push(old, "kept out", token)[0] == 503
        wait_for("it says so", 15, lambda: old.get("/readyz").status == 503)
        assert old.get(f"/api/models/{NOTES}", token=token).status == 200
        db.execute(f"DELETE FROM {table} WHERE number = 999")
