"""What `embhub log` does, round after round."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from embhub.client.log import log_memory, log_reader
from embhub.client.monitor import watching, witness
from embhub.client.monitor.watching import Progress, Watched
from embhub.client.monitor.witness import Witness
from embhub.errors import EmbhubError, RegistryError, UsageError, VerificationError
from embhub.log.errors import ForkedLogError
from embhub.log.notes import VerifierKey

UNKNOWN_ENTRY = 8
PROGRESS = 10  # seconds


def run(
    url: str, *, show: Callable[[Watched], None], key: Path | None, name: str, listen: str | None,
    namespace: str | None, accept: bool, every: float | None,
) -> int:  # fmt: skip
    """Look once, or round after round until an entry is unknown. Returns the exit code."""
    if accept and namespace is None:
        raise UsageError("--accept needs --namespace", "name the namespace whose entries are this site's own")
    log, trust = watching.find(url)
    own = _open(key, name, [log] if watching.is_confirmed(log, trust) else [])
    with _listening(own, listen, log.name):
        last: Watched | None = None
        while True:
            try:
                found = last = round_of(url, own, namespace, last)
                show(found)
                if accept:
                    watching.accept(found.unknown)
                if isinstance(found.refused, ForkedLogError):
                    raise found.refused
                if found.unexplained:
                    raise watching.unexplained(found.log, found.unexplained)
                if found.unknown and not accept:
                    return UNKNOWN_ENTRY
                if found.refused is not None:
                    raise found.refused
            except (RegistryError, VerificationError) as error:
                if every is None:
                    raise
                click.echo(f"{_weight(error)}: {error}", err=True)  # each round says it, until it is over
            if every is None:
                return 0
            time.sleep(every)


def describe(url: str) -> dict[str, Any]:
    """The newest checkpoint, and what this site remembers."""
    log, _ = watching.find(url)
    found = watching.fetch(watching.source_of(url), log)
    before = log_memory.recall(log)
    return {
        "log": str(log), "entries": found.size, "root": found.root.hex(), "remembered": before.size if before else None,
        "signatures": [line.name for line in found.note.signatures], "checkpoint": found.to_bytes().decode(),
    }  # fmt: skip


def verify_all(url: str, folder: Path | None) -> dict[str, Any]:
    """Read everything again."""
    log, trust = watching.find(url)
    source = log_reader.FolderLog(folder) if folder is not None else watching.source_of(url)
    copied = folder is not None or watching.is_copy(url)
    found = watching.look(
        source, log, trust, now=datetime.now(UTC), everything=True, is_copy=copied, progress=_progress()
    )
    return {"log": str(log), "entries": found.size, "verified": found.read, "witnesses": found.witnesses.text}


def round_of(url: str, own: Witness | None, namespace: str | None, last: Watched | None = None) -> Watched:
    """One look at the log with today's keyring; the witness `own` cosigns what was checked. Raises as `look`.

    `last` is the look before of this process.
    """
    said = watching.renew(url)
    log, trust = watching.find(url)
    if own is not None:  # who listens goes by the key of today: not by a retired one, and not by one nobody confirmed
        own.logs = {log.name: log} if watching.is_confirmed(log, trust) else {}
    source = watching.source_of(url)
    found = watching.look(
        source, log, trust, now=datetime.now(UTC), namespace=namespace, is_copy=watching.is_copy(url), after=last,
        progress=_progress(),
    )  # fmt: skip
    found = replace(found, keyring=(*found.keyring, *said, *watching.unconfirmed(trust, namespace)))
    if own is None:
        return found
    if not watching.is_confirmed(log, trust):
        error = VerificationError("nobody here confirmed the log's key", "embhub trust refresh")
        return replace(found, cosigned=f"not cosigned: {error.message} (`{error.hint}`)", refused=error)
    try:
        return replace(found, cosigned=watching.cosign(source, found.checkpoint, log, own, time=_now()))
    except RegistryError as error:  # what was found is shown first
        return replace(found, cosigned=error.message, refused=error)
    except ForkedLogError as error:
        return replace(found, cosigned=f"not cosigned: {error.message}", refused=error)


def _progress() -> Progress:
    """A line on stderr every ten seconds, for a log that takes longer to read."""
    said = time.monotonic()

    def show(read: int, size: int) -> None:
        nonlocal said
        if time.monotonic() - said >= PROGRESS:
            said = time.monotonic()
            click.echo(f"reading    {read:,} of {size:,} entries", err=True)

    return show


def _weight(error: EmbhubError) -> str:
    return "error" if isinstance(error, ForkedLogError) else "warning"


def _open(key: Path | None, name: str, known: Sequence[VerifierKey]) -> Witness | None:
    if key is None:
        return None
    if not key.exists() and not name:
        raise UsageError(f"there is no key {key}, and no --name for a new one", "such as --name witness.umcu.example")
    signer = witness.open_key(key, name=name)
    click.echo(f"witness    {signer.public}", err=True)
    return Witness(signer, {log.name: log for log in known})


@contextlib.contextmanager
def _listening(own: Witness | None, listen: str | None, origin: str) -> Iterator[None]:
    if listen is None:
        yield
        return
    host, _, port = listen.rpartition(":")
    if own is None or not host or not port.isdecimal():
        raise UsageError(f"cannot listen at {listen!r}", "give --listen HOST:PORT together with --cosign KEY")
    server = witness.serve(own, host.strip("[]"), int(port), clock=_now)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    click.echo(f"answering  add-checkpoint for {origin} at {host}:{server.server_port}", err=True)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
