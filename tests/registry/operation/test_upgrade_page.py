"""docs/how-to/upgrade-a-registry.md, followed line by line: the program of this tree, and one of a later release.

`systemctl`, `pip` and the paths are this test's; a schema of the test's PostgreSQL is the page's database.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub_registry.operation.doctor_checks import doctor
from tests.support import later_program, postgres, pushes
from tests.support.postgres import Server
from tests.support.replicas import Replicas, make_replicas
from tests.support.servers import RunningRegistry, environment, init_registry

PAGE = (Path(__file__).parents[3] / "docs/how-to/upgrade-a-registry.md").read_text()
DATA, BACKUPS = "/var/lib/embhub-registry", "/var/backups/embhub-registry"
DATABASE, URL = "postgresql://embhub@db.example.org/embhub", "http://127.0.0.1:8642"
NEW, OLD = "pip install --upgrade ./embhub ", "pip install ./embhub-before "
STEPS = {
    "rolls": "-- rolling: a table that only later programs know.\nCREATE TABLE later (id BIGINT PRIMARY KEY);\n",
    "stops": "-- stops: a column that older programs do not fill.\nCREATE TABLE later (id BIGINT PRIMARY KEY);\n",
}


def blocks(heading: str) -> list[list[str]]:
    """The blocks of a section, each as its lines that a reader types."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"```console\n(.*?)```", section, re.S)
    return [[line.removeprefix("$ ") for line in block.splitlines()] for block in found]


class Machine:
    """Who follows the page on a machine: what is installed there, and its server."""

    def __init__(self, here: RunningRegistry, folder: Path, *, address: str = "", server: Server | None = None) -> None:
        self.here, self.folder, self.address, self.server = here, folder, address, server
        self.is_new = False
        self.said = ""
        self.steps = folder / "steps"
        self.steps.mkdir(exist_ok=True)

    def follow(self, lines: list[str]) -> None:
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        line = line.replace(DATA, shlex.quote(str(self.here.folder))).replace(BACKUPS, shlex.quote(str(self.folder)))
        match shlex.split(line.removeprefix("sudo ")):
            case ["systemctl", verb, "embhub-registry"]:
                self._start() if verb == "start" else self.here.stop()
            case ["/opt/embhub/bin/pip", *_]:
                assert (NEW in line) != (OLD in line)
                self.is_new = NEW in line
            case ["curl", "--fail", address]:
                with urllib.request.urlopen(address.replace(URL, self.here.url), timeout=20) as answer:
                    assert answer.status == 200
            case ["/opt/embhub/bin/embhub-registry" | "embhub-registry", *words]:
                program = ["tests.support.later_program", str(self.steps)] if self.is_new else ["embhub_registry"]
                self._run([sys.executable, "-m", *program, "--dir", str(self.here.folder), *words])
            case ["chown", *_]:
                pass  # nobody here has that name
            case ["-u", "postgres", ("dropdb" | "createdb") as what, *_, "embhub"]:
                assert self.server is not None
                verb = "DROP SCHEMA {} CASCADE" if what == "dropdb" else "CREATE SCHEMA {}"
                with self.server.connect() as db:
                    db.execute(verb.format(self._schema))
            case ["pg_dump", *words] if words[-1] == DATABASE:
                self._pg("pg_dump", *words[:-1], f"--schema={self._schema}")
            case ["pg_restore", target, file]:
                assert target == f"--dbname={DATABASE}"
                self._pg("pg_restore", file)
            case ["mv" | "cp", *_] as words:
                self._run(words)
            case words:
                raise AssertionError(f"who follows this page runs something unforeseen: {words}")

    @property
    def _schema(self) -> str:
        return self.address.rpartition("%3D")[2]

    def _pg(self, program: str, *words: str) -> None:
        assert self.server is not None
        more = [f"--dbname={self.server.address}", "--no-owner"]
        if program == "pg_restore":  # the schema was made again already, as the database on the page
            listed = subprocess.run(
                [postgres.programs() / program, "--list", *words], cwd=self.folder, capture_output=True, text=True,  # type: ignore[operator]
                check=True,
            ).stdout  # fmt: skip
            (self.folder / "list").write_text(re.sub(r"(?m)^.* SCHEMA - .*\n", "", listed))
            more.append("--use-list=list")
        self._run([str(postgres.programs() / program), *more, *words])  # type: ignore[operator]

    def _run(self, words: list[str]) -> None:
        done = subprocess.run(
            words, cwd=self.folder, env=environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True,
            text=True, check=False, timeout=120,
        )  # fmt: skip
        self.said = done.stdout + done.stderr
        assert done.returncode == 0, (words, self.said)

    def _start(self) -> None:
        later_program.start(self.here, self.steps) if self.is_new else self.here.start()


def push(server: RunningRegistry, text: str, token: str) -> None:
    answer = pushes.commit(server, "radboud/notes", {"README.md": text.encode()}, token=token)
    assert answer.status == 200, answer.body


def commits(server: RunningRegistry, token: str) -> int:
    return len(server.get("/api/models/radboud/notes/commits/main", token=token).json())


def test_the_page_is_short() -> None:
    assert len(PAGE.split()) <= 720


@pytest.mark.slow
def test_one_server_up_and_back(tmp_path: Path) -> None:
    machine = Machine(init_registry(tmp_path), tmp_path)
    here = machine.here
    (machine.steps / "900_more.sql").write_text(STEPS["stops"])
    here.start()
    try:
        alice = here.add_user("alice", namespace="radboud")
        pushes.create(here, "notes", token=alice)
        push(here, "before", alice)
        stop, backup, install, check, start, look = blocks("One server")[0]
        machine.follow([stop, backup, install, check])
        assert "schema 3 → 900: stops all servers" in machine.said and "clean" in machine.said
        assert postgres.CHOSEN or list(here.folder.glob("registry.before-900.db"))
        machine.follow([start, look])
        assert "failed" not in machine.said
        before = commits(here, alice)
        push(here, "since", alice)
        here.stop()
        assert "was written by another release" in here.run("check", check=False).stderr
        for line in blocks("The way back: one server")[0]:
            machine.follow([line])
        assert commits(here, alice) == before, "the token is good, and what was stored since is lost"
        push(here, "again", alice)
        states = {one.check: one.state for one in doctor.examine(here.folder)}
        assert "failed" not in {
            states[name] for name in ("schema", "keys", "keyring", "timestamp", "folders", "address")
        }
    finally:
        here.stop(how=signal.SIGKILL)


@pytest.fixture
def replicas(tmp_path: Path, postgresql: Server) -> Iterator[Replicas]:
    made = make_replicas(tmp_path, postgresql, count=2)
    yield made
    made.stop()


def machines(replicas: Replicas, server: Server, kind: str) -> list[Machine]:
    """One for each server, all with the same release before them."""
    made = [Machine(one, one.folder.parent, address=replicas.address, server=server) for one in replicas.servers]
    for machine in made:
        (machine.steps / "900_more.sql").write_text(STEPS[kind])
    return made


@pytest.mark.thorough
@pytest.mark.slow
def test_several_servers_one_after_the_other_and_back(replicas: Replicas, postgresql: Server) -> None:
    both = machines(replicas, postgresql, "rolls")
    replicas.start()
    alice = replicas[0].add_user("alice", namespace="radboud")
    pushes.create(replicas[0], "notes", token=alice)
    for machine in both:
        (lines,) = blocks("Several servers, one after the other")
        machine.follow(lines)
        for server in replicas.servers:
            push(server, f"{machine.here.url} {server.url}", alice)
    assert commits(replicas[0], alice) == commits(replicas[1], alice)
    back = blocks("The way back: several servers")[1]
    for machine in both:
        machine.here.stop()
        machine.follow(back)
        push(machine.here, f"back {machine.here.url}", alice)


@pytest.mark.thorough
@pytest.mark.slow
def test_several_servers_and_a_step_that_stops_all_and_back(replicas: Replicas, postgresql: Server) -> None:
    both = machines(replicas, postgresql, "stops")
    replicas.start()
    alice = replicas[0].add_user("alice", namespace="radboud")
    pushes.create(replicas[0], "notes", token=alice)
    push(replicas[0], "before", alice)
    before = commits(replicas[1], alice)
    stop, one, others = blocks("Several servers, a step that stops all")
    both[0].follow(stop)
    with pytest.raises(AssertionError, match="stops all servers"):
        both[0].follow(one)
    assert replicas[1].get("/readyz").status == 200, "the one that was forgotten serves"
    (replicas[0].folder.parent / "before.dump").unlink()
    both[1].follow(stop)
    both[0].follow(one)
    both[1].follow(others)
    push(replicas[1], "since", alice)
    for machine in both:
        machine.follow(stop)
    first, rest = blocks("The way back: several servers")
    both[0].follow(first)
    both[1].follow(rest)
    assert [commits(server, alice) for server in replicas.servers] == [before, before]
    push(replicas[1], "again", alice)
