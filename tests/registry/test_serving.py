"""The server as a process: one a folder, seen by operators' commands, gone at SIGTERM, patient with nobody."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.quick import quick
from tests.support.servers import RunningRegistry, environment, init_registry, run_command


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> RunningRegistry:
    return init_registry(tmp_path_factory.mktemp("serving"))


def test_the_life_of_a_server(registry: RunningRegistry) -> None:
    registry.start()
    try:
        second = registry.run("serve", "--port", "0", check=False)
        assert second.returncode == 7 and "in use by process" in second.stderr and "hint:" in second.stderr
        check = registry.run("check", check=False)
        assert check.returncode == 7 and "Traceback" not in check.stderr
        idle = socket.create_connection(("127.0.0.1", int(registry.url.rsplit(":", 1)[1])))
        token = registry.add_user("late", namespace="lumc")
        assert registry.get("/api/whoami-v2", token=token).json()["name"] == "late"
        started = time.monotonic()
        assert registry.stop() == 0
        assert time.monotonic() - started < 10, "an idle connection does not hold a server back"
        idle.close()
    finally:
        registry.stop()
    assert registry.run("check").returncode == 0
    for line in registry.log.read_text().splitlines():
        assert json.loads(line)["event"]


@pytest.mark.thorough
def test_a_free_port_is_printed(registry: RunningRegistry) -> None:
    command = [sys.executable, "-m", "embhub_registry", "--dir", str(registry.folder), "serve", "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment())
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        port = int(url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert b"200 OK" in line.recv(1000)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        process.stdout.close()
    finally:
        process.kill()


def test_a_registry_whose_address_is_on_this_machine_listens_there(registry: RunningRegistry) -> None:
    command = [sys.executable, "-m", "embhub_registry", "--dir", str(registry.folder), "serve", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["url"] == registry.url
        assert registry.get("/healthz").status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("host", "warned"), quick([("0.0.0.0", True)], thorough=[("127.0.0.1", False)])
)  # to be warned
def test_a_server_that_other_machines_reach_says_that_it_needs_a_proxy(
    registry: RunningRegistry, host: str, warned: bool
) -> None:
    command = [sys.executable, "-m", "embhub_registry", "--dir", str(registry.folder), "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--host", host], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None and "serving at" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=20)
    lines = [json.loads(line) for line in logged.splitlines()]
    assert any(line["event"] == "no proxy" for line in lines) == warned and process.returncode == 0


def test_a_taken_port(registry: RunningRegistry) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = registry.run("serve", "--port", str(port), check=False)
    assert done.returncode == 7 and "cannot listen" in done.stderr and "Traceback" not in done.stderr


def test_a_folder_without_a_registry(tmp_path: Path) -> None:
    done = run_command("--dir", tmp_path, "serve", check=False)
    assert done.returncode == 7 and "init" in done.stderr


def test_an_endless_head_is_cut(registry: RunningRegistry) -> None:
    registry.start()
    try:
        port = int(registry.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            cut = False
            try:
                for number in range(2000):
                    line.sendall(b"X-%d: %s\r\n" % (number, b"a" * 200))
                answer = line.recv(4000)
                cut = answer == b"" or b" 400 " in answer or b" 431 " in answer
            except OSError:
                cut = True
        assert cut
        assert registry.get("/healthz").status == 200
    finally:
        registry.stop()
