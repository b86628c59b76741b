"""A site's connection in a process of its own: FLARE reads there what comes, and the images are elsewhere.

    python -P -m embhub.diffusion.studies.flare.relay KIT SITE FD LOG

Over the descriptor FD it passes on each task, and gets the answer: messages of bytes, as `multiprocessing.connection`
has them. It ends when the process that started it does.

FLARE answers some messages by itself, however busy this machine is, and how soon would show when a site has computed.
So this process stands still while the site works (`Relay.still`).
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from embhub.diffusion.studies.flare import kits
from embhub.diffusion.studies.flare.kits import CarrierError
from embhub.study.tasks import MAX_BYTES

_MOST: Final = MAX_BYTES + 1_000
_MEMORY, _LOG = 8 << 30, 1_000_000
"""Bytes that a coordinator may fill here."""


class Relay:
    """The site's end of a relay: `task` waits for what the coordinator asks, `answer` sends back. See `started`."""

    def __init__(self, process: subprocess.Popen[bytes], ours: Connection, log: Path) -> None:
        self._process, self._ours, self._log = process, ours, log

    def task(self, seconds: float) -> tuple[str, bytes] | None:
        """The next task's name and data, or None where none came within some seconds.

        Raises:
            CarrierError: the relay has ended.
        """
        try:
            if not self._ours.poll(seconds):
                return None
            name, _, data = self._ours.recv_bytes(_MOST).partition(b"\n")
        except (OSError, EOFError) as error:
            raise CarrierError("the connection's process ended", f"its log is {self._log}") from error
        return name.decode(errors="replace"), data

    @contextmanager
    def still(self) -> Iterator[None]:
        """While this is open the relay's process is stopped: nobody gets a sign of life from it, soon or late."""
        self._process.send_signal(signal.SIGSTOP)
        with suppress(ChildProcessError):  # it has ended
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def answer(self, data: bytes) -> None:
        """Send back the answer to the last task.

        Raises:
            CarrierError: the relay has ended.
        """
        try:
            self._ours.send_bytes(data)
        except OSError as error:
            raise CarrierError("the connection's process ended", f"its log is {self._log}") from error


@contextmanager
def started(kit: Path, site: str, log: Path) -> Iterator[Relay]:
    """A relay as a process of its own, for as long as this is open; it writes to `log`.

    It sees a copy of the kit alone, and of Python's modules none in the working directory.

    Raises:
        CarrierError: FLARE is missing.
        ConfigError: no kit.
    """
    kits.check_installed()
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryDirectory(prefix="embhub-relay-") as room:
        kits.copy(kit, Path(room))
        root = kits.read(Path(room)).root
        module = "embhub.diffusion.studies.flare.relay"
        command = [sys.executable, "-P", "-m", module, room, site, str(theirs.fileno()), str(log.absolute())]
        # FLARE would also take a coordinator that any authority known to this machine vouches for.
        env = {**os.environ, "SSL_CERT_FILE": str(root), "SSL_CERT_DIR": str(root.with_name("none"))}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=room, env=env,
            pass_fds=[theirs.fileno()], process_group=0,
        )  # fmt: skip
        theirs.close()
        with Connection(ours.detach()) as connection:
            try:
                yield Relay(process, connection, log)
            finally:
                process.kill()
                process.wait()


class _Plain(logging.Formatter):
    """A liar's words are in FLARE's log: on a terminal they are to do nothing."""

    def format(self, record: logging.LogRecord) -> str:
        return ascii(super().format(record)[:2_000])


def _log_to(path: str) -> None:
    handler = RotatingFileHandler(path, maxBytes=_LOG, backupCount=1)
    handler.setFormatter(_Plain("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def main(kit: str, site: str, descriptor: str, log: str) -> None:
    """Relay until whoever started this process closes its standard input, or ends."""
    _log_to(log)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        from embhub.diffusion.studies.flare import network

        link, guard = Connection(int(descriptor)), threading.Lock()

        def answer(task: str, data: bytes) -> bytes:
            with guard:
                link.send_bytes(task.encode() + b"\n" + data)
                return link.recv_bytes(_MOST)

        with network.answering(Path(kit), site, answer), suppress(KeyboardInterrupt):
            sys.stdin.buffer.read()
            os._exit(0)  # FLARE's threads may wait for a coordinator that is silent
    except Exception:
        logging.exception("the connection ended")
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
