"""A client that others wrote reads our log: torchwood, with golang.org/x/mod/sumdb/tlog (`tile_reader/main.go`).

It is looked for in the folder EMBHUB_TILE_READER, which `.ci/tile-reader FOLDER` fills from Debian's packages.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from embhub.log import checkpoints, merkle, notes
from embhub.log.notes import VerifierKey
from embhub_registry.database import Connection
from embhub_registry.database.logs import log_rows
from embhub_registry.operation.background import log_keeping
from embhub_registry.storage import log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import log_witnesses, registry_log
from tests.support import logs, tools
from tests.support.servers import RunningRegistry, init_registry
from tests.support.statics import plain_server

PROGRAM = Path(os.environ.get("EMBHUB_TILE_READER") or "/absent") / "tile-reader"
WITNESS = logs.witness_key()
SIZES = [3, 4, 255, 256, 257, 511, 513, 600]
PARTIAL = SIZES[-1] - 512
pytestmark = [
    pytest.mark.thorough,
    tools.needs("tile-reader", found=PROGRAM.exists()),
]


@dataclass(frozen=True)
class Grown:
    """A registry's log, its checkpoints of earlier sizes as files, and policies that name its key."""

    registry: RunningRegistry
    older: list[Path]
    key: VerifierKey
    policy: Path

    @property
    def log(self) -> Path:
        return self.registry.folder / "log"

    def entries(self, end: int = SIZES[-1]) -> list[bytes]:
        with self.registry.opened() as opened:
            return [leaf for leaf, _ in log_rows.entries(opened.database.connection(), 0, end)]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *words], check=False, capture_output=True, text=True, timeout=240)


def grow(registry: Registry, size: int) -> None:
    """Entries by the sequencer until there are so many, and a checkpoint over them."""

    def add(db: Connection) -> None:
        for number in range(log_rows.size(db), size):
            log_entries.add(db, logs.make_leaf(number))

    registry.sequencer.run(add)
    registry_log.publish(registry)


def cosign(registry: Registry) -> None:
    newest = log_rows.newest(registry.database.connection())
    assert newest is not None
    note = notes.parse(newest.note)
    line = checkpoints.cosign(checkpoints.parse(note), by=WITNESS, time=int(time.time()))
    assert log_witnesses.take(registry, note.with_signatures([line])) == 1


def policy(file: Path, log: VerifierKey, *witnesses: VerifierKey) -> Path:
    """A file in the form of tlog-policy that asks for all these witnesses."""
    names = [f"w{number}" for number in range(len(witnesses))]
    lines = [f"log {log}", *(f"witness {name} {key}" for name, key in zip(names, witnesses, strict=True))]
    group = [f"group all-of-them all {' '.join(names)}", "quorum all-of-them"] if names else ["quorum none"]
    file.write_text("\n".join([*lines, *group, ""]))
    return file


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    folder = tmp_path_factory.mktemp("grown")
    registry, older = init_registry(folder), []
    registry.start()  # the first start adds an entry
    registry.stop()
    with registry.opened() as opened:
        key = opened.trust().keyring.log_key
        assert key is not None
        log_keeping.add_witness(opened, str(WITNESS.public), "")
        registry_log.publish(opened)
        for size in SIZES:
            cosign(opened)
            older.append(folder / f"older-{size}")
            shutil.copy(registry.folder / "log" / "checkpoint", older[-1])
            grow(opened, size)
        cosign(opened)
    yield Grown(registry, older, key, policy(folder / "policy", key, WITNESS.public))
    registry.stop()


@pytest.mark.parametrize("place", ["registry", "http.server", "folder", "export"])
def test_it_reads_every_entry_and_proves_each(grown: Grown, tmp_path: Path, place: str) -> None:
    """Full and partial tiles, a quorum of witnesses, inclusion of each entry, and consistency with earlier sizes."""
    with ExitStack() as stack:
        if place == "registry":
            grown.registry.start()
            stack.callback(grown.registry.stop)
            where = f"{grown.registry.url}/log"
        elif place == "export":
            grown.registry.run("export", "--static", tmp_path / "export")
            where = stack.enter_context(plain_server(tmp_path / "export")) + "/log"
        else:
            where = stack.enter_context(plain_server(grown.log)) if place == "http.server" else str(grown.log)
        done = run("log", grown.policy, where, "1", *grown.older)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["size"] == SIZES[-1]
    assert [base64.b64decode(entry) for entry in found["entries"]] == grown.entries()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tile/0/000", "entries: "), ("tile/0/001", "entries: "), (f"tile/0/002.p/{PARTIAL}", "entries: "),
        ("tile/1/000.p/2", "entries: "), ("tile/entries/000", "entries: hash mismatch"),
        (f"tile/entries/002.p/{PARTIAL}", "entries: hash mismatch"), ("checkpoint", "checkpoint: "),
    ],
)  # fmt: skip
def test_it_refuses_what_was_changed_or_is_not_there(grown: Grown, tmp_path: Path, name: str, reason: str) -> None:
    copy = Path(shutil.copytree(grown.log, tmp_path / "copy"))
    file, data = copy / name, bytearray((copy / name).read_bytes())
    data[40] ^= 1
    file.write_bytes(data)
    done = run("log", grown.policy, copy, "1")
    assert done.returncode == 1 and done.stderr.startswith(reason), done.stderr
    file.unlink()
    assert run("log", grown.policy, copy, "1").returncode == 1


def test_it_refuses_a_history_that_the_tiles_do_not_continue(grown: Grown, tmp_path: Path) -> None:
    """A second history under the log's own key, and a larger log than the one that is served."""
    with grown.registry.opened() as opened:
        signer = registry_log.key_of(opened)
    assert signer is not None
    whole = checkpoints.open_signed((grown.log / "checkpoint").read_bytes(), log=grown.key).checkpoint
    for size in (2, 256, 511, SIZES[-1], SIZES[-1] + 1):
        other = checkpoints.sign(replace(whole, size=size, root=b"r" * 32), by=signer)
        line = checkpoints.cosign(other.checkpoint, by=WITNESS, time=int(time.time()))
        (tmp_path / "other").write_bytes(other.note.with_signatures([line]).to_bytes())
        done = run("log", grown.policy, grown.log, "1", tmp_path / "other")
        assert done.returncode == 1 and done.stderr.startswith("consistency: "), (size, done.stderr)


def test_it_asks_for_the_log_s_key_and_the_quorum(grown: Grown, tmp_path: Path) -> None:
    other, absent = logs.log_key(grown.key.name, seed=9).public, logs.witness_key("absent.example.org", seed=9).public
    for asked in [
        policy(tmp_path / "log", other, WITNESS.public), policy(tmp_path / "two", grown.key, WITNESS.public, absent)
    ]:  # fmt: skip
        done = run("log", asked, grown.log, "1")
        assert done.returncode == 1 and done.stderr.startswith("checkpoint: "), done.stderr
    assert run("log", policy(tmp_path / "none", grown.key), grown.log, "50").returncode == 0


def test_it_accepts_our_proofs_and_no_others(grown: Grown, tmp_path: Path) -> None:
    """What `/log/proof` answers, as `pull` keeps it; for the entry before it, it is refused."""
    entries = grown.entries()
    proof, entry = tmp_path / "proof", tmp_path / "entry"
    with grown.registry.opened() as opened:
        for index in (0, 1, 255, 256, 511, 512, SIZES[-1] - 1):
            made = registry_log.prove(opened, merkle.leaf_hash(entries[index]))
            assert made is not None
            proof.write_bytes(made.to_bytes())
            entry.write_bytes(entries[index])
            assert run("proof", grown.policy, proof, entry).returncode == 0
            entry.write_bytes(entries[index - 1])
            assert run("proof", grown.policy, proof, entry).stderr.startswith("proof: "), index


def test_it_reads_a_log_of_three_levels(tmp_path: Path) -> None:
    registry = init_registry(tmp_path)
    with registry.opened() as opened:
        grow(opened, 65_700)
        key = opened.trust().keyring.log_key
    assert key is not None and (registry.folder / "log" / "tile" / "2" / "000.p" / "1").exists()
    done = run("log", policy(tmp_path / "policy", key), registry.folder / "log", "997")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["entries"]) == 65_700
