"""A site's connection in a process of its own: FLARE reads there what comes, and the images are elsewhere.

    python -m embhub.diffusion.studies.flare.relay KIT SITE FD

Over the descriptor FD it passes on each task, and gets the answer: messages of bytes, as `multiprocessing.connection`
has them. It ends when the process that started it does.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from embhub.diffusion.studies.flare import kits
from embhub.diffusion.studies.flare.kits import CarrierError
from embhub.study.tasks import MAX_BYTES

_MOST: Final = MAX_BYTES + 1_000


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

    Raises:
        CarrierError: FLARE is missing.
        ConfigError: no kit.
    """
    kits.check_installed()
    kits.read(kit)
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "embhub.diffusion.studies.flare.relay", str(kit.absolute()), site]
    with log.open("ab") as lines:
        process = subprocess.Popen(
            [*command, str(theirs.fileno())], stdin=subprocess.PIPE, stdout=lines, stderr=lines,
            pass_fds=[theirs.fileno()],
        )  # fmt: skip
    theirs.close()
    with Connection(ours.detach()) as connection:
        try:
            yield Relay(process, connection, log)
        finally:
            process.kill()
            process.wait()


def main(kit: str, site: str, descriptor: str) -> None:
    """Relay until whoever started this process closes its standard input, or ends."""
    from embhub.diffusion.studies.flare import network

    with Connection(int(descriptor)) as link:
        guard = threading.Lock()

        def answer(task: str, data: bytes) -> bytes:
            with guard:
                link.send_bytes(task.encode() + b"\n" + data)
                return link.recv_bytes(_MOST)

        with network.answering(Path(kit), site, answer), suppress(KeyboardInterrupt):
            sys.stdin.buffer.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
