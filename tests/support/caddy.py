"""Caddy with the configuration that we ship, in front of servers; addresses are given by its own variables."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support import tools
from tests.support.servers import environment, free_port

DEPLOY = Path(__file__).parents[2] / "registry/deploy"
PROGRAM = shutil.which("caddy")
needs_caddy = tools.needs("caddy")


@contextmanager
def caddy_before(urls: Sequence[str], port: int, folder: Path) -> Iterator[None]:
    """Run it at `port` of loopback, without TLS, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    variables = {
        "EMBHUB_HOST": f"http://127.0.0.1:{port}",
        "EMBHUB_UPSTREAM": " ".join(url.removeprefix("http://") for url in urls),
        "CADDY_ADMIN": f"127.0.0.1:{free_port()}",
        "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config"),
    }  # fmt: skip
    words = [str(PROGRAM), "run", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    with (folder / "caddy.log").open("w") as log:
        process = subprocess.Popen(words, env=environment() | variables, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None, (folder / "caddy.log").read_text()
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
