"""A witness: it remembers the largest tree of each log, and cosigns what continues it (C2SP tlog-witness)."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from embhub.client.log import log_memory
from embhub.durable import write_atomic
from embhub.errors import ConfigError, RegistryError
from embhub.log import checkpoints, notes, witnessing
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import ForkedLogError, LogError, MalformedLogError
from embhub.log.notes import NoteSigner, SignatureLine, VerifierKey
from embhub.site.signing import note_keys

Answer = tuple[int, str, bytes]
PLAIN = "text/plain; charset=utf-8"
LONGEST = 20.0  # seconds that a connection may last, whatever comes over it
MOST_TRIES = 5  # of a round, while the log's own requests come in between
MOST_CALLERS = 16  # connections at a time; more are closed unanswered


def open_key(path: Path, *, name: str) -> NoteSigner:
    """The witness's key in a file, made where it is not there; its verifier key is beside it, in `FILE.vkey`.

    Raises:
        ConfigError: it cannot be read or written, or `name` is another one than it was made under.
    """
    beside = path.with_name(f"{path.name}.vkey")
    if not path.exists():
        signer = notes.signer(note_keys.make(path), name, kind=notes.COSIGNATURE)
        write_atomic(beside, f"{signer.public}\n".encode())
        return signer
    try:
        known = notes.parse_key(beside.read_text().strip())
    except (OSError, LogError, UnicodeDecodeError) as error:
        raise ConfigError(f"{beside} does not hold the key's public half: {error}", "restore it") from error
    signer = notes.signer(note_keys.load(path), known.name, kind=notes.COSIGNATURE)
    if signer.public != known or (name and name != known.name):
        raise ConfigError(f"{path} is the key of {known}", "give its own --name, or another key")
    return signer


@dataclass
class Witness:
    """Cosigns checkpoints of `logs`, by origin. One process at a time uses a home."""

    signer: NoteSigner
    logs: Mapping[str, VerifierKey]
    _one: threading.Lock = field(default_factory=threading.Lock)

    def cosign(
        self, signed: SignedCheckpoint, log: VerifierKey, *, prove: log_memory.Prove, time: int,
        prefix: log_memory.Prefix | None = None,
    ) -> SignatureLine:  # fmt: skip
        """Remember a checkpoint that was read, and cosign it.

        Raises:
            ForkedLogError: it is of another history than what was cosigned before, or smaller and not shown to be
                an earlier state of it.
            RegistryError: it is an earlier state, or nothing shows that it continues what was cosigned.
            MalformedLogError: what should show it is damaged.
        """
        for _ in range(MOST_TRIES):
            before = log_memory.recall(log, book=log_memory.WITNESS)
            # Asks the registry, and holds what it sent: callers of `add_checkpoint` do not wait for that.
            self._follow(log_memory.compare, signed, log, prove, prefix)
            with self._one:
                if log_memory.recall(log, book=log_memory.WITNESS) == before:
                    self._follow(log_memory.advance, signed, log, prove, prefix)
                    return self._keep(signed, log, time)
        raise RegistryError(f"{log.name} sends checkpoints all the time", "the next round tries again")

    def add_checkpoint(self, body: bytes, *, time: int) -> Answer:
        """What the call `add-checkpoint` answers: status, media type and body."""
        try:
            request = witnessing.parse(body)
            origin = checkpoints.parse(request.note).origin
        except MalformedLogError as error:
            return _refusal(400, error)
        log = self.logs.get(origin)
        if log is None:
            return 404, PLAIN, b"this witness does not know the log\n"
        try:
            signed = checkpoints.open_signed(request.note, log=log)
        except LogError as error:
            return _refusal(403, error)
        if request.old > signed.size:
            return 400, PLAIN, b"the old size is above the checkpoint's\n"
        return self._continue(signed, log, request, time=time)

    def checkpoint(self, place: str) -> bytes | None:
        """The checkpoint that was cosigned last, at the address of its log."""
        for log in self.logs.values():
            if witnessing.place_of(log.name) == place:
                kept = log_memory.recall(log, book=log_memory.WITNESS)
                return kept.to_bytes() if kept is not None else None
        return None

    def _continue(
        self, signed: SignedCheckpoint, log: VerifierKey, request: witnessing.Request, *, time: int
    ) -> Answer:
        def prove(first: int, second: int) -> Sequence[bytes]:  # noqa: ARG001  # the log sent it along
            return request.proof

        with self._one:
            before = log_memory.recall(log, book=log_memory.WITNESS)
            if request.old != (before.size if before is not None else 0):
                return 409, witnessing.TREE_SIZE, b"%d\n" % (before.size if before is not None else 0)
            if request.proof and request.old in (0, signed.size):
                return 422, PLAIN, b"a proof is sent where none is needed\n"
            try:
                log_memory.advance(log, signed, prove=prove, book=log_memory.WITNESS)
            except (ForkedLogError, MalformedLogError) as error:
                return _refusal(422, error)
            return 200, PLAIN, str(self._keep(signed, log, time)).encode()

    def _follow(
        self, step: Callable[..., object], signed: SignedCheckpoint, log: VerifierKey, prove: log_memory.Prove,
        prefix: log_memory.Prefix | None,
    ) -> None:  # fmt: skip
        """Compare, or advance, the memory; raises as `cosign`."""
        before = log_memory.recall(log, book=log_memory.WITNESS)
        known = before.size if before is not None else 0
        text = f"{log.name} shows {signed.size:,} entries, and {known:,} were cosigned before"
        try:
            step(log, signed, prove=prove, prefix=prefix, book=log_memory.WITNESS)
        except (RegistryError, MalformedLogError) as error:
            if known <= signed.size:
                raise
            raise ForkedLogError(text, error.message) from error
        if known > signed.size:
            raise RegistryError(f"{text}, of the same history", "an old answer, perhaps of a cache: ask again")

    def _keep(self, signed: SignedCheckpoint, log: VerifierKey, time: int) -> SignatureLine:
        """Cosign, and keep the checkpoint with the cosignature: durable before anybody sees it."""
        line = checkpoints.cosign(signed.checkpoint, by=self.signer, time=time)
        others = [held for held in signed.note.signatures if held.is_by(log)]
        note = notes.Note(signed.note.text, (*others, line))
        log_memory.advance(log, SignedCheckpoint(signed.checkpoint, note), prove=_none, book=log_memory.WITNESS)
        return line


def _none(first: int, second: int) -> Sequence[bytes]:  # noqa: ARG001  # the size is the one remembered
    return ()


class _Server(ThreadingHTTPServer):
    """A few callers at a time, and none of them for long."""

    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[Any, float] = {}
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= MOST_CALLERS:
            self.shutdown_request(request)
            return
        self._open[request] = time.monotonic() + LONGEST
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called about twice a second: end what lasts too long. Its own thread then ends, and closes it."""
        now = time.monotonic()
        for request, until in list(self._open.items()):
            if now > until:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing where the caller went away: that is no fault of this program."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _length(text: str) -> int | None:
    """The length of a request that may be read; None of any other."""
    length = int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else witnessing.MAX_BYTES + 1
    return length if length <= witnessing.MAX_BYTES else None


def serve(witness: Witness, host: str, port: int, *, clock: Callable[[], int]) -> ThreadingHTTPServer:
    """A server of the witness's two addresses, bound and not yet answering: `serve_forever` does.

    Raises:
        ConfigError: the address cannot be bound.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = LONGEST
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = _length(self.headers.get("Content-Length", ""))
            if self.path != witnessing.PATH or length is None:
                self.close_connection = True
                return self._send((404 if self.path != witnessing.PATH else 400, PLAIN, b"not a request\n"))
            return self._send(witness.add_checkpoint(self.rfile.read(length), time=clock()))

        def do_GET(self) -> None:
            found = witness.checkpoint(self.path.removeprefix("/"))
            self._send((404, PLAIN, b"not known\n") if found is None else (200, PLAIN, found))

        def _send(self, answer: Answer) -> None:
            status, kind, body = answer
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the caller says what matters."""

    try:
        return _Server((host, port), Handler)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", "choose another --listen") from error


def _refusal(status: int, error: LogError) -> Answer:
    return status, PLAIN, f"{error.message}\n".encode("utf-8", "replace")
