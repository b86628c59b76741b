"""`audit export --follow`: every line once and in order, to a pipe or a syslog server, and on from where it stopped."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import ConfigError, UsageError
from embhub_registry.database import clock
from embhub_registry.operation.observability import audit_export, audit_following, syslog
from embhub_registry.storage.folder import Registry, create
from tests.support.quick import quick
from tests.support.servers import environment, run_here

# RFC 5424 section 6: PRI VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG
RFC5424 = re.compile(
    r"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32})"
    r" - (.*)",
    re.S,
)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = create(tmp_path / "hub", name="Test", url="http://127.0.0.1:1", audit="optional")
    for number in range(5):
        made.audit_log.write("event", what=number)
    yield made
    made.close()


def numbers(lines: list[str]) -> list[int]:
    return [json.loads(line)["number"] for line in lines]


def test_lines_that_come_later_follow_those_of_before(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also over a month's end, and with several new lines between two looks."""
    looks, seen = iter(range(100)), list[str]()

    def idle() -> bool:
        look = next(looks)
        if look == 1:
            monkeypatch.setattr(clock, "now", lambda: datetime.fromisoformat("2131-01-05T00:00:00+00:00"))
        if look < 4:
            registry.audit_log.write("later", look=look)
            registry.audit_log.write("later", look=look)
        return look == 6

    for line in audit_following.follow(registry, since=3, until=idle, pause=0):
        seen.append(line)
    assert numbers(seen) == list(range(3, 15))
    assert len(registry.audit_log.segments()) >= 1


def test_only_what_is_new_is_read(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, looks = list[int](), iter(range(100))
    real = audit_following._all

    def counted(registry: Registry, last: int) -> Iterator[tuple[int, str]]:
        whole.append(last)
        return real(registry, last)

    monkeypatch.setattr(audit_following, "_all", counted)

    def idle() -> bool:
        registry.audit_log.write("later")
        return next(looks) == 5

    assert len(list(audit_following.follow(registry, since=1, until=idle, pause=0))) >= 11
    assert len(whole) == 1


def test_a_position_resumes_after_a_stop(registry: Registry, tmp_path: Path) -> None:
    file, seen = tmp_path / "position", list[str]()
    for _ in range(2):
        audit_export.pass_on(registry, seen.append, since=1, following=False, syslog=None, position=file)
    assert numbers(seen) == [1, 2, 3, 4, 5, 6] and file.read_text() == "6\n"
    registry.audit_log.write("event")

    def fails(line: str) -> None:
        raise ConfigError("nobody there")

    with pytest.raises(ConfigError):
        audit_export.pass_on(registry, fails, since=1, following=False, syslog=None, position=file)
    audit_export.pass_on(registry, seen.append, since=1, following=False, syslog=None, position=file)
    assert numbers(seen) == [1, 2, 3, 4, 5, 6, 7]  # what nobody took comes again
    file.write_text("six")
    with pytest.raises(UsageError, match="position"):
        audit_export.pass_on(registry, seen.append, since=1, following=False, syslog=None, position=file)


@pytest.mark.thorough
def test_a_process_that_follows(registry: Registry) -> None:
    words = [sys.executable, "-m", "embhub_registry", "--dir", str(registry.folder), "audit", "export", "--follow"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        try:
            first = [process.stdout.readline() for _ in range(6)]
            registry.audit_log.write("later")
            later = process.stdout.readline()
        finally:
            process.terminate()
    assert numbers([*first, later]) == [1, 2, 3, 4, 5, 6, 7]


def receive_tcp(listening: socket.socket, said: list[str], connections: int) -> None:
    """Messages framed by octet counting; each connection but the last is closed after one message."""
    for turn in range(connections):
        taken, _ = listening.accept()
        with taken, taken.makefile("rb") as stream:
            while length := b"".join(iter(lambda: stream.read(1).strip(), b"")):
                said.append(stream.read(int(length)).decode())
                if turn < connections - 1:
                    break


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["udp", "unix", "tcp"])
def test_a_syslog_server_gets_every_line(registry: Registry, socket_folder: Path, kind: str) -> None:
    said = list[str]()
    registry.audit_log.write("refused", message="ä " + "x" * 2000)
    if kind == "tcp":
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            listener = threading.Thread(target=receive_tcp, args=(server, said, 1))
            listener.start()
            url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            run_here("--dir", registry.folder, "audit", "export", "--syslog", url)
            listener.join(20)
    else:
        family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as server:
            server.bind(str(socket_folder / "log") if kind == "unix" else ("127.0.0.1", 0))
            server.settimeout(20)
            url = f"unix://{socket_folder}/log" if kind == "unix" else f"udp://127.0.0.1:{server.getsockname()[1]}"
            run_here("--dir", registry.folder, "audit", "export", "--syslog", url)
            said = [server.recv(65536).decode() for _ in range(7)]
    parsed = [RFC5424.fullmatch(message) for message in said]
    assert [json.loads(match[7])["number"] for match in parsed if match] == [1, 2, 3, 4, 5, 6, 7]
    assert [match[7] for match in parsed if match] == list(audit_export.export(registry))
    assert parsed[0] and parsed[-1] and (parsed[0][1], parsed[-1][1]) == ("110", "108")  # log audit; info, warning
    assert (parsed[-1][4], parsed[-1][6]) == ("embhub-registry", "refused")


def test_a_server_that_went_away_is_connected_to_again(registry: Registry) -> None:
    said = list[str]()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        listener = threading.Thread(target=receive_tcp, args=(server, said, 2), daemon=True)
        listener.start()
        sender = syslog.Sender(f"tcp://127.0.0.1:{server.getsockname()[1]}", pause=0.01)
        for number in range(200):
            sender.send(json.dumps({"number": number, "event": "e", "time": "2026-11-21T00:00:00.000Z"}))
            if len(said) > 1:
                break
            time.sleep(0.005)
        sender.close()
        listener.join(20)
    assert len(said) >= 2


def test_a_server_that_is_not_there_is_named(registry: Registry, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    for url in (f"tcp://127.0.0.1:{port}", f"unix://{tmp_path}/none"):
        with pytest.raises(ConfigError, match="takes no messages"):
            syslog.Sender(url, pause=0).send("{}")


@pytest.mark.parametrize(
    "url",
    quick(
        ["", "http://x", "tcp://x:y"],
        thorough=["udp://", "tcp://x:70000", "unix://", "udp://a@b", "tcp://[::1", "tcp://x?y"],
    ),
)
def test_what_is_no_syslog_server(registry: Registry, url: str) -> None:
    done = run_here("--dir", registry.folder, "audit", "export", "--syslog", url or " ", check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "udp://" in done.stderr


@given(st.text(max_size=300), st.text(max_size=50))
def test_no_text_breaks_the_head_of_a_message(event: str, host: str) -> None:
    line = json.dumps({"event": event, "time": "2026-11-21T00:00:00.000Z", "number": 1})
    match = RFC5424.fullmatch(syslog.message(line, host=host, process=7).decode())
    assert match is not None and match[7] == line
