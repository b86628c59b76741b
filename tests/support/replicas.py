"""Several servers over one PostgreSQL database, each with a folder of its own, as on machines."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from embhub.log import checkpoints, merkle, notes, tiles
from embhub.log.tiles import TileReader
from embhub_registry.operation import administration
from embhub_registry.operation.facts import sharing
from embhub_registry.storage.folder import create
from tests.support.postgres import Server
from tests.support.servers import RunningRegistry, free_port


@dataclass
class Replicas:
    """The servers; the first has the folder that `init` made, the others joined."""

    servers: list[RunningRegistry]
    address: str

    def __getitem__(self, number: int) -> RunningRegistry:
        return self.servers[number]

    def start(self, *numbers: int) -> None:
        """Start these, or all."""
        for number in numbers or range(len(self.servers)):
            self.servers[number].start()

    def stop(self) -> None:
        """End all that run, also those that are suspended."""
        for server in self.servers:
            if server.process is not None and server.process.poll() is None:
                server.process.send_signal(signal.SIGCONT)
                server.process.send_signal(signal.SIGTERM)
        for server in self.servers:
            server.stop()

    def kill(self, number: int) -> None:
        """kill -9."""
        self.servers[number].stop(how=signal.SIGKILL)

    def signs(self, postgresql: Server) -> int:
        """The number of the server that signs the log."""
        holder = self.holder(postgresql)
        for number, server in enumerate(self.servers):
            if server.process is not None and holder.startswith(f"process {server.process.pid} "):
                return number
        raise AssertionError(f"{holder} is none of them")

    def holder(self, postgresql: Server) -> str:
        """What the database says of the one that signs."""
        schema = self.address.rpartition("%3D")[2]
        with postgresql.connect() as db:
            row = db.execute(f"SELECT holder FROM {schema}.log_sequencer").fetchone()
            return str(row[0]) if row else ""


def make_replicas(folder: Path, postgresql: Server, *, count: int = 3, front: str | None = None) -> Replicas:
    """A registry that is shared, and the folders of its servers; none is started.

    `front` is the registry's address, if it is another than its first server's.
    """
    address = postgresql.new_schema()
    url = f"http://127.0.0.1:{free_port()}"
    first = folder / "0" / "registry"
    first.parent.mkdir(parents=True)
    made = create(first, name="Shared hub", url=front or url, audit="optional", database=address)
    try:
        admin = str(administration.add_user(made, "admin", namespace="registry", role="admin")["token"])
        sharing.share(made)
        root = made.setting("root_fingerprint")
    finally:
        made.close()
    servers = [RunningRegistry(first, url, admin=admin, root_fingerprint=root)]
    for number in range(1, count):
        place = folder / str(number) / "registry"
        place.parent.mkdir()
        sharing.join(place, address, keys_from=first / "keys")
        servers.append(RunningRegistry(place, f"http://127.0.0.1:{free_port()}", admin=admin, root_fingerprint=root))
    return Replicas(servers, address)


@dataclass
class LogWatcher:
    """Every checkpoint that any server showed; at the end they have to be of one tree."""

    seen: dict[int, bytes] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def look(self, server: RunningRegistry) -> int:
        """Fetch one; its size."""
        answer = server.get("/log/checkpoint")
        if answer.status != 200:
            return 0
        checkpoint = checkpoints.parse(notes.parse(answer.body))
        before = self.seen.setdefault(checkpoint.size, checkpoint.root)
        if before != checkpoint.root:
            self.wrong.append(f"two trees of {checkpoint.size} entries")
        return checkpoint.size

    @contextmanager
    def watching(self, servers: list[RunningRegistry], pause: float = 0.05) -> Iterator[None]:
        """Look at each of them again and again until the block ends."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(pause):
                for server in servers:
                    try:
                        self.look(server)
                    except OSError:
                        continue

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def check(self, server: RunningRegistry) -> list[bytes]:
        """All entries by what `server` serves; each checkpoint that was seen has to be proved a beginning of them."""
        assert self.wrong == []
        size, entries = self.look(server), []
        for tile in tiles.all_of(size):
            if tile.level is None:
                entries += tiles.split_entries(_tile(server, tile), tile.width)
        hashes = [merkle.leaf_hash(entry) for entry in entries]
        assert len(hashes) == size == len(set(hashes)), "every entry once"
        root = merkle.root_of(hashes)
        assert root == self.seen[size]
        reader = TileReader(size, lambda tile: _tile(server, tile))
        for earlier, known in sorted(self.seen.items()):
            proof = merkle.consistency_proof(earlier, size, reader.node)
            merkle.check_consistency(earlier, size, known, root, proof)
        return entries


def _tile(server: RunningRegistry, tile: tiles.Tile) -> bytes:
    answer = server.get(f"/log/{tile.path}")
    assert answer.status == 200, (tile.path, answer.body)
    return answer.body


def wait_for(what: str, until: float, is_so: object) -> float:
    """Wait until `is_so()` is true; the seconds that it took."""
    assert callable(is_so)
    began = time.monotonic()
    while time.monotonic() - began < until:
        if is_so():
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {until} s")


def suspend(server: RunningRegistry, *, how: int = signal.SIGSTOP) -> None:
    """Stop a process where it is, or let it go on."""
    assert server.process is not None
    os.kill(server.process.pid, how)
