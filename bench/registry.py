"""The registry beside other servers: `python -m bench.registry [--only …] [--quick] [--write]`.

What is counted is the CPU time of a server's processes, all of them (user and system, from /proc), while the same load
asks one server after the other, turn by turn. `--write` writes docs/benchmarks-registry.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np

from bench import load, machine, peers, registry_page, registry_search, start
from bench.load import Cost
from bench.measurement import Ratio, ratio
from bench.registry_page import Row, Section
from bench.storing import measure as measure_pushes
from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.client.hub import Hub
from embhub.release.files import EMBEDDING
from embhub_registry.database import Database, schema
from tests.support.releases import BASE, REPOSITORY, SITE, make_release
from tests.support.servers import RunningRegistry, running_registry

HEAD_GOAL = 20_000.0  # answers a CPU second
NGINX_GOAL, DOCKER_GOAL = 0.5, 10.0  # our answers a CPU second over theirs
PUSH_GOAL = 0.050  # CPU seconds of the server


@dataclass(frozen=True)
class Size:
    """How much is measured: `turns` of `seconds` an address, `pushes` a turn, `cards` and `queries` of the search."""

    name: str
    turns: int
    seconds: float
    pushes: int
    cards: int
    queries: int


FULL = Size("full", 7, 1.5, 10, registry_search.CARDS, 200)
QUICK = Size("quick", 3, 0.5, 3, 5_000, 40)
SMALLEST = Size("smallest", 1, 0.1, 1, 300, 5)


@dataclass(frozen=True)
class Arm:
    """One server and one request."""

    server: str
    port: int
    processes: list[int]
    request: bytes

    def turn(self, seconds: float) -> Cost:
        """One turn of it."""
        return load.measure(self.port, self.request, processes=self.processes, seconds=seconds)


def reading(size: Size) -> Section:
    """Files and JSON from one release of 200 kB, ours, nginx and docker-registry in turns."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        ours, token = stack.enter_context(_published(root))
        port = int(ours.url.rsplit(":", 1)[1])
        info, listed = f"/api/models/{REPOSITORY}", "/api/models?limit=20"
        file = f"/{REPOSITORY}/resolve/{ours.get(info).json()['sha']}/{EMBEDDING}"
        blob = ours.get(file).body
        served = {"blob": blob, "info.json": ours.get(info).body, "list.json": ours.get(listed).body}
        nginx = stack.enter_context(peers.nginx(root / "nginx", served))
        docker = stack.enter_context(peers.docker_registry(root / "docker", blob))
        assert ours.process is not None
        mine = load.family(ours.process.pid)

        def arm(method: str, path: str, headers: dict[str, str] | None = None) -> Arm:
            return Arm("embhub", port, mine, load.request(method, path, headers))

        def static(method: str, name: str) -> list[Arm]:
            return [] if nginx is None else [Arm("nginx", nginx.port, nginx.processes, load.request(method, name))]

        stored = [] if docker is None else [
            Arm("docker-registry", docker[0].port, docker[0].processes, load.request("GET", docker[1]))
        ]  # fmt: skip
        signed_in = {"Authorization": f"Bearer {token}"}
        rows = [
            *_rows(size, "HEAD of a file by commit", arm("HEAD", file), static("HEAD", "/blob"), least=HEAD_GOAL),
            *_rows(size, "HEAD of a file, with a token", arm("HEAD", file, signed_in), static("HEAD", "/blob")),
            *_rows(size, f"GET of a file of {len(blob):,} bytes", arm("GET", file), [*static("GET", "/blob"), *stored],
                   goals={"nginx": NGINX_GOAL, "docker-registry": DOCKER_GOAL}),
            *_rows(size, "JSON: a model", arm("GET", info), static("GET", "/info.json")),
            *_rows(size, "JSON: a list", arm("GET", listed), static("GET", "/list.json")),
        ]  # fmt: skip
    versions = [
        f"nginx {nginx.version}" if nginx else "nginx is not installed: not measured",
        f"docker-registry {docker[0].version}" if docker else "docker-registry is not installed: not measured",
    ]
    notes = (
        f"Peers: {', '.join(versions)}. nginx gives the same bytes as static files (sendfile), for JSON too; neither "
        "peer writes an access log, embhub does. A server's answers a CPU second are medians of the turns; the ratio "
        "is embhub's over the peer's, turn by turn.",
        f"{load.CONNECTIONS} connections, one request at a time on each, {size.turns} turns of {size.seconds:g} s.",
    )
    return Section("Reading", "answers a CPU second", rows, notes)


def pushing(size: Size) -> Section:
    """Whole signed releases through the client and the real commit address, with admission."""
    found = measure_pushes(turns=size.turns, pushes=size.pushes, with_mlflow=size is FULL)
    rows = [
        Row("a push of a release", f"{found.ours * 1000:.1f} ms", "goal alone", "", None,
            registry_page.held(found.ours < PUSH_GOAL, "under 50 ms")),
        Row("the same files copied and synced", f"{found.ours * 1000:.1f} ms", "plain copy",
            f"{found.copy * 1000:.2f} ms", found.over_copy, ""),
    ]  # fmt: skip
    notes = [f"{size.pushes} pushes a turn, {size.turns} turns; the ratio is embhub's CPU time over the peer's."]
    if found.mlflow is not None:
        rows.append(Row("the same files as artifacts", f"{found.ours * 1000:.1f} ms", f"mlflow {found.mlflow_version}",
                        f"{found.mlflow * 1000:.1f} ms", found.over_mlflow, ""))  # fmt: skip
        notes.append("mlflow's artifact server stores each file; it checks, signs and lists nothing.")
    else:
        notes.append("mlflow was not measured: a full run installs it in an environment of its own, where pip can.")
    return Section("Pushing", "the server's CPU time", rows, notes)


def searching(size: Size) -> Section:
    """Search in SQLite's FTS5, by `bench.registry_search`."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "registry.db")
        schema.migrate(database)
        registry_search.fill(database, size.cards)
        found = registry_search.measure(database.connection(), turns=size.queries)
        database.close()
    rows = [
        Row(one.what, f"{one.cpu * 1000:.2f} ms", "goal alone", "", None,
            registry_page.held(one.cpu < registry_search.GOAL, "under 10 ms"))
        for one in found
    ]  # fmt: skip
    return Section("Searching", "p50 of one core", rows, [f"{size.cards:,} cards, {size.queries} queries a row."])


def starting(size: Size) -> Section:
    """The command's own time."""
    found = start.measure(turns=size.turns)
    rows = [
        Row("`embhub --help`", f"{found.help * 1000:.0f} ms", "a bare click program", f"{found.bare * 1000:.0f} ms",
            found.helped, registry_page.held(found.helped.median <= start.HELP_GOAL, "at most 2.5 times")),
        Row("`embhub verify` of a folder", f"{found.verify * 1000:.0f} ms", "`embhub --help`",
            f"{found.help * 1000:.0f} ms", found.over_help,
            registry_page.held(found.over_help.median <= start.WHOLE_GOAL, "at most 2.5 times")),
        Row("the same", f"{found.verify * 1000:.0f} ms", "with scipy.stats and scipy.optimize imported",
            f"{found.heavy * 1000:.0f} ms", found.lighter, ""),
        Row("the same once its modules are loaded", f"{found.decision * 1000:.1f} ms", "goal alone", "", None,
            registry_page.held(found.decision <= start.VERIFY_GOAL, "at most 50 ms")),
        Row("`embhub verify`, with a privacy claim", f"{found.private * 1000:.0f} ms", "`embhub --help`",
            f"{found.help * 1000:.0f} ms", found.private_over_help, ""),
        Row("the interpreter alone", f"{found.python * 1000:.0f} ms", "goal alone", "", None, ""),
    ]  # fmt: skip
    return Section(
        "Starting",
        "CPU time of the process",
        rows,
        [
            f"{size.turns} turns, each a new process, its modules compiled as an installer does. The goal for "
            "`verify` as a whole process is 200 ms where help takes 80."
        ],
    )


SECTIONS: Mapping[str, Callable[[Size], Section]] = {
    "reading": reading, "pushing": pushing, "searching": searching, "starting": starting,
}  # fmt: skip


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.registry", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=tuple(SECTIONS), help="this part; may be given several times"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns: figures are rough")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-registry.md, from a whole run")
    asked = parser.parse_args()
    if asked.write and asked.only:
        parser.error("--write is for a whole run, without --only")
    size, facts, started = QUICK if asked.quick else FULL, machine.describe(), time.monotonic()
    sections = []
    for name in asked.only or SECTIONS:
        section = SECTIONS[name](size)
        print(registry_page.render([section]), flush=True)
        sections.append(section)
    if asked.write:
        registry_page.write(sections, facts, day=date.today(), size=size.name)
        print(f"written in {time.monotonic() - started:.0f} s to {registry_page.PAGE.name}")


def _rows(
    size: Size, what: str, ours: Arm, others: Sequence[Arm], *, least: float | None = None,
    goals: Mapping[str, float] | None = None,
) -> list[Row]:  # fmt: skip
    """A row a peer, or one without; arms take turns, and change who goes first."""
    arms = [ours, *others]
    rates: dict[str, list[float]] = {arm.server: [] for arm in arms}
    for turn in range(size.turns):
        for arm in arms if turn % 2 == 0 else reversed(arms):
            rates[arm.server].append(arm.turn(size.seconds).per_cpu_second)
    mine = rates["embhub"]
    shown = f"{median(mine):,.0f}"
    goal = "" if least is None else registry_page.held(median(mine) >= least, f"{least:,.0f}")
    if not others:
        return [Row(what, shown, "not measured", "", None, goal)]
    rows = []
    for other in others:
        beside: Ratio = ratio(mine, rates[other.server])
        wanted = (goals or {}).get(other.server)
        held = goal if wanted is None else registry_page.held(beside.median >= wanted, f"{wanted:g} times")
        rows.append(Row(what, shown, other.server, f"{median(rates[other.server]):,.0f}", beside, held))
    return rows


@contextmanager
def _published(root: Path) -> Iterator[tuple[RunningRegistry, str]]:
    with running_registry(root) as registry:
        registry.add_key(SITE, namespace=REPOSITORY.partition("/")[0])
        token = registry.add_user("alice", namespace=REPOSITORY.partition("/")[0])
        Hub(registry.url, token=token).push(make_release(artifact=large()), REPOSITORY)
        yield registry, token


def large() -> Embedding:
    """64 rows of 1,536 half-precision numbers: about 200 kB."""
    base = {**BASE, "encoders": {"text_encoder": {**BASE["encoders"]["text_encoder"], "dim": 1536}}}
    rows = np.random.default_rng(0).normal(size=(64, 1536)) * 0.05
    training = {"steps": 200, "learning_rate": 0.005}
    return embedding.build(
        {"emb_params": rows}, token="<cspca>", base=base, base_name="builtin", training=training, privacy="none"
    )


if __name__ == "__main__":
    main()
