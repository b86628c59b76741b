"""A witness that others wrote cosigns the registry's log: litewitness, of FiloSottile/torchwood.

It is looked for in the folder EMBHUB_LITEWITNESS, which `.ci/litewitness FOLDER` fills from Debian's packages.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from embhub.client.wire.http_client import RegistryClient, StatusError
from embhub.log import checkpoints, merkle, notes, policies, witnessing
from embhub.log.checkpoints import Checkpoint, Cosignature
from embhub.log.tiles import TileReader
from embhub_registry.database.logs import log_rows
from embhub_registry.operation.background import log_keeping
from embhub_registry.storage import folder, log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import log_witnesses, registry_log
from tests.support import logs, tools
from tests.support.servers import free_port

TOOLS = Path(os.environ.get("EMBHUB_LITEWITNESS") or "/absent")
NAME = "witness.example.org"
pytestmark = [tools.needs("litewitness", found=(TOOLS / "litewitness").exists()), tools.needs("ssh-agent")]


def run(*command: str | Path, **environment: str) -> str:
    return subprocess.run(
        [*map(str, command)], env={**os.environ, **environment}, check=True, capture_output=True, text=True, timeout=60
    ).stdout


@contextmanager
def running(*command: str | Path, until: Path) -> Iterator[None]:
    """A program that runs until the end, once the socket or file is there."""
    with subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                if until.exists():
                    break
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(
        tmp_path / "hub", name="Test", url="https://hub.example.org", audit="optional", online_keys=tmp_path / "online"
    )
    yield made
    made.close()


@pytest.fixture
def witness(registry: Registry, socket_folder: Path, tmp_path: Path) -> Iterator[tuple[notes.VerifierKey, str]]:
    """litewitness with a key in an OpenSSH agent, which knows our log and its Ed25519 key; its key and address."""
    log = registry.trust().keyring.log_key
    assert log is not None
    database, agent, port = tmp_path / "w.db", socket_folder / "agent", free_port()
    run(TOOLS / "witnessctl", "add-log", "-db", database, "-origin", log.name)
    run(TOOLS / "witnessctl", "add-key", "-db", database, "-origin", log.name, "-key", str(log))
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    fingerprint = run("ssh-keygen", "-lf", tmp_path / "key.pub").split()[1]
    options = ("-db", database, "-name", NAME, "-key", fingerprint, "-ssh-agent", agent, "-listen", f"127.0.0.1:{port}")
    with running("ssh-agent", "-D", "-a", agent, until=agent):
        run("ssh-add", "-q", tmp_path / "key", SSH_AUTH_SOCK=str(agent))
        with running(TOOLS / "litewitness", *options, until=tmp_path / "w.db"):
            yield key_of(tmp_path / "key.pub"), address(port)


def key_of(public: Path) -> notes.VerifierKey:
    """The witness's verifier key from OpenSSH's form of the public key: the last 32 bytes of the blob."""
    blob = notes.decode(public.read_text().split()[1], what="key")
    return notes.VerifierKey(NAME, notes.COSIGNATURE, blob[-32:])


def address(port: int) -> str:
    """Where it answers, once it does."""
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.05)
    return f"http://127.0.0.1:{port}"


def grow(registry: Registry, *numbers: int) -> None:
    for number in numbers:
        registry.sequencer.run(lambda db, number=number: log_entries.add(db, logs.make_leaf(number)))  # type: ignore[misc]
    registry_log.publish(registry)


def cosigned(registry: Registry, key: notes.VerifierKey) -> tuple[int, list[Cosignature]]:
    newest = log_rows.newest(registry.database.connection())
    assert newest is not None
    return newest.size, checkpoints.check_cosignatures(notes.parse(newest.note), [key])


def ask(registry: Registry) -> int:
    db = registry.database.connection()
    newest, (row,) = log_rows.newest(db), log_rows.witnesses(db)
    assert newest is not None
    return log_witnesses.ask(registry, row, newest)


def test_it_cosigns_our_log_as_it_grows(registry: Registry, witness: tuple[notes.VerifierKey, str]) -> None:
    key, url = witness
    grow(registry, 1, 2)
    log_keeping.add_witness(registry, str(key), url)
    for size in (3, 7, 300):
        grow(registry, *range(log_rows.size(registry.database.connection()), size))
        assert ask(registry) == 1
        reached, (found,) = cosigned(registry, key)
        assert reached == size and abs(found.time - time.time()) < 60
    policy = policies.parse(f"witness A {key}\nquorum A\n".encode())
    proof = registry_log.prove(registry, merkle.leaf_hash(logs.make_leaf(1).to_bytes()))
    assert proof is not None and policy.time_of(checkpoints.check_cosignatures(proof.note, [key])) is not None
    log_keeping.remove_witness(registry, str(key))  # and forget how far it is: it says so itself, with 409
    log_keeping.add_witness(registry, str(key), url)
    grow(registry, 1_000)
    assert ask(registry) == 1 and cosigned(registry, key)[0] == 301


def test_it_refuses_what_ours_refuses(registry: Registry, witness: tuple[notes.VerifierKey, str]) -> None:
    """A rewrite signed by the log's own key, another log, and a proof that leads elsewhere."""
    key, url = witness
    grow(registry, 1, 2, 3, 4)
    log_keeping.add_witness(registry, str(key), url)
    assert ask(registry) == 1
    signer, files = registry_log.key_of(registry), registry_log.files_of(registry)
    assert signer is not None
    proof = merkle.consistency_proof(3, 5, TileReader(5, files.read).node)
    other = checkpoints.sign(Checkpoint("other.example.org", 9, b"r" * 32), by=logs.log_key("other.example.org"))
    fork = checkpoints.sign(Checkpoint(signer.public.name, 9, b"r" * 32), by=signer)
    same = checkpoints.sign(Checkpoint(signer.public.name, 5, b"r" * 32), by=signer)
    forged = notes.Note(fork.note.text, other.note.signatures)
    for status, old, hashes, note in [
        (404, 0, (), other.note), (403, 5, proof, forged), (422, 5, proof, fork.note), (422, 5, (), fork.note),
        (422, 5, (), same.note), (409, 4, proof, fork.note), (400, 10, (), fork.note),
    ]:  # fmt: skip
        with pytest.raises(StatusError) as caught:
            body = witnessing.make(old, hashes, note).to_bytes()
            RegistryClient(url, None).read(witnessing.PATH, limit=witnessing.MAX_BYTES, method="POST", body=body)
        assert caught.value.status == status, note.text
