"""A PostgreSQL server for tests: Debian's programs in a temporary folder, as an ordinary user, a schema a registry."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

CHOSEN = os.environ.get("EMBHUB_TEST_DATABASE") == "postgresql"
"""Whether registries of tests are made in PostgreSQL."""
SECONDS = 60.0
_NUMBERS = itertools.count(1)


@functools.cache
def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; None where they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parent.parent.name))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@dataclass
class Server:
    """A running server; `address` is that of its one database, without a schema."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    further: dict[str, str] = field(default_factory=dict)  # settings

    @property
    def address(self) -> str:
        return f"postgresql://embhub@/embhub?host={self.folder}"

    def start(self) -> None:
        """Start, or start again; returns once it answers."""
        bin_ = programs()
        assert bin_ is not None
        settings = {
            "listen_addresses": "", "unix_socket_directories": str(self.folder), "max_connections": "300",
            "fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_wal_size": "256MB",
            **self.further,
        }  # fmt: skip
        words = [str(bin_ / "postgres"), "-D", str(self.folder / "data")]
        words += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen([*_as_owner(), *words], stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError), self.connect("postgres"):
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "server.log").read_text()[-3000:])

    def stop(self, how: int = signal.SIGINT) -> None:
        """End it: SIGINT cuts connections and ends in order, SIGQUIT is as if it had crashed."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=SECONDS)
        self.process = None

    def connect(self, database: str = "embhub") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of its own."""
        return psycopg.connect(host=str(self.folder), dbname=database, user="embhub", autocommit=True)

    def new_schema(self) -> str:
        """The address of a new, empty schema."""
        name = f"r{os.getpid()}_{next(_NUMBERS)}"
        with self.connect() as db:
            db.execute(f"CREATE SCHEMA {name}")
        return f"{self.address}&options=-csearch_path%3D{name}"


def _as_owner() -> list[str]:
    """`initdb` and the server refuse to be run by root."""
    if os.geteuid():
        return []
    name = next(name for name in ("postgres", "nobody") if _known(name))
    return ["setpriv", f"--reuid={name}", f"--regid={pwd.getpwnam(name).pw_gid}", "--clear-groups"]


def _known(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


@contextlib.contextmanager
def running_server(**further: str) -> Iterator[Server]:
    """A new server that ends with the block; `further` are settings of its own."""
    bin_ = programs()
    assert bin_ is not None, "Debian's package postgresql is not installed"
    folder = Path(tempfile.mkdtemp(prefix="embhub-pg-", dir="/tmp"))  # a socket's path has 107 characters at most
    try:
        folder.chmod(0o755)
        if not os.geteuid():
            owner = pwd.getpwnam(_as_owner()[1].partition("=")[2])
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        words = [str(bin_ / "initdb"), "-D", str(folder / "data"), "-U", "embhub", "-A", "trust", "-E", "UTF8"]
        done = subprocess.run(
            [*_as_owner(), *words, "--locale=C.UTF-8", "--no-sync"], capture_output=True, text=True, cwd=folder
        )
        assert done.returncode == 0, done.stderr
        server = Server(folder, further=further)
        server.start()
        try:
            with server.connect("postgres") as db:
                db.execute("CREATE DATABASE embhub")
            with server.connect() as db:
                db.execute("CREATE EXTENSION pg_trgm")
            yield server
        finally:
            server.stop(signal.SIGQUIT)  # what it holds is thrown away
    finally:
        shutil.rmtree(folder, ignore_errors=True)
