"""A load on one HTTP server, and what it costs that server: answers, and CPU seconds of all its processes.

One request, sent again and again over some connections that stay open, one at a time on each. The generator shares the
machine with the server, but nothing of it is counted: user and system time come from /proc, the server's alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 16
PATIENCE = 30.0
START = 90.0


@dataclass(frozen=True)
class Cost:
    """A turn: how many whole answers, and the CPU seconds that the server needed for them."""

    answers: int
    cpu: float

    @property
    def per_cpu_second(self) -> float:
        """Answers that one core gives in a second."""
        return self.answers / max(self.cpu, 0.005)  # the clock's tick is 0.01 s


def measure(port: int, request: bytes, *, processes: list[int], seconds: float, status: int = 200) -> Cost:
    """Ask for `seconds`, count answers and CPU time.

    Raises:
        RuntimeError: an answer has another status, differs in length from the first, or does not come.
    """
    wanted = str(status).encode()
    size = _whole(port, request, wanted)
    before = cpu_seconds(processes)
    answers = _drive(port, request, wanted, size=size, seconds=seconds)
    return Cost(answers, cpu_seconds(processes) - before)


def request(method: str, path: str, headers: dict[str, str] | None = None) -> bytes:
    """A request's bytes, with what stock clients send along."""
    sent = {"Host": "127.0.0.1", "User-Agent": "bench", "Accept": "*/*", "Accept-Encoding": "identity"}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in (sent | (headers or {})).items())]
    return "\r\n".join([*lines, "", ""]).encode()


def cpu_seconds(processes: list[int]) -> float:
    """User and system time of these processes so far, from /proc/PID/stat (proc(5)), in ticks of mostly 0.01 s."""
    ticks = 0
    for pid in processes:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all below it."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in below for member in family(int(child)))]


@contextmanager
def running(words: Sequence[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on `port`; it and its children end with the block."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{words[0]} does not listen (exit code {process.poll()})")
            time.sleep(0.05)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask(port: int, request: bytes) -> tuple[bytes, bytes]:
    """One answer: its head and its body."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line:
        line.sendall(request)
        return _read(line, bodiless=request.startswith(b"HEAD "))


def _whole(port: int, request: bytes, status: bytes) -> int:
    """The length of the answer, head and body, after a few; servers warm up meanwhile."""
    size = 0
    for _ in range(3):
        head, body = ask(port, request)
        if head[9:12] != status:
            raise RuntimeError(f"the server answered {head.splitlines()[0]!r} to {request.splitlines()[0]!r}")
        size = len(head) + len(body)
    return size


def _read(line: socket.socket, *, bodiless: bool) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(line)
    head, end, body = data.partition(b"\r\n\r\n")
    fields = dict(row.lower().split(b": ", 1) for row in head.split(b"\r\n")[1:])
    wanted = 0 if bodiless else int(fields[b"content-length"])
    while len(body) < wanted:
        body += _some(line)
    return head + end, body


def _some(line: socket.socket) -> bytes:
    data = line.recv(1 << 20)
    if not data:
        raise RuntimeError("the server closed the line before its answer was whole")
    return data


def _drive(port: int, request: bytes, status: bytes, *, size: int, seconds: float) -> int:
    """Whole answers of `size` bytes each within `seconds`, those under way at the end included."""
    answers, buffer = 0, bytearray(1 << 20)
    with ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        lines: dict[int, socket.socket] = {}
        missing: dict[int, int] = {}
        for _ in range(CONNECTIONS):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            lines[line.fileno()], missing[line.fileno()] = line, size
            poll.register(line.fileno(), select.EPOLLIN)
            line.sendall(request)
        end = time.monotonic() + seconds
        while missing:
            ready = poll.poll(PATIENCE)
            if not ready:
                raise RuntimeError("the server gave no answer")
            more = time.monotonic() < end
            for number, _ in ready:
                got = lines[number].recv_into(buffer)
                if missing[number] == size and buffer[9:12] != status:
                    raise RuntimeError(f"the server answered {bytes(buffer[:30])!r}")
                missing[number] -= got
                if missing[number] < 0 or not got:
                    raise RuntimeError("an answer has another length than the first")
                if missing[number]:
                    continue
                answers += 1
                if more:
                    missing[number] = size
                    lines[number].send(request)
                else:
                    del missing[number]
                    poll.unregister(number)
    return answers
