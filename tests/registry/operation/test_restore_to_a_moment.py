"""The page on point-in-time recovery, followed to the letter with Debian's PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire.hub import Hub
from embhub.release.files import Release
from tests.support import postgres, releases, servers, tools
from tests.support.servers import RunningRegistry
from tests.support.sites import Site

PAGE = (Path(__file__).parents[3] / "docs/how-to/restore-to-a-moment.md").read_text()
ROOT = Path(__file__).parents[3]
SECOND, THIRD = "radboud/second", "radboud/third"
ARCHIVING = "test ! -f ../archive/%f && cp %p ../archive/%f.part && mv ../archive/%f.part ../archive/%f"


def commands(heading: str) -> list[str]:
    """The lines of a section that a reader types."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", section, flags=re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


class Reader:
    """Somebody who follows the page: `sudo -u postgres` is the server's owner, systemd is this test."""

    def __init__(self, server: postgres.Server, running: RunningRegistry, variables: dict[str, str]) -> None:
        self.server, self.running, self.variables = server, running, variables
        self.said: dict[str, str] = {}
        self.defined: list[str] = []  # what their shell keeps: variables and functions

    def follow(self, line: str, *, fails: bool = False) -> str:
        match re.fullmatch(r"sudo systemctl (\w+) (\S+)", line):
            case None:
                return self._shell(line, fails=fails)
            case found if found[2] == "postgresql":
                self.server.start() if found[1] == "start" else self.server.stop(signal.SIGINT)
            case found:
                self.running.start() if found[1] == "start" else self.running.stop()
        return ""

    def _shell(self, line: str, *, fails: bool) -> str:
        as_owner = " ".join(postgres._as_owner())
        functions = (
            f'sudo() {{ shift 2; {as_owner} env PATH="$PATH" "$@"; }}\n'
            f'embhub-registry() {{ {sys.executable} -m embhub_registry "$@"; }}\n'
        )
        kept = "\n".join(self.defined)
        if re.match(r"[A-Z]+=|\w+\(\) ", line):
            self.defined.append(line)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{functions}{kept}\ncd /tmp\n{line}"],
            env=servers.environment() | {"PYTHONPATH": f"{ROOT}:{ROOT}/registry"} | self.variables,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, f"{line}\n{done.stdout}\n{done.stderr}"
        self.said[line] = done.stdout
        return done.stdout


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    tools.require("postgresql", found=postgres.programs() is not None)
    with postgres.running_server(archive_mode="on", wal_level="replica", archive_command=ARCHIVING) as made:
        for name in ("archive", "bases"):
            (made.folder / name).mkdir()
            owner = (made.folder / "data").stat()
            os.chown(made.folder / name, owner.st_uid, owner.st_gid)
        yield made


def begin(server: postgres.Server, tmp_path: Path) -> tuple[Reader, str]:
    """A registry that is served, its publisher's access token, and a reader whose variables are set."""
    url, folder = f"http://127.0.0.1:{servers.free_port()}", tmp_path / "registry"
    words = ("--database", server.new_schema(), "init", "--url", url, "--json")
    facts = json.loads(servers.run_here("--dir", folder, *words).stdout)
    running = RunningRegistry(folder, url, admin=facts["token"], root_fingerprint=facts["root_key"])
    running.start()
    programs = f"{postgres.programs()}:{Path(sys.executable).parent}"
    variables = {
        "HUB": str(folder), "COPY": str(tmp_path / "copy"), "BASES": str(server.folder / "bases"),
        "ARCHIVE": str(server.folder / "archive"), "PGDATA": str(server.folder / "data"), "PGUSER": "embhub",
        "PGHOST": str(server.folder), "PATH": f"{programs}:{os.environ['PATH']}", "PGDATABASE": "embhub",
    }  # fmt: skip
    running.add_key(releases.SITE, namespace="radboud")
    return Reader(server, running, variables), running.add_user("alice", namespace="radboud")


def make_history(reader: Reader, alice: str) -> Release:
    """A night's copy, a second repository, the moment; then the first one is deleted and a third one published.

    Returns:
        The first one's release.
    """
    hub, first = Hub(reader.running.url, token=alice), releases.make_release()
    hub.push(first, releases.REPOSITORY)
    *nightly, moment = commands("Keep what a restore needs")
    for line in nightly:
        reader.follow(line)
    (base,) = Path(reader.variables["BASES"]).iterdir()
    reader.variables["BASE"] = str(base)
    running = reader.running
    servers.run_here("--dir", running.folder, "setting", "set", "retention.deleted_days", "0")
    hub.push(releases.make_release(repository=SECOND, artifact=releases.make_embedding(seed=5)), SECOND)
    reader.variables["MOMENT"] = reader.follow(moment).strip()
    running.run("repo", "delete", releases.REPOSITORY, "--reason", "by mistake")
    hub.push(releases.make_release(repository=THIRD, artifact=releases.make_embedding(seed=6)), THIRD)
    with reader.server.connect() as db:
        db.execute("SELECT pg_switch_wal()")  # a busy server, or `archive_timeout`, does this
        wait_for_archive(db)
    running.get("/healthz")
    return first


def check_what_came_back(reader: Reader, alice: str, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both releases of the moment verify at a site; what came later is gone, tokens are revoked, nothing is amiss."""
    running = reader.running
    assert running.get("/api/whoami-v2", token=alice).status == 401, "every access token was revoked"
    assert running.get(f"/api/models/{THIRD}").status == 404, "what came after the moment is gone"
    Site(site, running.url, "").enter(monkeypatch)
    roots.add_root(running.url, fingerprint=running.root_fingerprint)
    for repository in (releases.REPOSITORY, SECOND):
        assert pulling.pull(repository).embedding.token
    running.stop()
    checked = servers.run_here("--dir", running.folder, "check").stdout
    assert checked.splitlines()[0].startswith("clean"), checked


@pytest.mark.thorough
def test_the_page_works_as_printed(
    server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """A repository is deleted by mistake, another is published after that; the registry goes back to before both."""
    reader, alice = begin(server, tmp_path)
    try:
        make_history(reader, alice)
        for line in commands("Go back"):
            reader.follow(line)
        check_what_came_back(reader, alice, tmp_path / "site", monkeypatch)
    finally:
        reader.running.stop()


def wait_for_archive(db: psycopg.Connection[tuple[object, ...]]) -> None:
    """Until the archiver has taken what was there at the call."""
    row = db.execute("SELECT pg_walfile_name(pg_current_wal_lsn() - 1)").fetchone()
    assert row is not None
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = db.execute("SELECT last_archived_wal FROM pg_stat_archiver").fetchone()
        if found is not None and found[0] is not None and str(found[0]) >= str(row[0]):
            return
        time.sleep(0.1)
    raise AssertionError("the archiver did not keep up")
