"""`embhub-registry` in a process of its own that need not import the program anew: forked from one that has.

A start of Python with everything that serves takes a second of processor time, a fork some milliseconds. One process
(`python -m tests.support.prestarted`) imports, has one thread, opens nothing, and forks at each request. What it forks
runs `embhub_registry.__main__.main` with the arguments, environment, folder and outputs that were asked for.
Starts of the real program: tests/registry/test_main.py, tests/registry/operation/test_stopping.py, `run_command`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

MOST_BYTES = 1 << 20  # of a request: arguments and environment


class Forked:
    """What was started, as `subprocess.Popen` shows it: `stdout` is a pipe, read as text."""

    def __init__(self, pid: int, stdout: int, ending: int) -> None:
        self.pid = pid
        self.stdout: io.TextIOWrapper | None = os.fdopen(stdout, "r")
        self.returncode: int | None = None
        self._ending = ending

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        if self.returncode is None and select.select([self._ending], [], [], 0)[0]:
            self._take()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended.

        Raises:
            TimeoutExpired: it still runs.
        """
        if self.returncode is None:
            if not select.select([self._ending], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("embhub-registry", timeout or 0.0)
            self._take()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal; none to one that has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended since
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _take(self) -> None:
        said = os.read(self._ending, 100)
        os.close(self._ending)
        assert said, "the process that forks has ended"
        self.returncode = os.waitstatus_to_exitcode(int(said))


def start(arguments: list[str], *, stderr: int, environment: Mapping[str, str]) -> Forked:
    """`embhub-registry ARGUMENTS`; its standard output is a pipe, its standard error the file `stderr`."""
    told = {"argv": arguments, "environment": dict(environment), "cwd": str(Path.cwd())}
    read, write = os.pipe()
    ending_read, ending_write = os.pipe()
    line = _forker()
    try:
        socket.send_fds(line, [json.dumps(told).encode()], [write, stderr, ending_write])
        pid = int(line.recv(100))
    finally:
        os.close(write)
        os.close(ending_write)
    return Forked(pid, read, ending_read)


@functools.cache
def _forker() -> socket.socket:
    """The line to this process's forker, which ends when the line is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_BYTES)
    words = [sys.executable, "-m", "tests.support.prestarted", str(theirs.fileno())]
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        words, pass_fds=[theirs.fileno()], cwd=Path(__file__).parents[2], env={**os.environ, **alone}
    )
    theirs.close()

    def close() -> None:
        ours.shutdown(socket.SHUT_RDWR)  # whoever else holds it
        ours.close()
        process.wait(timeout=30)

    atexit.register(close)
    return ours


def _import_all() -> None:
    import embhub_registry

    for module in pkgutil.walk_packages(embhub_registry.__path__, "embhub_registry."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError:  # an extra that is not installed
                continue
    importlib.import_module("embhub_registry.__main__")


def _serve(line: socket.socket) -> None:
    """Fork at each request until the line is closed, and say of each child how it ended."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    endings: dict[int, int] = {}
    while True:
        ready = select.select([line.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
        for pid, status in _ended(endings):
            ending = endings.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                os.write(ending, str(status).encode())
            os.close(ending)
        if line.fileno() not in ready:
            continue
        told, given, _, _ = socket.recv_fds(line, MOST_BYTES, 3)
        if not told:
            return
        stdout, stderr, ending = given
        if (pid := os.fork()) == 0:
            line.close()
            for number in (woken, wake, ending, *endings.values()):
                os.close(number)
            _become(json.loads(told), stdout, stderr)
        endings[pid] = ending
        os.close(stdout)
        os.close(stderr)
        line.send(str(pid).encode())


def _ended(endings: Mapping[int, int]) -> list[tuple[int, int]]:
    """Children that ended, and their wait statuses."""
    found = []
    for child in endings:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            found.append((pid, status))
    return found


def _become(told: Mapping[str, object], stdout: int, stderr: int) -> None:
    """In the child: run the program and end."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for number in (stdout, stderr):
        os.close(number)
    os.environ.clear()
    os.environ.update(told["environment"])  # type: ignore[call-overload]
    time.tzset()
    os.chdir(str(told["cwd"]))
    sys.argv = ["embhub-registry", *told["argv"]]  # type: ignore[misc]
    from embhub_registry.__main__ import main

    code = 1
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  # said where the program would say it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))
