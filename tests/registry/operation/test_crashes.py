"""kill -9 at random moments under four publishers: what was acknowledged stays, what was not is whole or absent."""

from __future__ import annotations

import hashlib
import http.client
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from embhub_registry.database.releases import repositories
from embhub_registry.operation.backups import checking, repair
from embhub_registry.operation.backups.backup import back_up
from tests.support import postgres, pushes, releases
from tests.support.backups import restore
from tests.support.servers import Answer, RunningRegistry, environment, init_registry

Tree = Mapping[str, str]  # path -> SHA-256


def digests(files: Mapping[str, bytes]) -> Tree:
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


@dataclass
class Publisher:
    """One site with a repository of signed releases and one of notes, and what it knows of both."""

    namespace: str
    token: str
    chain: list[Mapping[str, bytes]]
    choose: random.Random
    trees: dict[str, Tree | None] = field(default_factory=lambda: {"prostate-cspca": None, "notes": None})
    promised: dict[str, tuple[str, Tree]] = field(default_factory=dict)  # commit -> repository, files
    doubt: tuple[str, Tree | None] | None = None
    wrong: list[str] = field(default_factory=list)
    sent: int = 0

    def work(self, registry: RunningRegistry) -> None:
        """One change after the other until the server is gone; the one under way then stays in doubt."""
        try:
            while not self.wrong:
                self.change(registry)
        except (OSError, http.client.HTTPException):
            return

    def change(self, registry: RunningRegistry) -> None:
        """One change: create, publish the next release, write a note, or delete the notes."""
        name = self.choose.choice(["prostate-cspca", "notes", "notes"])
        if self.trees[name] is None:
            self.doubt = (name, {})
            answer = pushes.create(registry, name, token=self.token)
        elif name == "notes" and self.choose.random() < 0.1:
            self.doubt = (name, None)
            body = {"name": name, "organization": self.namespace, "type": "model"}
            answer = registry.request("DELETE", "/api/repos/delete", token=self.token, json_body=body)
        else:
            files = self.next_files(name)
            self.doubt = (name, digests(files))
            answer = pushes.commit(registry, f"{self.namespace}/{name}", files, token=self.token)
        self.settle(answer)

    def next_files(self, name: str) -> Mapping[str, bytes]:
        """The next release, as long as there is one; a note of some kilobytes."""
        if name == "prostate-cspca":
            present = self.trees[name]
            done = next((n for n, files in enumerate(self.chain, 1) if digests(files) == present), 0)
            return self.chain[min(done, len(self.chain) - 1)]
        return {"README.md": f"# Note {self.choose.random()}\n".encode() * self.choose.randint(1, 300)}

    def settle(self, answer: Answer) -> None:
        """Note what was acknowledged."""
        assert self.doubt is not None
        name, tree = self.doubt
        if answer.status != 200:
            self.wrong.append(f"{name}: {answer.status} {answer.body!r}")
            return
        self.sent += 1
        self.trees[name], self.doubt = tree, None
        if tree is None:
            self.promised = {c: p for c, p in self.promised.items() if p[0] != name}
        elif tree:
            self.promised[answer.json()["commitOid"]] = (name, tree)

    def look(self, registry: RunningRegistry) -> None:
        """After a crash: each repository is whole, as it was acknowledged or as the change in doubt would have it."""
        for name, known in self.trees.items():
            seen = read_tree(registry, f"{self.namespace}/{name}", self.token)
            allowed = [known] + ([self.doubt[1]] if self.doubt and self.doubt[0] == name else [])
            assert seen in allowed, f"{self.namespace}/{name}"
            if seen is None:
                self.promised = {c: p for c, p in self.promised.items() if p[0] != name}
            self.trees[name] = seen
        self.doubt = None


def read_tree(registry: RunningRegistry, repository: str, token: str) -> Tree | None:
    """What a client gets of a repository's main: every file's bytes, or None where there is no repository."""
    listed = registry.get(f"/api/models/{repository}/tree/main?recursive=true", token=token)
    if listed.status == 404:
        return None
    assert listed.status == 200, listed.body
    paths = [row["path"] for row in listed.json() if row["type"] == "file"]
    answers = {path: registry.get(f"/{repository}/resolve/main/{path}", token=token) for path in paths}
    assert {answer.status for answer in answers.values()} <= {200}
    return digests({path: answer.body for path, answer in answers.items()})


def make_publishers(registry: RunningRegistry, seed: int) -> list[Publisher]:
    """Four sites with accounts, keys and six signed releases each."""
    made = []
    for number in range(4):
        namespace, key = f"site{number}", releases.make_key(f"site {number}")
        registry.add_key(key, namespace=namespace)
        chain, replaces = [], None
        for version in range(6):
            artifact = releases.make_embedding(seed=10 * number + version)
            release = releases.make_release(
                artifact=artifact, audited=False, key=key, repository=f"{namespace}/prostate-cspca",
                replaces=replaces, version=f"1.{version}.0",
            )  # fmt: skip
            chain.append(release.files)
            replaces = artifact.digest
        token = registry.add_user(f"user{number}", namespace=namespace)
        made.append(Publisher(namespace, token, chain, random.Random(f"{seed} {number}")))
    return made


def crash(registry: RunningRegistry, publishers: list[Publisher], after: float) -> None:
    """Serve, look, let everybody publish, kill the server `after` seconds of that."""
    registry.start()
    for publisher in publishers:
        publisher.look(registry)
    threads = [threading.Thread(target=publisher.work, args=(registry,)) for publisher in publishers]
    for thread in threads:
        thread.start()
    time.sleep(after)
    assert registry.stop(how=signal.SIGKILL) == -signal.SIGKILL
    for thread in threads:
        thread.join()


def look_at_the_folder(registry: RunningRegistry, publishers: list[Publisher]) -> list[str]:
    """Nothing corrupt; every acknowledged commit is there; returns the orphans, which `repair` has removed."""
    with registry.opened() as opened:
        report = checking.check(opened)
        assert report.corrupt == []
        assert repair.repair(opened, report) == report.orphaned
        assert checking.check(opened).clean
        db = opened.database.connection()
        for publisher in publishers:
            gone = publisher.doubt[0] if publisher.doubt and publisher.doubt[1] is None else ""
            for commit, (name, tree) in publisher.promised.items():
                found = repositories.find(db, publisher.namespace, name)
                if found is None and name == gone:
                    continue
                assert found is not None, f"{publisher.namespace}/{name} was acknowledged"
                rows = {entry.path: entry.digest for entry in repositories.entries(db, found.id, commit)}
                assert rows == tree
    return report.orphaned


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    made = init_registry(tmp_path)
    yield made
    made.stop()


def crash_often(registry: RunningRegistry, *, kills: int, seed: int) -> None:
    """Kill that often; on a busy machine up to four times as often, until enough was acknowledged in between."""
    publishers = make_publishers(registry, seed)
    moments = random.Random(seed)
    print("seed", seed)
    least = (2 if postgres.CHOSEN else 5) * kills
    for number in range(4 * kills):
        if number >= kills and sum(publisher.sent for publisher in publishers) > least:
            break
        crash(registry, publishers, after=moments.uniform(0.1, 1.5))
        orphans = look_at_the_folder(registry, publishers)
        assert all("does not know it" in text or "unfinished write" in text for text in orphans), orphans
        assert [publisher.wrong for publisher in publishers] == [[]] * 4
    registry.start()
    for publisher in publishers:
        publisher.look(registry)
    assert sum(publisher.sent for publisher in publishers) > least, "they had work to do"


def test_one_kill(registry: RunningRegistry) -> None:
    crash_often(registry, kills=1, seed=20261120)


@pytest.mark.thorough
def test_fifteen_kills(registry: RunningRegistry) -> None:
    crash_often(registry, kills=15, seed=random.SystemRandom().randrange(10**6))


def kill_once_it_writes(words: list[str], folder: Path, pattern: str) -> None:
    """Run a command and kill it when it has begun to write."""
    process = subprocess.Popen([sys.executable, "-m", "embhub_registry", *words], env=environment())
    while process.poll() is None and not any(f.stat().st_size for f in folder.glob(pattern) if f.is_file()):
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was in the middle"


@pytest.mark.thorough
def test_a_backup_or_a_restore_that_is_killed_has_no_final_name(tmp_path: Path) -> None:
    served = init_registry(tmp_path)
    with served.opened() as opened, opened.database.writing() as db:
        for number in range(400):
            digest = opened.blobs.put(number.to_bytes(2, "big") * 50_000, durable=False)
            db.execute("INSERT INTO blob VALUES (?, 100000, ?)", (digest, "0" * 40))
    backup, again = tmp_path / "hub.tar", tmp_path / "again"
    kill_once_it_writes(["--dir", str(served.folder), "backup", "make", str(backup)], tmp_path, ".hub.tar.*/backup")
    assert not backup.exists() and list(tmp_path.glob(".hub.tar.*"))
    with served.opened() as opened:
        back_up(opened, backup)
    kill_once_it_writes(
        ["--dir", str(again), "backup", "restore", "--unauthenticated", str(backup)],
        tmp_path,
        ".again.restoring-*/blobs/??/*",
    )
    assert not again.exists() and list(tmp_path.glob(".again.restoring-*"))
    assert restore(backup, again)["blobs"] == 400, "what was left behind is in nobody's way"
