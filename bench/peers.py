"""Other people's servers, run beside ours: nginx, Debian's docker-registry, mlflow's artifact server.

Each is a process of the caller's own, on loopback, with its configuration and files in a temporary folder; none writes
an access log, which ours does. One that is not installed is None: the page says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from bench import load
from tests.support.servers import free_port

SECONDS = 90.0
NGINX = """daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""
DOCKER_REGISTRY = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{cache: {{blobdescriptor: inmemory}}, filesystem: {{rootdirectory: {folder}/storage}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True)
class Peer:
    """A server that answers: its port, its processes, and its version in its own words."""

    port: int
    processes: list[int]
    version: str


@contextmanager
def nginx(folder: Path, files: dict[str, bytes]) -> Iterator[Peer | None]:
    """nginx, one worker, with these files under their names."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        yield None
        return
    (folder / "files").mkdir(parents=True)
    for name, data in files.items():
        (folder / "files" / name).write_bytes(data)
    port = free_port()
    configuration = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # its worker reads a folder that is the caller's alone
    configuration.write_text(NGINX.format(folder=folder, port=port, user=user))
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    with running([program, "-e", f"{folder}/start.log", "-p", str(folder), "-c", str(configuration)], port) as process:
        yield Peer(port, load.family(process.pid), version.partition("/")[2].split()[0])


@contextmanager
def docker_registry(folder: Path, blob: bytes) -> Iterator[tuple[Peer, str] | None]:
    """Debian's docker-registry (distribution) with one blob in it; also the blob's path."""
    program = shutil.which("docker-registry")
    if program is None:
        yield None
        return
    folder.mkdir(parents=True)
    port = free_port()
    configuration = folder / "config.yml"
    configuration.write_text(DOCKER_REGISTRY.format(folder=folder, port=port))
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    with running([program, "serve", str(configuration)], port) as process:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        line.request("POST", "/v2/bench/blobs/uploads/")
        started = line.getresponse()
        started.read()
        target = started.headers["Location"].removeprefix(f"http://127.0.0.1:{port}")
        headers = {"Content-Type": "application/octet-stream"}
        line.request("PUT", f"{target}&digest={digest}", body=blob, headers=headers)
        stored = line.getresponse()
        stored.read()
        line.close()
        if stored.status != 201:
            raise RuntimeError(f"docker-registry refused the blob: {stored.status}")
        yield Peer(port, load.family(process.pid), told.split()[-1]), f"/v2/bench/blobs/{digest}"


@contextmanager
def mlflow(folder: Path) -> Iterator[Peer | None]:
    """mlflow's artifact server, one worker, in an environment of its own that is made once and kept."""
    program = _mlflow_program()
    if program is None:
        yield None
        return
    folder.mkdir(parents=True)
    port = free_port()
    words = [
        program, "server", "--artifacts-only", "--serve-artifacts",
        "--artifacts-destination", str(folder / "artifacts"),
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    with running(words, port, cwd=folder) as process:
        _wait_until_it_answers(port)
        yield Peer(port, load.family(process.pid), version)


def _mlflow_program() -> str | None:
    home = Path(os.environ.get("EMBHUB_CLIENTS") or platformdirs.user_cache_path("embhub") / "clients")
    folder = home / f"mlflow-python{sys.version_info.major}.{sys.version_info.minor}"
    program, ready = folder / "bin" / "mlflow", folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "mlflow"]
        try:
            subprocess.run(pip, check=True, timeout=300, capture_output=True)
        except (subprocess.SubprocessError, OSError):
            return None
        ready.touch()
    return str(program)


def _wait_until_it_answers(port: int) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException):
            line.request("GET", "/health")
            if line.getresponse().status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError("mlflow does not answer")


@contextmanager
def running(words: Sequence[str], port: int, *, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on `port`; it and its children end with the block."""
    process = subprocess.Popen(
        words, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + SECONDS
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
