"""What became of a release, and what each way to look at it answers: one table, state by state and pair by pair.

Each state has a repository of its own, `radboud/STATE`, with 1.0.0 and 1.1.0. The state is that of 1.1.0, the newest,
or of the whole repository. First everybody looks, then copies are made, then the same is pushed again, and in the end
it is undone. The cells: `rel/op` is a release withdrawn by the operator, `bytes/pub` its bytes by the publisher, `key`
a stolen key; `404 aside` a refusal with its rule; `-` before what was lifted, `?` after what is not named.
"""

from __future__ import annotations

import hashlib
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embhub.release.files import EMBEDDING
from embhub.trust.advisories import Advisories
from embhub_registry.database.clock import stamp
from embhub_registry.database.statements import ledger_rows
from embhub_registry.repositories import advisories
from embhub_registry.static.mirror import running
from tests.support import pushes, releases
from tests.support.databases import looking_into
from tests.support.quick import others_thorough
from tests.support.servers import Answer, RunningRegistry, running_registry
from tests.support.statics import contents

SUBJECT, OTHER = "1.1.0", "1.9.0"
VERSIONS = ("1.0.0", SUBJECT, "1.2.0", "1.4.0", OTHER)  # each of its own bytes
THIEF = releases.make_key("the stolen key of the table")
LUMC = releases.make_key("lumc's key of the table")
REASON = "The reason of the table"


@dataclass(frozen=True)
class World:
    """The registry and its commits by state and version; what copies of it hold."""

    maker: Maker
    shas: dict[str, dict[str, str]]
    exported: dict[str, str]
    mirrored: dict[str, str]
    saved: frozenset[str]

    @property
    def registry(self) -> RunningRegistry:
        return self.maker.registry

    def token(self, who: str) -> str | None:
        return self.maker.tokens.get(who)


# ── the states ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Maker:
    """Brings a repository into its state."""

    def __init__(self, registry: RunningRegistry, tokens: dict[str, str]) -> None:
        self.registry, self.tokens = registry, tokens

    def push(self, state: str, version: str, *, seed: str = "", name: str = "", **changes: Any) -> Answer:
        """Push a version; `seed` is the version whose bytes it has, where they are another's."""
        name = name or f"radboud/{state}"
        namespace, _, short = name.partition("/")
        token = self.tokens["lea" if namespace == "lumc" else "alice"]
        pushes.create(self.registry, short, token=token)
        key = {"lumc": LUMC}.get(namespace, releases.SITE)
        made = releases.make_release(
            repository=name, name=short, version=version,
            **{"artifact": bytes_of(state, seed or version), "key": key, **changes},
        )  # fmt: skip
        return pushes.commit(self.registry, name, dict(made.files), token=token)

    def run(self, *words: str) -> None:
        self.registry.run(*words)

    def aside(self, state: str) -> None:
        self.run("curate", "quarantine", "set", f"radboud/{state}", "--version", SUBJECT, "--reason", REASON)

    def yank(self, state: str, *, by: str = "operator", scope: str = "release", which: str = SUBJECT) -> None:
        name, reason = f"radboud/{state}", f"{REASON}, by {by.replace('anna', 'publisher')}"
        if by == "operator":
            self.run("curate", "yank", name, "--version", which, "--scope", scope, "--reason", reason)
            return
        body = {"version": which, "reason": reason, "scope": scope}
        self.ask("POST", f"/embhub/v1/yank/{name}", by="anna" if by == "anna" else "alice", json_body=body)

    def delete(self, state: str, scope: str) -> None:
        self.run("repo", "delete", f"radboud/{state}", "--scope", scope, "--reason", REASON)

    def ask(self, method: str, path: str, *, by: str, **sent: Any) -> Answer:
        answer = self.registry.request(method, path, token=self.tokens[by], **sent)
        assert answer.status == 200, answer.body
        return answer

    def copied_by_lumc(self, state: str, scope_by: str) -> None:
        """The same bytes in another namespace, withdrawn there."""
        assert self.push(state, "1.0.0", seed=SUBJECT, name=f"lumc/{state}").status == 200
        if scope_by == "operator":
            self.run("curate", "yank", f"lumc/{state}", "--scope", "bytes", "--reason", REASON)
        else:
            body = {"reason": REASON, "scope": "bytes"}
            self.ask("POST", f"/embhub/v1/yank/lumc/{state}", by="lea", json_body=body)

    def commit_yanked(self, state: str, by: str = "publisher") -> None:
        sha = self.registry.get(f"/api/models/radboud/{state}/revision/{SUBJECT}").json()["sha"]
        body = {"revision": sha, "reason": f"{REASON}, by {by}"}
        who = "admin" if by == "operator" else "alice"
        self.ask("POST", f"/embhub/v1/yank/radboud/{state}", by=who, json_body=body)

    def below(self, state: str) -> None:
        assert self.push(state, "1.2.0").status == 200
        self.yank(state)

    def unyanked(self, state: str) -> None:
        self.yank(state)
        self.run("curate", "unyank", f"radboud/{state}", "--version", SUBJECT)

    def allowed(self, state: str) -> None:
        self.yank(state, scope="bytes")
        self.run("curate", "digest", "allow", bytes_of(state, SUBJECT).digest, "--reason", "only the card was wrong")

    def shown(self, state: str, visibility: str) -> None:
        self.run("repo", "visibility", f"radboud/{state}", visibility)

    def disabled(self, state: str) -> None:
        self.ask("PUT", f"/api/models/radboud/{state}/settings", by="admin", json_body={"disabled": True})

    def waiting(self, state: str) -> None:
        """Deleted, and the bytes are kept for a week, unserved."""
        self.run("setting", "set", "retention.deleted_days", "7")
        self.delete(state, "bytes")
        self.run("setting", "set", "retention.deleted_days", "0")

    def freed(self, state: str) -> None:
        self.delete(state, "bytes")
        self.run("repo", "free", f"radboud/{state}")


Do = Callable[[Maker, str], object]
STATES: dict[str, tuple[Do, ...]] = {
    "none": (),
    "private": (lambda m, s: m.shown(s, "private"),),
    "gated": (lambda m, s: m.shown(s, "gated"),),
    "disabled": (Maker.disabled,),
    "aside": (Maker.aside,),
    "yanked": (lambda m, s: m.yank(s, by="publisher"),),
    "yanked-by-leaver": (lambda m, s: m.yank(s, by="anna"),),
    "yanked-commit": (Maker.commit_yanked,),
    "yanked-by-operator": (Maker.yank,),
    "yanked-by-both": (lambda m, s: m.yank(s, by="publisher"), Maker.yank),
    "yanked-below": (Maker.below,),
    "yanked-and-back": (Maker.unyanked,),
    "bytes": (lambda m, s: m.yank(s, by="publisher", scope="bytes"),),
    "bytes-by-operator": (lambda m, s: m.yank(s, scope="bytes"),),
    "bytes-allowed": (Maker.allowed,),
    "copy-by-lumc": (lambda m, s: m.copied_by_lumc(s, "publisher"),),
    "copy-by-operator": (lambda m, s: m.copied_by_lumc(s, "operator"),),
    "stolen": (),
    "deleted-release": (lambda m, s: m.delete(s, "release"),),
    "deleted-bytes": (lambda m, s: m.delete(s, "bytes"),),
    "deleted-waiting": (Maker.waiting,),
    "deleted-freed": (Maker.freed,),
    "aside-yanked": (Maker.aside, Maker.yank),
    "aside-bytes": (lambda m, s: m.yank(s, scope="bytes"), Maker.aside),
    "aside-stolen": (Maker.aside,),
    "aside-private": (lambda m, s: m.shown(s, "private"), Maker.aside),
    "aside-gated": (lambda m, s: m.shown(s, "gated"), Maker.aside),
    "aside-deleted": (Maker.aside, lambda m, s: m.delete(s, "release")),
    "yanked-stolen": (Maker.yank,),
    "yanked-private": (lambda m, s: m.shown(s, "private"), Maker.yank),
    "yanked-deleted": (lambda m, s: m.yank(s, by="publisher"), lambda m, s: m.delete(s, "release")),
    "commit-stolen": (lambda m, s: m.commit_yanked(s, by="operator"),),
    "bytes-stolen": (lambda m, s: m.yank(s, by="publisher", scope="bytes"),),
    "bytes-gated": (lambda m, s: m.shown(s, "gated"), lambda m, s: m.yank(s, scope="bytes")),
    "bytes-disabled": (Maker.disabled, lambda m, s: m.yank(s, scope="bytes")),
    "bytes-deleted": (lambda m, s: m.yank(s, by="publisher", scope="bytes"), lambda m, s: m.delete(s, "release")),
    "private-deleted": (lambda m, s: m.shown(s, "private"), lambda m, s: m.delete(s, "bytes")),
    "stolen-deleted": (lambda m, s: m.delete(s, "release"),),
}


def bytes_of(state: str, version: str, **changes: Any) -> Any:
    """An embedding of its own for each version of each state."""
    _, minor, patch = map(int, version.split("."))
    return releases.make_embedding(seed=1000 + 100 * list(STATES).index(state) + 10 * minor + patch, **changes)


# ── the ways to look ─────────────────────────────────────────────────────────────────────────────────────────────────

WORDS = {"repository": "absent", "quarantined": "aside", "revision": "absent"}
SHORT = {"release": "rel", "operator": "op", "publisher": "pub", "key-stolen": "key"}
CACHED = {"no-cache": "asked", "private, max-age=0": "private"}


@dataclass(frozen=True)
class Looked:
    """One state, as it is looked at."""

    world: World
    state: str

    @property
    def shas(self) -> dict[str, str]:
        return self.world.shas[self.state]

    @property
    def name(self) -> str:
        return f"radboud/{self.state}"

    @property
    def digests(self) -> dict[str, str]:
        return {bytes_of(self.state, version).digest: version for version in VERSIONS}

    def get(self, path: str, who: str = "") -> Answer:
        """An answer; nobody else reads why something was set aside."""
        answer = self.world.registry.get(path, token=self.world.token(who))
        if self.state in ("aside", "aside-private", "aside-gated") and not who and self.name in path:
            assert REASON.encode() not in answer.body, path
        return answer

    def file(self, which: str, who: str = "", *, cached: bool = False) -> str:
        """The version whose embedding is served, else what refuses; with `cached` also how long a cache may keep it."""
        answer = self.get(f"/{self.name}/resolve/{which}/{EMBEDDING}", who)
        if answer.status != 200:
            assert REASON.encode() not in answer.body or answer.status == 410, answer.body
            return refusal(answer)
        version = self.digests[str(answer.header("etag")).strip('"')]
        kept = CACHED.get(str(answer.header("cache-control")), "public")
        return f"{version} {kept}" if cached else version

    def read(self) -> dict[str, str]:
        sha = self.shas[SUBJECT]
        return {
            "commit": self.file(sha, cached=True), "version": self.file(SUBJECT), "main": self.file("main"),
            "reader": self.file(sha, "rita"), "publisher": self.file(sha, "alice", cached=True),
            "admin": self.file(sha, "admin"),
        }  # fmt: skip

    def listed(self) -> dict[str, str]:
        page = self.get(f"/?format=json&q={self.state}")
        rows = [row for row in page.json()["items"] if row["id"] == self.name]
        with self.world.registry.opened() as opened:
            public = ledger_rows.public_releases(opened.database.connection(), "radboud", most=1000)
        kept = self.world.registry.ask("repo", "list")
        state = [row["state"] for row in kept["repositories"] if row["repository"] == self.name]
        state += ["deleted" for row in kept["deleted"] if row["repository"] == self.name]
        return {
            "search": self.found(""), "reader": self.found("rita"), "publisher": self.found("alice"),
            "front page": " ".join(str((row["release"] or {}).get("version")) for row in rows),
            "ledger": versions(row.version for row in public if row.repository == self.name),
            "repo list": " ".join(state),
        }  # fmt: skip

    def found(self, who: str) -> str:
        rows = self.get(f"/api/models?search={self.state}&full=true&limit=1000", who).json()
        return " ".join(str((row["embhub"] or {}).get("version")) for row in rows if row["id"] == self.name)

    def page(self) -> dict[str, str]:
        main, commit = (
            self.get(f"/{self.name}?format=json"),
            self.get(f"/{self.name}/commit/{self.shas[SUBJECT]}?format=json"),
        )
        facts = main.json()
        shown = self.get(f"/{self.name}?format=json", "alice")
        history = [row["kind"] for row in facts.get("history", []) if row["kind"] == "withdrawal"]
        return {
            "page": f"{facts['version'] or facts['state']}" if main.status == 200 else refusal(main),
            "its mark": mark(facts.get("yanked")),
            "of commit": f"{commit.json()['version'] or commit.json()['state']} {mark(commit.json()['yanked'])}".strip()
            if commit.status == 200 else refusal(commit),
            "versions": " ".join(row["version"] + "!" * row["yanked"] for row in facts.get("versions", ())),
            "events": str(len(history) or ""),
            "pub.aside": versions(row["version"] for row in shown.json().get("set_aside", ())),
            "model": mark((self.get(f"/api/models/{self.name}").json().get("embhub") or {}).get("yanked")),
        }  # fmt: skip

    def said(self) -> dict[str, str]:
        status = self.get(f"/embhub/v1/status/{self.name}")
        told = status.json()
        rows = self.get(f"/api/models?search={self.state}&limit=1000&expand=standing").json()
        standing = [row["standing"] for row in rows if row["id"] == self.name]
        assert all(row == told for row in standing), "one answer, by either address"
        return {
            "status": " ".join(f"{row['version']} {mark(row)}" for row in told.get("yanked", ()))
            if status.status == 200 else refusal(status),
            "aside": versions(version for row in told.get("quarantined", ()) for version, sha in self.shas.items()
                              if sha == row["revision"]),
            "tombstone": versions((told.get("tombstone") or {}).get("releases", ())),
            "in list": "yes" if standing else "",
            "advisories": self.advised(),
        }  # fmt: skip

    def advised(self) -> str:
        """What the signed document says of 1.1.0."""
        with self.world.registry.opened() as opened:
            envelope, key = advisories.current_envelope(opened), opened.trust().keyring.online_key("advisories")
        assert envelope is not None and key is not None
        rows = [row for row in Advisories.parse(envelope, key).entries if self.digests.get(row.digest) == SUBJECT]
        assert not any(row.repository is None and REASON in row.reason for row in rows)
        return " ".join(sorted(
            f"{'-' if row.withdrawn_on else ''}{short(row.scope, row.by)}{'?' if row.repository is None else ''}"
            for row in rows if row.namespace == "radboud"
        ))  # fmt: skip

    def copied(self) -> dict[str, str]:
        """Whose bytes are in an export, a mirror, and a backup."""

        def held(files: Mapping[str, str]) -> str:
            return versions(
                self.digests[digest] for path, digest in files.items()
                if path.startswith(f"{self.name}/") and digest in self.digests
            )  # fmt: skip

        saved = versions(version for digest, version in self.digests.items() if digest in self.world.saved)
        return {"export": held(self.world.exported), "mirror": held(self.world.mirrored), "backup": saved}

    def pushed(self) -> dict[str, str]:
        """The same bytes here, under another name and in another namespace; the same number; the next number."""
        maker, headed = self.world.maker, bytes_of(self.state, SUBJECT, training={"steps": 300})
        return {
            "number": outcome(maker.push(self.state, SUBJECT, seed=OTHER)),
            "bytes": outcome(maker.push(self.state, "1.3.0", seed=SUBJECT)),
            "header": outcome(maker.push(self.state, "1.0.0", name=f"radboud/{self.state}-header", artifact=headed)),
            "renamed": outcome(maker.push(self.state, "1.0.0", seed=SUBJECT, name=f"radboud/{self.state}-renamed")),
            "by lumc": outcome(maker.push(self.state, "2.0.0", seed=SUBJECT, name=f"lumc/{self.state}")),
            "next": outcome(maker.push(self.state, "1.4.0")),
            "then main": self.file("main"),
        }  # fmt: skip

    def undone(self) -> dict[str, str]:
        """What lifts it, one after the other; then how 1.1.0 stands."""
        version, commit = ("--version", SUBJECT), ("--revision", self.shas[SUBJECT])

        def publisher(**which: str) -> str:
            token, path = self.world.token("alice"), f"/embhub/v1/yank/{self.name}"
            return outcome(self.world.registry.request("DELETE", path, token=token, json_body=which))

        def operator(*words: str) -> str:
            return "yes" if self.world.registry.run(*words, check=False).returncode == 0 else "-"

        return {
            "pub": publisher(version=SUBJECT), "pub sha": publisher(revision=self.shas[SUBJECT]),
            "lift": operator("curate", "quarantine", "lift", self.name, *version),
            "op": operator("curate", "unyank", self.name, *version),
            "op sha": operator("curate", "unyank", self.name, *commit),
            "allow": operator("curate", "digest", "allow", bytes_of(self.state, SUBJECT).digest, "--reason", "x"),
            "free": operator("repo", "free", self.name),
            "version": self.file(SUBJECT), "advisories": self.advised(),
        }  # fmt: skip


def refusal(answer: Answer) -> str:
    """The status, and the rule in a word."""
    rule = answer.json()["rule"]
    return f"{answer.status} {WORDS.get(rule, rule)}"


def outcome(answer: Answer) -> str:
    """Whether it was done, else the rule that refused."""
    return "yes" if answer.status == 200 else refusal(answer).partition(" ")[2]


def mark(yanked: Mapping[str, Any] | None) -> str:
    """Scope and authority; the reason is the one that was given."""
    if not yanked:
        return ""
    assert yanked["by"] == "key-stolen" or yanked["reason"].startswith(REASON)
    return short(yanked["scope"], yanked["by"])


def short(scope: str, by: str) -> str:
    return f"{SHORT.get(scope, scope)}/{SHORT[by]}"


def versions(found: Iterable[str]) -> str:
    return " ".join(sorted(set(found)))


def digests_in(folder: Path) -> dict[str, str]:
    """The SHA-256 of each embedding below a folder, by its path."""
    found = {path: data for path, data in contents(folder).items() if path.endswith(EMBEDDING)}
    return {path: hashlib.sha256(data).hexdigest() for path, data in found.items()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("standing")
    with running_registry(folder) as registry, pytest.MonkeyPatch.context() as patch:
        for namespace, key in (("radboud", releases.SITE), ("radboud", THIEF), ("lumc", LUMC)):
            registry.add_key(key, namespace=namespace)
        tokens = {
            "alice": registry.add_user("alice", namespace="radboud"),
            "anna": registry.add_user("anna", namespace="radboud"),
            "rita": registry.add_user("rita", namespace="radboud", role="reader"),
            "lea": registry.add_user("lea", namespace="lumc"), "admin": registry.admin,
        }  # fmt: skip
        maker = Maker(registry, tokens)
        shas: dict[str, dict[str, str]] = {}
        for state in STATES:
            key = THIEF if "stolen" in state else releases.SITE
            pushed = {"1.0.0": maker.push(state, "1.0.0"), SUBJECT: maker.push(state, SUBJECT, key=key)}
            assert all(answer.status == 200 for answer in pushed.values()), state
            shas[state] = {version: str(answer.json()["commitOid"]) for version, answer in pushed.items()}
        for state, steps in STATES.items():
            if "deleted" not in state or "stolen" not in state:
                for step in steps:
                    step(maker, state)
        registry.run("key", "revoke", THIEF.fingerprint, "--reason", "stolen")
        maker.delete("stolen-deleted", "release")
        registry.run("user", "offboard", "anna", "--erase", "--keep")
        wait_for_purge(registry)
        registry.run("export", "--static", folder / "export")
        registry.run("backup", "make", folder / "backup")
        with tarfile.open(folder / "backup") as archive:
            saved = frozenset(name.rpartition("/")[2] for name in archive.getnames())
        patch.setenv("EMBHUB_HOME", str(folder))
        with running.open_mirror(folder / "mirror", registry.url, name="mirror.example.org") as mirror:
            mirror.pin(registry.root_fingerprint)
            mirror.refresh()
            mirrored = digests_in(mirror.site)
        yield World(maker, shas, digests_in(folder / "export"), mirrored, saved)


def wait_for_purge(registry: RunningRegistry) -> None:
    """Return once the server has removed what is due."""
    due = "SELECT 1 FROM purge WHERE purged IS NULL AND due <= ? LIMIT 1"
    deadline = time.monotonic() + 60
    with looking_into(registry.folder) as db:
        while db.execute(due, (stamp(),)).fetchone() is not None:
            assert time.monotonic() < deadline
            time.sleep(0.1)


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────

TABLE = {
    # Files of 1.1.0 by commit and by version, and of `main`; then by commit for members. `asked`: caches ask each time.
    "READ": """
state              | commit       | version        | main           | reader       | publisher     | admin
none               | 1.1.0 public | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 public  | 1.1.0
private            | 404 absent   | 404 absent     | 404 absent     | 1.1.0        | 1.1.0 private | 1.1.0
gated              | 401 gated    | 401 gated      | 401 gated      | 1.1.0        | 1.1.0 private | 1.1.0
disabled           | 403 disabled | 403 disabled   | 403 disabled   | 403 disabled | 403 disabled  | 1.1.0
aside              | 404 aside    | 404 aside      | 1.0.0          | 404 aside    | 1.1.0 private | 1.1.0
yanked             | 1.1.0 asked  | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 asked   | 1.1.0
yanked-by-leaver   | 1.1.0 asked  | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 asked   | 1.1.0
yanked-commit      | 1.1.0 asked  | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 asked   | 1.1.0
yanked-by-operator | 1.1.0 asked  | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 asked   | 1.1.0
yanked-by-both     | 1.1.0 asked  | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 asked   | 1.1.0
yanked-below       | 1.1.0 asked  | 1.1.0          | 1.2.0          | 1.1.0        | 1.1.0 asked   | 1.1.0
yanked-and-back    | 1.1.0 public | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 public  | 1.1.0
bytes              | 1.1.0 asked  | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 asked   | 1.1.0
bytes-by-operator  | 1.1.0 asked  | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 asked   | 1.1.0
bytes-allowed      | 1.1.0 asked  | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 asked   | 1.1.0
copy-by-lumc       | 1.1.0 public | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 public  | 1.1.0
copy-by-operator   | 1.1.0 asked  | 1.1.0          | 1.1.0          | 1.1.0        | 1.1.0 asked   | 1.1.0
stolen             | 1.1.0 asked  | 410 key-stolen | 410 key-stolen | 1.1.0        | 1.1.0 asked   | 1.1.0
deleted-release    | 410 deleted  | 410 deleted    | 410 deleted    | 410 deleted  | 410 deleted   | 410 deleted
deleted-bytes      | 410 deleted  | 410 deleted    | 410 deleted    | 410 deleted  | 410 deleted   | 410 deleted
deleted-waiting    | 410 deleted  | 410 deleted    | 410 deleted    | 410 deleted  | 410 deleted   | 410 deleted
deleted-freed      | 404 absent   | 404 absent     | 404 absent     | 404 absent   | 404 absent    | 404 absent
aside-yanked       | 404 aside    | 404 aside      | 1.0.0          | 404 aside    | 1.1.0 private | 1.1.0
aside-bytes        | 404 aside    | 404 aside      | 1.0.0          | 404 aside    | 1.1.0 private | 1.1.0
aside-stolen       | 404 aside    | 404 aside      | 1.0.0          | 404 aside    | 1.1.0 private | 1.1.0
aside-private      | 404 absent   | 404 absent     | 404 absent     | 404 aside    | 1.1.0 private | 1.1.0
aside-gated        | 401 gated    | 401 gated      | 401 gated      | 404 aside    | 1.1.0 private | 1.1.0
aside-deleted      | 410 deleted  | 410 deleted    | 410 deleted    | 410 deleted  | 410 deleted   | 410 deleted
yanked-stolen      | 1.1.0 asked  | 410 key-stolen | 410 key-stolen | 1.1.0        | 1.1.0 asked   | 1.1.0
yanked-private     | 404 absent   | 404 absent     | 404 absent     | 1.1.0        | 1.1.0 private | 1.1.0
yanked-deleted     | 410 deleted  | 410 deleted    | 410 deleted    | 410 deleted  | 410 deleted   | 410 deleted
commit-stolen      | 1.1.0 asked  | 410 key-stolen | 410 key-stolen | 1.1.0        | 1.1.0 asked   | 1.1.0
bytes-stolen       | 1.1.0 asked  | 410 key-stolen | 410 key-stolen | 1.1.0        | 1.1.0 asked   | 1.1.0
bytes-gated        | 401 gated    | 401 gated      | 401 gated      | 1.1.0        | 1.1.0 private | 1.1.0
bytes-disabled     | 403 disabled | 403 disabled   | 403 disabled   | 403 disabled | 403 disabled  | 1.1.0
bytes-deleted      | 410 deleted  | 410 deleted    | 410 deleted    | 410 deleted  | 410 deleted   | 410 deleted
private-deleted    | 404 absent   | 404 absent     | 404 absent     | 410 deleted  | 410 deleted   | 410 deleted
stolen-deleted     | 410 deleted  | 410 deleted    | 410 deleted    | 410 deleted  | 410 deleted   | 410 deleted
""",
    # The version that lists show, by reader; what the namespace's ledger counts; the state for the operator.
    "LISTED": """
state              | search | reader | publisher | front page | ledger            | repo list
none               | 1.1.0  | 1.1.0  | 1.1.0     | 1.1.0      | 1.0.0 1.1.0       | public
private            |        | 1.1.0  | 1.1.0     |            |                   | private
gated              | 1.1.0  | 1.1.0  | 1.1.0     | 1.1.0      |                   | gated
disabled           | 1.1.0  | 1.1.0  | 1.1.0     | 1.1.0      |                   | public
aside              | 1.0.0  | 1.0.0  | 1.0.0     | 1.0.0      | 1.0.0             | public
yanked             |        |        |           |            |                   | yanked
yanked-by-leaver   |        |        |           |            |                   | yanked
yanked-commit      |        |        |           |            |                   | yanked
yanked-by-operator |        |        |           |            |                   | yanked
yanked-by-both     |        |        |           |            |                   | yanked
yanked-below       | 1.2.0  | 1.2.0  | 1.2.0     | 1.2.0      | 1.0.0 1.1.0 1.2.0 | public
yanked-and-back    | 1.1.0  | 1.1.0  | 1.1.0     | 1.1.0      | 1.0.0 1.1.0       | public
bytes              |        |        |           |            |                   | yanked
bytes-by-operator  |        |        |           |            |                   | yanked
bytes-allowed      |        |        |           |            |                   | yanked
copy-by-lumc       | 1.1.0  | 1.1.0  | 1.1.0     | 1.1.0      | 1.0.0 1.1.0       | public
copy-by-operator   |        |        |           |            |                   | yanked
stolen             |        |        |           |            |                   | yanked
deleted-release    |        |        |           |            |                   | deleted
deleted-bytes      |        |        |           |            |                   | deleted
deleted-waiting    |        |        |           |            |                   | deleted
deleted-freed      |        |        |           |            |                   |
aside-yanked       | 1.0.0  | 1.0.0  | 1.0.0     | 1.0.0      | 1.0.0             | public
aside-bytes        | 1.0.0  | 1.0.0  | 1.0.0     | 1.0.0      | 1.0.0             | public
aside-stolen       | 1.0.0  | 1.0.0  | 1.0.0     | 1.0.0      | 1.0.0             | public
aside-private      |        | 1.0.0  | 1.0.0     |            |                   | private
aside-gated        | 1.0.0  | 1.0.0  | 1.0.0     | 1.0.0      |                   | gated
aside-deleted      |        |        |           |            |                   | deleted
yanked-stolen      |        |        |           |            |                   | yanked
yanked-private     |        |        |           |            |                   | yanked
yanked-deleted     |        |        |           |            |                   | deleted
commit-stolen      |        |        |           |            |                   | yanked
bytes-stolen       |        |        |           |            |                   | yanked
bytes-gated        |        |        |           |            |                   | yanked
bytes-disabled     |        |        |           |            |                   | yanked
bytes-deleted      |        |        |           |            |                   | deleted
private-deleted    |        |        |           |            |                   | deleted
stolen-deleted     |        |        |           |            |                   | deleted
""",
    # Facts of the page, of the commit's page, and of the model's own address; `!` is a version that is marked.
    "SHOWN": """
state              | page        | its mark  | of commit       | versions           | events | pub.aside | model
none               | 1.1.0       |           | 1.1.0           | 1.1.0 1.0.0        |        |           |
private            | 404 absent  |           | 404 absent      |                    |        |           |
gated              | 1.1.0       |           | 1.1.0           | 1.1.0 1.0.0        |        |           |
disabled           | 1.1.0       |           | 1.1.0           | 1.1.0 1.0.0        |        |           |
aside              | 1.0.0       |           | 404 aside       | 1.0.0              |        | 1.1.0     |
yanked             | 1.1.0       | rel/pub   | 1.1.0 rel/pub   | 1.1.0! 1.0.0       | 1      |           | rel/pub
yanked-by-leaver   | 1.1.0       | rel/pub   | 1.1.0 rel/pub   | 1.1.0! 1.0.0       | 1      |           | rel/pub
yanked-commit      | 1.1.0       | rel/pub   | 1.1.0 rel/pub   | 1.1.0! 1.0.0       | 1      |           | rel/pub
yanked-by-operator | 1.1.0       | rel/op    | 1.1.0 rel/op    | 1.1.0! 1.0.0       | 1      |           | rel/op
yanked-by-both     | 1.1.0       | rel/op    | 1.1.0 rel/op    | 1.1.0! 1.0.0       | 1      |           | rel/op
yanked-below       | 1.2.0       |           | 1.1.0 rel/op    | 1.2.0 1.1.0! 1.0.0 | 1      |           |
yanked-and-back    | 1.1.0       |           | 1.1.0           | 1.1.0 1.0.0        |        |           |
bytes              | 1.1.0       | bytes/pub | 1.1.0 bytes/pub | 1.1.0! 1.0.0       | 1      |           | bytes/pub
bytes-by-operator  | 1.1.0       | bytes/op  | 1.1.0 bytes/op  | 1.1.0! 1.0.0       | 1      |           | bytes/op
bytes-allowed      | 1.1.0       | rel/op    | 1.1.0 rel/op    | 1.1.0! 1.0.0       | 1      |           | rel/op
copy-by-lumc       | 1.1.0       |           | 1.1.0           | 1.1.0 1.0.0        |        |           |
copy-by-operator   | 1.1.0       | bytes/op  | 1.1.0 bytes/op  | 1.1.0! 1.0.0       | 1      |           | bytes/op
stolen             | refused     | rel/key   | refused rel/key | 1.1.0! 1.0.0       | 1      |           | rel/key
deleted-release    | 410 deleted |           | 410 deleted     |                    |        |           |
deleted-bytes      | 410 deleted |           | 410 deleted     |                    |        |           |
deleted-waiting    | 410 deleted |           | 410 deleted     |                    |        |           |
deleted-freed      | 404 absent  |           | 404 absent      |                    |        |           |
aside-yanked       | 1.0.0       |           | 404 aside       | 1.0.0              |        | 1.1.0     |
aside-bytes        | 1.0.0       |           | 404 aside       | 1.0.0              |        | 1.1.0     |
aside-stolen       | 1.0.0       |           | 404 aside       | 1.0.0              |        | 1.1.0     |
aside-private      | 404 absent  |           | 404 absent      |                    |        | 1.1.0     |
aside-gated        | 1.0.0       |           | 404 aside       | 1.0.0              |        | 1.1.0     |
aside-deleted      | 410 deleted |           | 410 deleted     |                    |        |           |
yanked-stolen      | refused     | rel/key   | refused rel/key | 1.1.0! 1.0.0       | 1      |           | rel/key
yanked-private     | 404 absent  |           | 404 absent      |                    |        |           |
yanked-deleted     | 410 deleted |           | 410 deleted     |                    |        |           |
commit-stolen      | refused     | rel/key   | refused rel/key | 1.1.0! 1.0.0       | 1      |           | rel/key
bytes-stolen       | refused     | rel/key   | refused rel/key | 1.1.0! 1.0.0       | 1      |           | rel/key
bytes-gated        | 1.1.0       | bytes/op  | 1.1.0 bytes/op  | 1.1.0! 1.0.0       | 1      |           | bytes/op
bytes-disabled     | 1.1.0       | bytes/op  | 1.1.0 bytes/op  | 1.1.0! 1.0.0       | 1      |           | bytes/op
bytes-deleted      | 410 deleted |           | 410 deleted     |                    |        |           |
private-deleted    | 404 absent  |           | 404 absent      |                    |        |           |
stolen-deleted     | 410 deleted |           | 410 deleted     |                    |        |           |
""",
    # The answer on the standing of a repository, whether the list has it, and the signed advisories on 1.1.0.
    "SAID": """
state              | status          | aside | tombstone   | in list | advisories
none               |                 |       |             | yes     |
private            | 404 absent      |       |             |         |
gated              |                 |       |             | yes     |
disabled           |                 |       |             | yes     |
aside              |                 | 1.1.0 |             | yes     |
yanked             | 1.1.0 rel/pub   |       |             |         | rel/pub
yanked-by-leaver   | 1.1.0 rel/pub   |       |             |         | rel/pub
yanked-commit      | 1.1.0 rel/pub   |       |             |         | rel/pub
yanked-by-operator | 1.1.0 rel/op    |       |             |         | rel/op
yanked-by-both     | 1.1.0 rel/op    |       |             |         | rel/op rel/pub
yanked-below       | 1.1.0 rel/op    |       |             | yes     | rel/op
yanked-and-back    |                 |       |             | yes     | -rel/op
bytes              | 1.1.0 bytes/pub |       |             |         | bytes/pub rel/pub
bytes-by-operator  | 1.1.0 bytes/op  |       |             |         | bytes/op rel/op
bytes-allowed      | 1.1.0 rel/op    |       |             |         | -bytes/op rel/op
copy-by-lumc       |                 |       |             | yes     |
copy-by-operator   | 1.1.0 bytes/op  |       |             |         |
stolen             | 1.1.0 rel/key   |       |             |         | rel/key
deleted-release    |                 |       | 1.0.0 1.1.0 |         | rel/op
deleted-bytes      |                 |       | 1.0.0 1.1.0 |         | bytes/op
deleted-waiting    |                 |       | 1.0.0 1.1.0 |         | bytes/op
deleted-freed      | 404 absent      |       |             |         | bytes/op
aside-yanked       | 1.1.0 rel/op    | 1.1.0 |             | yes     | rel/op
aside-bytes        | 1.1.0 bytes/op  | 1.1.0 |             | yes     | bytes/op rel/op
aside-stolen       | 1.1.0 rel/key   | 1.1.0 |             | yes     | rel/key
aside-private      | 404 absent      |       |             |         |
aside-gated        |                 | 1.1.0 |             | yes     |
aside-deleted      |                 |       | 1.0.0 1.1.0 |         | rel/op
yanked-stolen      | 1.1.0 rel/key   |       |             |         | rel/key rel/op
yanked-private     | 404 absent      |       |             |         | rel/op?
yanked-deleted     |                 |       | 1.0.0 1.1.0 |         | rel/op rel/pub
commit-stolen      | 1.1.0 rel/key   |       |             |         | rel/key rel/op
bytes-stolen       | 1.1.0 rel/key   |       |             |         | bytes/pub rel/key rel/pub
bytes-gated        | 1.1.0 bytes/op  |       |             |         | bytes/op rel/op
bytes-disabled     | 1.1.0 bytes/op  |       |             |         | bytes/op rel/op
bytes-deleted      |                 |       | 1.0.0 1.1.0 |         | bytes/pub rel/op rel/pub
private-deleted    | 404 absent      |       |             |         | bytes/op?
stolen-deleted     |                 |       | 1.0.0 1.1.0 |         | rel/key rel/op
""",
    # The versions whose embeddings an export, a mirror and a backup hold.
    "COPIED": """
state              | export            | mirror      | backup
none               | 1.0.0 1.1.0       | 1.0.0 1.1.0 | 1.0.0 1.1.0
private            |                   |             | 1.0.0 1.1.0
gated              |                   |             | 1.0.0 1.1.0
disabled           |                   |             | 1.0.0 1.1.0
aside              | 1.0.0             | 1.0.0       | 1.0.0 1.1.0
yanked             | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
yanked-by-leaver   | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
yanked-commit      | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
yanked-by-operator | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
yanked-by-both     | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
yanked-below       | 1.0.0 1.1.0 1.2.0 | 1.0.0 1.2.0 | 1.0.0 1.1.0 1.2.0
yanked-and-back    | 1.0.0 1.1.0       | 1.0.0 1.1.0 | 1.0.0 1.1.0
bytes              | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
bytes-by-operator  | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
bytes-allowed      | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
copy-by-lumc       | 1.0.0 1.1.0       | 1.0.0 1.1.0 | 1.0.0 1.1.0
copy-by-operator   | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
stolen             | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
deleted-release    |                   |             |
deleted-bytes      |                   |             |
deleted-waiting    |                   |             |
deleted-freed      |                   |             |
aside-yanked       | 1.0.0             | 1.0.0       | 1.0.0 1.1.0
aside-bytes        | 1.0.0             | 1.0.0       | 1.0.0 1.1.0
aside-stolen       | 1.0.0             | 1.0.0       | 1.0.0 1.1.0
aside-private      |                   |             | 1.0.0 1.1.0
aside-gated        |                   |             | 1.0.0 1.1.0
aside-deleted      |                   |             |
yanked-stolen      | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
yanked-private     |                   |             | 1.0.0 1.1.0
yanked-deleted     |                   |             |
commit-stolen      | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
bytes-stolen       | 1.0.0 1.1.0       |             | 1.0.0 1.1.0
bytes-gated        |                   |             | 1.0.0 1.1.0
bytes-disabled     |                   |             | 1.0.0 1.1.0
bytes-deleted      |                   |             |
private-deleted    |                   |             |
stolen-deleted     |                   |             |
""",
    # Other bytes as 1.1.0; these bytes as a later version, under another header, name, and namespace; a new version.
    "PUSHED": """
state              | number   | bytes     | header    | renamed   | by lumc   | next     | then main
none               | rollback | yes       | yes       | yes       | yes       | yes      | 1.4.0
private            | rollback | yes       | yes       | yes       | yes       | yes      | 404 absent
gated              | rollback | yes       | yes       | yes       | yes       | yes      | 401 gated
disabled           | disabled | disabled  | yes       | yes       | yes       | disabled | 403 disabled
aside              | rollback | aside     | aside     | aside     | aside     | yes      | 1.4.0
yanked             | rollback | yes       | yes       | yes       | yes       | yes      | 1.4.0
yanked-by-leaver   | rollback | yes       | yes       | yes       | yes       | yes      | 1.4.0
yanked-commit      | rollback | yes       | yes       | yes       | yes       | yes      | 1.4.0
yanked-by-operator | rollback | yes       | yes       | yes       | yes       | yes      | 1.4.0
yanked-by-both     | rollback | yes       | yes       | yes       | yes       | yes      | 1.4.0
yanked-below       | rollback | yes       | yes       | yes       | yes       | yes      | 1.4.0
yanked-and-back    | rollback | yes       | yes       | yes       | yes       | yes      | 1.4.0
bytes              | rollback | withdrawn | withdrawn | withdrawn | yes       | yes      | 1.4.0
bytes-by-operator  | rollback | withdrawn | withdrawn | withdrawn | withdrawn | yes      | 1.4.0
bytes-allowed      | rollback | yes       | yes       | yes       | yes       | yes      | 1.4.0
copy-by-lumc       | rollback | yes       | yes       | yes       | withdrawn | yes      | 1.4.0
copy-by-operator   | rollback | withdrawn | withdrawn | withdrawn | withdrawn | yes      | 1.4.0
stolen             | yes      | yes       | yes       | yes       | yes       | yes      | 1.4.0
deleted-release    | deleted  | deleted   | yes       | yes       | yes       | deleted  | 410 deleted
deleted-bytes      | deleted  | deleted   | withdrawn | withdrawn | withdrawn | deleted  | 410 deleted
deleted-waiting    | deleted  | deleted   | withdrawn | withdrawn | withdrawn | deleted  | 410 deleted
deleted-freed      | yes      | withdrawn | withdrawn | withdrawn | withdrawn | yes      | 1.4.0
aside-yanked       | rollback | aside     | aside     | aside     | aside     | yes      | 1.4.0
aside-bytes        | rollback | aside     | aside     | aside     | aside     | yes      | 1.4.0
aside-stolen       | yes      | aside     | aside     | aside     | aside     | yes      | 1.4.0
aside-private      | rollback | aside     | aside     | aside     | aside     | yes      | 404 absent
aside-gated        | rollback | aside     | aside     | aside     | aside     | yes      | 401 gated
aside-deleted      | deleted  | deleted   | yes       | yes       | yes       | deleted  | 410 deleted
yanked-stolen      | yes      | yes       | yes       | yes       | yes       | yes      | 1.4.0
yanked-private     | rollback | yes       | yes       | yes       | yes       | yes      | 404 absent
yanked-deleted     | deleted  | deleted   | yes       | yes       | yes       | deleted  | 410 deleted
commit-stolen      | yes      | yes       | yes       | yes       | yes       | yes      | 1.4.0
bytes-stolen       | yes      | withdrawn | withdrawn | withdrawn | yes       | yes      | 1.4.0
bytes-gated        | rollback | withdrawn | withdrawn | withdrawn | withdrawn | yes      | 401 gated
bytes-disabled     | disabled | disabled  | withdrawn | withdrawn | withdrawn | disabled | 403 disabled
bytes-deleted      | deleted  | deleted   | withdrawn | withdrawn | yes       | deleted  | 410 deleted
private-deleted    | deleted  | deleted   | withdrawn | withdrawn | withdrawn | deleted  | 404 absent
stolen-deleted     | deleted  | deleted   | yes       | yes       | yes       | deleted  | 410 deleted
""",
    # What undoes it, one after the other: a yank by its version and by its commit, of the publisher and the operator.
    # `1.9.0` are the other bytes that were pushed as 1.1.0.
    "UNDONE": """
state              | pub     | pub sha | lift | op  | op sha | allow | free | version      | advisories
none               | yank    | yank    | -    | -   | -      | -     | -    | 1.1.0        |
private            | yank    | yank    | -    | -   | -      | -     | -    | 404 absent   |
gated              | yank    | yank    | -    | -   | -      | -     | -    | 401 gated    |
disabled           | yank    | yank    | -    | -   | -      | -     | -    | 403 disabled |
aside              | yank    | yank    | yes  | -   | -      | -     | -    | 1.1.0        |
yanked             | yes     | yank    | -    | -   | -      | -     | -    | 1.1.0        | -rel/pub
yanked-by-leaver   | yes     | yank    | -    | -   | -      | -     | -    | 1.1.0        | -rel/pub
yanked-commit      | yank    | yes     | -    | -   | -      | -     | -    | 1.1.0        | -rel/pub
yanked-by-operator | role    | yank    | -    | yes | -      | -     | -    | 1.1.0        | -rel/op
yanked-by-both     | yes     | yank    | -    | yes | -      | -     | -    | 1.1.0        | -rel/op -rel/pub
yanked-below       | role    | yank    | -    | yes | -      | -     | -    | 1.1.0        | -rel/op
yanked-and-back    | yank    | yank    | -    | -   | -      | -     | -    | 1.1.0        | -rel/op
bytes              | yes     | yank    | -    | -   | -      | -     | -    | 1.1.0        | -bytes/pub -rel/pub
bytes-by-operator  | role    | yank    | -    | yes | -      | -     | -    | 1.1.0        | -bytes/op -rel/op
bytes-allowed      | role    | yank    | -    | yes | -      | -     | -    | 1.1.0        | -bytes/op -rel/op
copy-by-lumc       | yank    | yank    | -    | -   | -      | yes   | -    | 1.1.0        |
copy-by-operator   | yank    | yank    | -    | -   | -      | yes   | -    | 1.1.0        |
stolen             | yank    | yank    | -    | -   | -      | -     | -    | 1.9.0        | rel/key
deleted-release    | deleted | deleted | -    | -   | -      | -     | yes  | 404 absent   | rel/op
deleted-bytes      | deleted | deleted | -    | -   | -      | yes   | yes  | 404 absent   | -bytes/op
deleted-waiting    | deleted | deleted | -    | -   | -      | yes   | yes  | 404 absent   | -bytes/op
deleted-freed      | yank    | absent  | -    | -   | -      | yes   | -    | 1.9.0        | -bytes/op
aside-yanked       | role    | yank    | yes  | yes | -      | -     | -    | 1.1.0        | -rel/op
aside-bytes        | role    | yank    | yes  | yes | -      | -     | -    | 1.1.0        | -bytes/op -rel/op
aside-stolen       | yank    | yank    | -    | -   | -      | -     | -    | 1.9.0        | rel/key
aside-private      | yank    | yank    | yes  | -   | -      | -     | -    | 404 absent   |
aside-gated        | yank    | yank    | yes  | -   | -      | -     | -    | 401 gated    |
aside-deleted      | deleted | deleted | -    | -   | -      | -     | yes  | 404 absent   | rel/op
yanked-stolen      | role    | yank    | -    | yes | -      | -     | -    | 1.9.0        | -rel/op rel/key
yanked-private     | role    | yank    | -    | yes | -      | -     | -    | 404 absent   | -rel/op?
yanked-deleted     | deleted | deleted | -    | -   | -      | -     | yes  | 404 absent   | rel/op rel/pub
commit-stolen      | yank    | role    | -    | -   | yes    | -     | -    | 1.9.0        | -rel/op rel/key
bytes-stolen       | yes     | yank    | -    | -   | -      | -     | -    | 1.9.0        | -bytes/pub -rel/pub rel/key
bytes-gated        | role    | yank    | -    | yes | -      | -     | -    | 401 gated    | -bytes/op -rel/op
bytes-disabled     | role    | yank    | -    | yes | -      | -     | -    | 403 disabled | -bytes/op -rel/op
bytes-deleted      | deleted | deleted | -    | -   | -      | yes   | yes  | 404 absent   | -bytes/pub rel/op rel/pub
private-deleted    | deleted | deleted | -    | -   | -      | yes   | yes  | 404 absent   | -bytes/op?
stolen-deleted     | deleted | deleted | -    | -   | -      | -     | yes  | 404 absent   | rel/key rel/op
""",
}


def rows_of(table: str) -> dict[str, dict[str, str]]:
    """The rows of one table by their states, and in each the cells by their columns."""
    head, *lines = ([cell.strip() for cell in line.split("|")] for line in table.strip().splitlines())
    return {
        cells[0]: dict(zip(head[1:], [*cells[1:], *[""] * (len(head) - len(cells))], strict=True)) for cells in lines
    }


def test_the_table_has_a_row_for_each_state() -> None:
    assert all(list(rows_of(table)) == list(STATES) for table in TABLE.values())


@pytest.mark.parametrize("state", others_thorough(STATES, {state for state in STATES if "-" not in state}))
def test_every_way_to_look_at_it(world: World, state: str) -> None:
    look = Looked(world, state)
    ways = {
        "READ": look.read, "LISTED": look.listed, "SHOWN": look.page, "SAID": look.said, "COPIED": look.copied,
        "PUSHED": look.pushed, "UNDONE": look.undone,
    }  # fmt: skip
    seen = {way: ask() for way, ask in ways.items()}  # in this order: what is pushed and undone is looked at last
    assert seen == {way: rows_of(table)[state] for way, table in TABLE.items()}
