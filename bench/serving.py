"""One version of the registry's server beside another: `python -m bench.serving --before COMMIT [--write]`.

Each serves a registry with the same release, which it made itself, and is asked turn by turn in one run, alone and
behind nginx. `--write` writes the page of that commit: docs/benchmarks-serving.md for the one before ADR 0019, and
docs/benchmarks-serving-goal.md for the one that the goal of requests with a token names.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

from bench import load, machine
from bench.load import Cost
from bench.measurement import Ratio, ratio
from bench.peers import running
from embhub.release.files import EMBEDDING
from tests.support.releases import REPOSITORY
from tests.support.servers import free_port

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks-serving.md"
TURNS, SECONDS = 7, 1.5
# What the measurement cannot be under: TLS (the load speaks none), and limits that would stop the load itself.
UNMEASURED = re.compile(r"(?m)^.*(\[::\]|ssl_|limit_(req|conn)|listen 80;|Strict-Transport).*\n")
GOAL_COMMIT, GOAL, WITH_TOKEN = "9e9af89", 5.0, "with a token"
GOAL_PAGE = ROOT / "docs" / "benchmarks-serving-goal.md"
INTRODUCTION = """# Serving before and after

What [ADR 0019](adr/0019-limits-in-the-proxy-and-a-response-cache.md) costs and saves: the registry's server before that
change and after it. Written by `python -m bench.serving --before COMMIT --write`, never by hand.
"""
GOAL_INTRODUCTION = f"""# Requests with a token, beside an earlier version

The goal is {GOAL:g} times what commit {GOAL_COMMIT} answers a CPU second, for requests with an access token. Written by
`python -m bench.serving --before {GOAL_COMMIT} --write`, never by hand.
"""
OPENING = """
Both servers ran at once, each with a registry of one audited release, its embedding {size:,} bytes. One request
was sent again and again over {lines} connections, one at a time on each, {turns} turns of {seconds:g} s. The servers
took turns, and changed who went first. "Behind nginx" means each version's own `registry/deploy/nginx.conf`, one
worker, without TLS and without the limits for one address, which would stop the load. CPU time is user and system
time of the registry's process, behind nginx nginx's too. Figures are medians of the turns. Ratios are after over
before, turn by turn: the median, and the least and the largest in brackets.

**Read the ratios of answers a CPU second.** The load shares the machine with the servers, and others were busy on it:
answers a second by the clock move with that.

"""


@dataclass
class Arm:
    """One server, one way to it, what it is asked, and what its turns cost."""

    port: int
    processes: list[int]
    requests: dict[str, bytes] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)

    def turn(self, what: str, seconds: float) -> None:
        """Ask for so long; once more where a page's "minutes ago" changed its length meanwhile."""
        request = self.requests[what]
        try:
            cost = load.measure(self.port, request, processes=self.processes, seconds=seconds)
        except RuntimeError:
            cost = load.measure(self.port, request, processes=self.processes, seconds=seconds)
        self.costs.append(cost)


@dataclass(frozen=True)
class Row:
    """One request on one way: answers a second by the clock, and a CPU second, before and after."""

    what: str
    way: str
    clock: tuple[float, float]
    cpu: tuple[float, float]
    clock_ratio: Ratio
    cpu_ratio: Ratio


def measure(before: Path, after: Path, *, turns: int = TURNS, seconds: float = SECONDS) -> tuple[list[Row], int]:
    """Every request on every way, from the sources in two folders; also the embedding's size in bytes."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root, size = Path(folder), 0
        ways: dict[str, dict[str, Arm]] = {"alone": {}, "behind nginx": {}}
        for name, tree in (("before", before), ("after", after)):
            commit, token, size = _publish(root / name, tree)
            alone = stack.enter_context(_served(tree, root / name / "registry"))
            alone.requests.update(_requests(commit, token))
            ways["alone"][name] = alone
            proxied = stack.enter_context(_behind_nginx(tree, alone, root / f"nginx-{name}"))
            if proxied is not None:
                ways["behind nginx"][name] = proxied
        rows = [
            _row(what, way, arms, turns=turns, seconds=seconds)
            for what in ways["alone"]["after"].requests
            for way, arms in ways.items()
            if arms
        ]
        return rows, size


def _requests(commit: str, token: str) -> dict[str, bytes]:
    file, info, page = f"/{REPOSITORY}/resolve/{commit}/{EMBEDDING}", f"/api/models/{REPOSITORY}", f"/{REPOSITORY}"
    signed_in = {"Authorization": f"Bearer {token}"}
    return {
        "page of a model": load.request("GET", page, {"Accept": "text/html"}),
        "`/api/models/NS/NAME`": load.request("GET", info),
        "`/api/models/NS/NAME`, with a token": load.request("GET", info, signed_in),
        "download of a file": load.request("GET", file),
        "download of a file, with a token": load.request("GET", file, signed_in),
        "`HEAD` of a file": load.request("HEAD", file),
        "`HEAD` of a file, with a token": load.request("HEAD", file, signed_in),
    }


def render(rows: list[Row], goal: float | None = None) -> str:
    """The table; with a goal, a last column holds the CPU ratios of requests with a token against it."""
    heads = (
        "| request | way | answers a second: before | after | ratio | answers a CPU second: before | after | ratio |"
    )
    lines = [heads + (" goal |" if goal else ""), "|---" * (9 if goal else 8) + "|"]
    for row in rows:
        held = f"{goal:g}: {'met' if row.cpu_ratio.median >= goal else '**missed**'}" if goal else ""
        lines.append(
            f"| {row.what} | {row.way} | {row.clock[0]:,.0f} | {row.clock[1]:,.0f} | {row.clock_ratio} "
            f"| {row.cpu[0]:,.0f} | {row.cpu[1]:,.0f} | {row.cpu_ratio} |"
            + (f" {held if WITH_TOKEN in row.what else ''} |" if goal else "")
        )
    return "\n".join(lines) + "\n"


@contextmanager
def sources(commit: str) -> Iterator[Path]:
    """The tree of a commit of this repository, in a temporary folder."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.serving", description=__doc__)
    parser.add_argument("--before", required=True, metavar="COMMIT", help="the version to compare this tree with")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns: figures are rough")
    parser.add_argument("--write", action="store_true", help="write the commit's page, from a whole run")
    asked = parser.parse_args()
    if asked.write and asked.quick:
        parser.error("--write is for a whole run, without --quick")
    facts, (turns, seconds) = machine.describe(), (3, 0.5) if asked.quick else (TURNS, SECONDS)
    of_goal = asked.before == GOAL_COMMIT
    with sources(asked.before) as before:
        rows, size = measure(before, ROOT, turns=turns, seconds=seconds)
    table_of_rows = render(rows, GOAL if of_goal else None)
    print(table_of_rows)
    if asked.write:
        facts = {"measured on": f"{date.today():%Y-%m-%d}, before: commit {asked.before}", **facts}
        table = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
        how = OPENING.format(size=size, lines=load.CONNECTIONS, turns=turns, seconds=seconds)
        opening = f"{GOAL_INTRODUCTION if of_goal else INTRODUCTION}{how}"
        page = GOAL_PAGE if of_goal else PAGE
        page.write_text(f"{opening}| | |\n|---|---|\n{table}\n\n{table_of_rows}", encoding="utf-8")


def _row(what: str, way: str, arms: dict[str, Arm], *, turns: int, seconds: float) -> Row:
    for arm in arms.values():
        arm.costs.clear()
    for turn in range(turns):
        for arm in arms.values() if turn % 2 == 0 else reversed(arms.values()):
            arm.turn(what, seconds)
    before, after = arms["before"].costs, arms["after"].costs
    clocks = [[cost.answers / seconds for cost in costs] for costs in (before, after)]
    cpus = [[cost.per_cpu_second for cost in costs] for costs in (before, after)]
    return Row(
        what, way, (median(clocks[0]), median(clocks[1])), (median(cpus[0]), median(cpus[1])),
        ratio(clocks[1], clocks[0]), ratio(cpus[1], cpus[0]),
    )  # fmt: skip


def _publish(root: Path, tree: Path) -> tuple[str, str, int]:
    """A registry with one release, made by the sources in a folder; its commit, a token and the embedding's size."""
    root.mkdir()
    made = json.loads(
        subprocess.run(
            [sys.executable, "-P", str(ROOT / "bench/serving_publish.py"), str(root)],
            cwd=tree, env={**os.environ, "PYTHONPATH": f"{tree}:{tree / 'registry'}"}, capture_output=True, check=True,
        ).stdout
    )  # fmt: skip
    return made["commit"], made["token"], made["size"]


@contextmanager
def _served(tree: Path, home: Path) -> Iterator[Arm]:
    port = free_port()
    words = [sys.executable, "-m", "embhub_registry", "--dir", str(home), "serve", "--port", str(port)]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{tree}:{tree / 'registry'}"
    try:
        with running(words, port, cwd=tree) as process:
            yield Arm(port, load.family(process.pid))
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


@contextmanager
def _behind_nginx(tree: Path, registry: Arm, folder: Path) -> Iterator[Arm | None]:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        yield None
        return
    folder.mkdir()
    port = free_port()
    text = (tree / "registry/deploy/nginx.conf").read_text()
    text = re.sub(r"(?m)^server \{\n    listen 80;(?s:.*?)^\}\n", "", text)  # the redirect to TLS
    text = UNMEASURED.sub("", text.replace("listen 443 ssl http2;", f"listen 127.0.0.1:{port};"))
    text = text.replace("127.0.0.1:8642", f"127.0.0.1:{registry.port}").replace("hub.example.org", "_")
    temporary = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 512; }}\nhttp {{ access_log off; keepalive_requests 1000000000; {temporary}\n"
        f"{text}}}\n"
    )
    words = [program, "-e", f"{folder}/start.log", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(words, port) as process:
        yield Arm(port, [*load.family(process.pid), *registry.processes], registry.requests)


if __name__ == "__main__":
    main()
