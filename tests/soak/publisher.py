"""One site of the run: it does one thing after the other to what is its own, and knows what must be there."""

from __future__ import annotations

import hashlib
import http.client
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from embhub.log import merkle
from embhub.release.file_names import PUBLISH_BUNDLE
from embhub.trust import bundle, logged
from tests.support import pushes, releases
from tests.support.servers import Answer, RunningRegistry

Tree = Mapping[str, str]  # path -> SHA-256
RELEASES, NOTES, COMMON = "prostate-cspca", "notes", "common/notes"
PATIENCE = 90.0  # seconds within which a server has to answer again
AGAIN = {409, 429, 502, 503, 504}


def digests(files: Mapping[str, bytes]) -> Tree:
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


@dataclass
class History:
    """What was acknowledged, in the order in which it was; what the checker compares with."""

    commits: dict[str, str] = field(default_factory=dict)  # commit -> repository
    leaves: list[bytes] = field(default_factory=list)  # hashes of entries that must be in the log
    common: list[tuple[str, str]] = field(default_factory=list)  # parent and commit
    wrong: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    doubtful: int = 0

    def count(self, what: str) -> None:
        """One more of this kind."""
        self.done[what] = self.done.get(what, 0) + 1


@dataclass
class Publisher:
    """A namespace with a repository of signed releases and one of notes, and a share in a repository of all."""

    number: int
    servers: list[RunningRegistry]
    token: str
    common_token: str
    choose: random.Random
    history: History
    trees: dict[str, Tree | None] = field(default_factory=lambda: {RELEASES: None, NOTES: None})
    yanked: set[str] = field(default_factory=set)
    released: int = 0
    replaces: str | None = None

    @property
    def namespace(self) -> str:
        """Its own."""
        return f"site{self.number}"

    def work(self, ended: Callable[[], bool]) -> None:
        """One thing after the other."""
        while not ended() and not self.history.wrong:
            try:
                self.choose.choice(
                    [self.publish, self.note, self.note, self.share, self.yank, self.remove, self.read]
                )()
            except Exception as error:  # noqa: BLE001  # whatever it is, it ends the run
                self.history.wrong.append(f"{self.namespace}: {type(error).__name__}: {error}")

    def ask(self, method: str, path: str, *, token: str | None = None, **words: object) -> Answer | None:
        """One request to any server; None where nobody knows what became of it."""
        server = self.choose.choice(self.servers)
        try:
            answer = server.request(method, path, token=token or self.token, **words)  # type: ignore[arg-type]
        except (OSError, http.client.HTTPException):
            return None
        assert answer.status < 500 or answer.status in AGAIN, (method, path, answer.status, answer.body)
        return None if answer.status in AGAIN else answer

    def patiently(self, path: str, *, token: str | None = None) -> Answer:
        """A read, asked again until a server answers."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if (answer := self.ask("GET", path, token=token)) is not None:
                return answer
            time.sleep(0.1)
        raise AssertionError(f"nobody answers {path}")

    def head(self, repository: str, *, token: str | None = None) -> str | None:
        """The newest commit; None where there is no repository."""
        answer = self.patiently(f"/api/models/{repository}", token=token)
        assert answer.status in (200, 404), answer.body
        return str(answer.json()["sha"]) if answer.status == 200 else None

    def tree(self, name: str) -> Tree | None:
        """Every file of the newest commit, its bytes read; None where there is no repository."""
        for _ in range(20):
            head = self.head(f"{self.namespace}/{name}")
            if head is None:
                return None
            listed = self.patiently(f"/api/models/{self.namespace}/{name}/tree/{head}?recursive=true")
            assert listed.status == 200, listed.body
            paths = [row["path"] for row in listed.json() if row["type"] == "file"]
            found = {}
            for path in paths:
                answer = self.patiently(f"/{self.namespace}/{name}/resolve/{head}/{path}")
                assert answer.status == 200, (path, answer.status, answer.body)
                found[path] = answer.body
            return digests(found)
        raise AssertionError("it changes all the time")

    def read(self) -> None:
        """From any server: what was acknowledged, and nothing else."""
        name = self.choose.choice([RELEASES, NOTES])
        seen = self.tree(name)
        assert seen == self.trees[name], f"{name} is {seen}, {self.trees[name]} was acknowledged"
        if name == RELEASES and self.released:
            rows = self.patiently(f"/embhub/v1/status/{self.namespace}/{name}").json()["yanked"]
            assert {row["version"] for row in rows} == self.yanked, (rows, self.yanked)
        self.history.count("read")

    def settle(self, name: str, answer: Answer | None, after: Tree | None) -> bool:
        """Whether the change took place; asked for where nobody answered."""
        if answer is not None:
            assert answer.status == 200, (name, answer.status, answer.body)
            self.trees[name] = after
            return True
        self.history.doubtful += 1
        time.sleep(0.5)  # what its server had sent to the database is done or undone by then
        seen = self.tree(name)
        assert seen in (self.trees[name], after), f"{name} is {seen}, neither {self.trees[name]} nor {after}"
        took_place = seen == after and seen != self.trees[name]
        self.trees[name] = seen
        return took_place

    def ensure(self, name: str) -> bool:
        """Make a repository where there is none; whether it is there."""
        if self.trees[name] is not None:
            return True
        answer = self.ask("POST", "/api/repos/create", json_body={"name": name, "type": "model"})
        self.settle(name, answer, {})
        return False

    def commit(self, name: str, files: Mapping[str, bytes]) -> bool:
        """Upon the present head; whether it took place."""
        parent = self.head(f"{self.namespace}/{name}")
        body = pushes.commit_body(files, parent=parent)
        headers = {"Content-Type": "application/x-ndjson"}
        path = f"/api/models/{self.namespace}/{name}/commit/main"
        answer = self.ask("POST", path, headers=headers, body=body)
        if answer is not None and answer.status == 200:
            self.history.commits[answer.json()["commitOid"]] = f"{self.namespace}/{name}"
        return self.settle(name, answer, digests(files))

    def publish(self) -> None:
        """The next release, which replaces the one before."""
        if not self.ensure(RELEASES):
            return
        key = releases.make_key(f"site {self.number}")
        artifact = releases.make_embedding(seed=1000 * (self.number + 1) + self.released)
        release = releases.make_release(
            artifact=artifact, audited=False, key=key, repository=f"{self.namespace}/{RELEASES}",
            replaces=self.replaces, version=f"1.{self.released}.0",
        )  # fmt: skip
        if not self.commit(RELEASES, dict(release.files)):
            return
        self.released, self.replaces = self.released + 1, artifact.digest
        envelope = bundle.parse(release.files[PUBLISH_BUNDLE]).envelope
        self.history.leaves.append(merkle.leaf_hash(logged.leaf_of(envelope, key.public).to_bytes()))
        self.history.count("release")

    def note(self) -> None:
        """A text of some kilobytes."""
        if self.ensure(NOTES):
            text = f"# Note {self.choose.random()}\n".encode() * self.choose.randint(1, 300)
            if self.commit(NOTES, {"README.md": text}):
                self.history.count("note")

    def remove(self) -> None:
        """The notes, now and then."""
        if self.trees[NOTES] is None or self.choose.random() < 0.7:
            return
        body = {"name": NOTES, "organization": self.namespace, "type": "model"}
        if self.settle(NOTES, self.ask("DELETE", "/api/repos/delete", json_body=body), None):
            for commit, name in list(self.history.commits.items()):  # others add theirs meanwhile
                if name == self.notes:
                    del self.history.commits[commit]
            self.history.count("deletion")

    @property
    def notes(self) -> str:
        """The repository that comes and goes."""
        return f"{self.namespace}/{NOTES}"

    def yank(self) -> None:
        """A release is marked, or its mark is lifted."""
        if not self.released:
            return
        version = f"1.{self.choose.randrange(self.released)}.0"
        lifts = version in self.yanked
        path = f"/embhub/v1/yank/{self.namespace}/{RELEASES}"
        body = {"version": version} if lifts else {"version": version, "reason": "a test"}
        answer = self.ask("DELETE" if lifts else "POST", path, json_body=body)
        assert answer is None or answer.status == 200, (answer.status, answer.body)
        after = self.yanked ^ {version}
        if answer is None:
            self.history.doubtful += 1
            time.sleep(0.5)
            rows = self.patiently(f"/embhub/v1/status/{self.namespace}/{RELEASES}").json()["yanked"]
            seen = {row["version"] for row in rows}
            assert seen in (self.yanked, after), (seen, self.yanked, after)
            after = seen
        self.yanked = after
        self.history.count("yank")

    def share(self) -> None:
        """A note upon the head of the repository of all; others may be faster, and then it is refused."""
        parent = self.head(COMMON, token=self.common_token)
        body = pushes.commit_body({"README.md": b"%d %f\n" % (self.number, self.choose.random())}, parent=parent)
        headers = {"Content-Type": "application/x-ndjson"}
        answer = self.ask(
            "POST", f"/api/models/{COMMON}/commit/main", token=self.common_token, headers=headers, body=body
        )
        if answer is None:
            self.history.doubtful += 1
        elif answer.status == 200:
            self.history.common.append((str(parent), answer.json()["commitOid"]))
            self.history.count("shared note")
        else:
            assert answer.status == 412, (answer.status, answer.body)
            self.history.count("refused: another was faster")
