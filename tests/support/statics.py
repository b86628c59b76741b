"""Plain web servers over a folder, and folders compared."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import uvicorn

from embhub.site.signing.keys import SigningKey
from embhub_registry.static import items
from embhub_registry.static.mirror.following import Mirror
from embhub_registry.static.mirror.web import build
from tests.support import pushes, releases
from tests.support.nginx import PROGRAM
from tests.support.servers import RunningRegistry, free_port

YANKED = "radboud/breast-mass"
_OTHERS = ("proxy", "fastcgi", "uwsgi", "scgi")


class _Quiet(SimpleHTTPRequestHandler):
    """What `python -m http.server` runs, without its log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """`python -m http.server` over a folder, in this process; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes by path, of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def make_increment(folder: Path, files: dict[str, bytes]) -> Path:
    """An increment of somebody's own: its list fits its files."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    found = [items.of_bytes(path, data, stage=0) for path, data in files.items() if path != items.MANIFEST]
    listed = items.manifest(found, registry="https://hub.example.org", checkpoint="6:" + "b" * 64)
    (folder / items.MANIFEST).parent.mkdir(parents=True, exist_ok=True)
    (folder / items.MANIFEST).write_bytes(listed.read())
    return folder


def publish(
    registry: RunningRegistry, name: str, *, token: str, seed: int = 0, version: str = "1.0.0",
    namespace: str = "radboud", key: SigningKey = releases.SITE,
) -> None:  # fmt: skip
    """One signed release of a namespace, radboud where none is named."""
    artifact, repository = releases.make_embedding(seed=seed), f"{namespace}/{name}"
    made = releases.make_release(artifact=artifact, key=key, repository=repository, name=name, version=version)
    pushes.create(registry, name, token=token)
    answer = pushes.commit(registry, repository, made.files, token=token)
    assert answer.status == 200, answer.body


@contextmanager
def nginx_over(export: Path, folder: Path) -> Iterator[str]:
    """nginx with the part of its configuration that the export brings, over the export; the address."""
    port, user = free_port(), "user root;" if os.geteuid() == 0 else ""
    folder.mkdir(parents=True, exist_ok=True)
    places = " ".join(f"{name}_temp_path {name};" for name in ("client_body", *_OTHERS))
    (folder / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes 1; pid pid; error_log error.log;"
        f" events {{ }} http {{ access_log off; {places}\n"
        f'server {{ listen 127.0.0.1:{port}; root "{export}";\ninclude "{export}/embhub/v1/nginx.conf"; }} }}\n'
    )
    words = [str(PROGRAM), "-e", f"{folder}/start.log", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*words, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_for(port: int) -> None:
    """Return once something listens at a port of loopback."""
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextmanager
def mirror_server(folder: Path, url: str) -> Iterator[str]:
    """What a mirror's program answers, over the folder of one that follows `url`; the address."""
    application = build(Mirror(folder, url, "mirror.example.org"), interval=300)
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", lifespan="off"))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        wait_for(listening.getsockname()[1])
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
