"""Plain web servers over a folder, and folders compared."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import pushes, releases
from tests.support.servers import RunningRegistry

YANKED = "radboud/breast-mass"


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


def publish(registry: RunningRegistry, name: str, *, token: str, seed: int = 0, version: str = "1.0.0") -> None:
    """One signed release of radboud."""
    artifact = releases.make_embedding(seed=seed)
    made = releases.make_release(artifact=artifact, repository=f"radboud/{name}", name=name, version=version)
    pushes.create(registry, name, token=token)
    answer = pushes.commit(registry, f"radboud/{name}", made.files, token=token)
    assert answer.status == 200, answer.body
