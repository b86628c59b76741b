"""What comes over FLARE's cells from a machine that lies is dropped before FLARE reads on, and before a site hears."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nvflare")

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.stats_pool import StatsPoolManager

from embhub.diffusion.studies.flare import kits, network, relay
from embhub.study.tasks import MAX_BYTES
from tests.support import lying_site

SITES = ("north", "south")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    return kits.provision(tmp_path / "study", "localhost", port, SITES)


class Answering:
    """A site that answers in a thread of this process, by a relay in another; `heard` is what reached it."""

    def __init__(self, link: relay.Relay) -> None:
        self.heard, self._link, self._stop = list[tuple[str, bytes]](), link, threading.Event()
        self.states = list[str]()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            if (asked := self._link.task(0.05)) is not None:
                self.heard.append(asked)
                with self._link.still():
                    self.states.append(
                        Path(f"/proc/{self._link._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
                    )
                self._link.answer(b"answer to " + asked[1][:100])

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def answering(made: Path, site: str) -> Iterator[Answering]:
    with relay.started(made / site, site, made.parent / f"{site}.log") as link:
        found = Answering(link)
        try:
            yield found
        finally:
            found.end()


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """FLARE allows each name once in a process."""
    yield
    CoreCell.ALL_CELLS.clear()
    StatsPoolManager.pools.clear()


@contextmanager
def raw_server(made: Path, kit: str = "coordinator") -> Iterator[CoreCell]:
    """A server of FLARE without anything of ours, as a liar has it."""
    cell = lying_site.cell_of(made / kit, "server")
    cell.start()
    try:
        yield cell
    finally:
        cell.stop()


@contextmanager
def lying(kit: Path, name: str) -> Iterator[dict[str, Any]]:
    """A site that lies, in a process of its own, and what came of it."""
    command = [sys.executable, "-m", "tests.support.lying_site", str(kit), name]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


def wait_for(cell: CoreCell, site: str, seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while not cell.is_cell_connected(site) and time.monotonic() < until:
        time.sleep(0.1)
    return bool(cell.is_cell_connected(site))


def ask(
    cell: CoreCell, target: str, message: Message, channel: str = network.CHANNEL, topic: str = network.TOPIC
) -> Any:
    """The payload of what comes back, or None."""
    return cell.send_request(channel, topic, target, message, timeout=1.0).payload


def task(body: Any = b"x", **headers: Any) -> Message:
    return Message({network.NAME: "begin", **headers}, body)


def test_a_task_is_answered_and_nothing_else_that_a_lying_server_sends(made: Path) -> None:
    with answering(made, "north") as site, raw_server(made) as server:
        assert wait_for(server, "north")
        assert ask(server, "north", task(b"honest")) == b"answer to honest"
        assert site.states == ["T"], "its connection gives no sign of life while it works"
        del site.heard[:]
        lies = {
            "another topic": (task(), network.CHANNEL, "other"),
            "a channel of FLARE's own": (task(), "cellnet.channel", "bye"),
            "a question of FLARE's tools": (task(), "net_manager", "echo"),
            "an object": (task({"a": 1}), network.CHANNEL, network.TOPIC),
            "a name of two lines": (task(**{network.NAME: "a\nb"}), network.CHANNEL, network.TOPIC),
            "where to connect to": (task(**{MessageHeaderKey.CONN_URL: "tcp://x:1"}), network.CHANNEL, network.TOPIC),
        }
        for what, (message, channel, topic) in lies.items():
            assert ask(server, "north", message, channel, topic) is None, what
        big = task(bytes(MAX_BYTES + 1))
        assert ask(server, "north", big) is None
        assert site.heard == []
        assert ask(server, "north", task(b"honest")) == b"answer to honest"


def test_a_lying_site_reaches_no_other_site(made: Path) -> None:
    with network.listening(made / "coordinator", SITES) as coordinator, answering(made, "north") as site:
        assert wait_for(coordinator._cell, "north")
        with lying(made / "south", "south") as said:
            assert said["connected"] and set(said["back"]) == {"None"}
            assert site.heard == []
            assert coordinator.here() == ["north", "south"]
            assert coordinator.ask("begin", {"north": b"a", "south": b"b"}, 5) == {"north": b"answer to a"}
        assert site.heard == [("begin", b"a")]


def test_a_site_speaks_for_itself_alone_and_with_a_certificate_of_this_study(made: Path, tmp_path: Path) -> None:
    address = kits.read(made / "south")
    other = kits.provision(tmp_path / "other", address.host, address.port, SITES)
    with network.listening(made / "coordinator", SITES) as coordinator:
        for kit, name in ((made / "south", "north"), (other / "south", "south"), (made / "south", "server")):
            with lying(kit, name) as said:
                assert set(said["back"]) == {"None"} and coordinator.here() == [], (kit, name)


def test_a_site_connects_to_no_machine_but_the_coordinators(made: Path) -> None:
    """Another site's certificate is of the same study, and is no coordinator's."""
    with raw_server(made, "south") as liar, answering(made, "north") as site:
        assert not wait_for(liar, "north", 3) or ask(liar, "north", task()) is None
        assert site.heard == []


def test_no_other_authority_vouches_for_the_coordinator(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLARE would take one that this machine trusts, such as that of a hospital's proxy."""
    address = kits.read(made / "south")
    other = kits.read(kits.provision(tmp_path / "other", address.host, address.port, SITES) / "coordinator")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.root))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.certificate, other.key)
    with socket.create_server(("localhost", address.port)) as listening, answering(made, "north"):
        connection, _ = listening.accept()
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"), context.wrap_socket(connection, server_side=True) as liar:
            assert liar.recv(1), "what it says once it believes"


def test_nothing_in_the_working_directory_runs_at_a_site(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLARE looks for settings below it, which may name code, and Python for modules in it."""
    driver, ran = "import pathlib\npathlib.Path({!r}).touch()\n", tmp_path / "ran"
    (made / "north" / "drivers").mkdir()
    for path in (made / "north" / "drivers" / "zz_driver.py", made / "msgpack.py", made / "nvflare.py"):
        path.write_text(driver.format(str(ran)))
    (made / "north" / "comm_config.json").write_text(json.dumps({"comm_driver_path": "north/drivers:drivers"}))
    monkeypatch.chdir(made)
    with raw_server(made) as server, answering(Path(), "north"):
        assert wait_for(server, "north")
    assert not ran.exists()


def test_a_relay_ends_with_what_started_it(made: Path) -> None:
    with relay.started(made / "north", "north", made.parent / "log") as link:
        process = link._process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
        with pytest.raises(kits.CarrierError, match="ended"):
            link.task(1)
