"""Registries for tests: the real program in a process of its own (see `prestarted`), on loopback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embhub.site.signing.keys import SigningKey
from embhub.trust.keyring import Role
from embhub_registry.__main__ import main
from embhub_registry.operation import administration
from embhub_registry.operation.keyrings import keyring_changes
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage.folder import Registry, create
from tests.support import prestarted

SECONDS = 60.0
Done = subprocess.CompletedProcess[str]


@dataclass
class RunningRegistry:
    """A registry that answers at `url`; `admin` is the admin's token. Its log is in `log`."""

    folder: Path
    url: str
    admin: str
    root_fingerprint: str
    process: subprocess.Popen[str] | prestarted.Forked | None = None
    log: Path = field(default_factory=Path)

    def run(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`embhub-registry --dir … ARGUMENTS`, in this process: twenty starts of Python take too long."""
        return run_here("--dir", self.folder, *arguments, check=check)

    def ask(self, *arguments: str | Path) -> dict[str, Any]:
        """The same with `--json`, parsed."""
        answer = json.loads(self.run(*arguments, "--json").stdout)
        assert isinstance(answer, dict)
        return answer

    @contextmanager
    def opened(self) -> Iterator[Registry]:
        """The registry's folder, opened beside the server as the operator's commands do."""
        registry = open_folder(self.folder)
        try:
            yield registry
        finally:
            registry.close()

    def add_user(self, name: str, *, namespace: str, role: str = "publisher", days: int | None = None) -> str:
        """A new account; returns its token."""
        with self.opened() as registry:
            return str(administration.add_user(registry, name, namespace=namespace, role=role, days=days)["token"])

    def add_key(self, key: SigningKey, *, namespace: str, role: Role = "publish") -> str:
        """Accept a key's public half; returns its fingerprint."""
        file = self.folder.parent / f"{key.fingerprint[7:15].replace('/', '_')}.pem"
        file.write_text(key.public_pem)
        with self.opened() as registry:
            added = administration.add_key(registry, file, namespace=namespace, role=role, name=namespace.title())
        return str(added["fingerprint"])

    def drop_key(self, key: SigningKey) -> None:
        """The next keyring without a key, and not as removed: as after a restore from before it was added."""
        with self.opened() as registry, registry.database.writing() as db:
            ring = keyring_changes.latest(registry)
            members = [
                one.model_copy(update={"keys": tuple(k for k in one.keys if k.fingerprint != key.fingerprint)})
                for one in ring.members
            ]
            keyring_changes.store(
                registry, db, ring.model_copy(update={"members": tuple(members)}), without=key.fingerprint
            )

    def start(self) -> None:
        """Serve; returns once requests are answered."""
        port = self.url.rsplit(":", 1)[1]
        arguments = ["--dir", str(self.folder), "serve", "--port", port]
        self.log = self.folder.parent / "registry.log"
        with self.log.open("a") as log:
            self.process = prestarted.start(arguments, stderr=log.fileno(), environment=environment())
        wait_until_ready(self.process, self.url, log=self.log)

    def stop(self, *, how: int = signal.SIGTERM) -> int:
        """End the server and return its exit code; nothing to do where it has ended."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=SECONDS)
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None
        return code

    def get(self, path: str, *, token: str | None = None, headers: dict[str, str] | None = None) -> Answer:
        """GET a path."""
        return self.request("GET", path, token=token, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        json_body: Any = None,
    ) -> Answer:
        """One plain HTTP request, redirects not followed."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if json_body is not None:
            body, sent["Content-Type"] = json.dumps(json_body).encode(), "application/json"
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=sent)
        try:
            with _OPENER.open(request, timeout=SECONDS) as response:
                cookies = tuple(response.headers.get_all("Set-Cookie", []))
                return Answer(response.status, dict(response.headers.items()), response.read(), cookies)
        except urllib.error.HTTPError as error:
            with error:
                cookies = tuple(error.headers.get_all("Set-Cookie", []))
                return Answer(error.code, dict(error.headers.items()), error.read(), cookies)


@dataclass(frozen=True)
class Answer:
    """Status, headers (names as sent) and body of a response."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()  # each `Set-Cookie`

    def header(self, name: str) -> str | None:
        """A header whatever its case."""
        return {key.lower(): value for key, value in self.headers.items()}.get(name.lower())

    def json(self) -> Any:
        """The body parsed."""
        return json.loads(self.body)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def environment() -> dict[str, str]:
    """The environment of a child: ours, one thread a library, no proxy for loopback."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1,localhost"}


def run_command(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`embhub-registry ARGUMENTS` with captured output."""
    words = [sys.executable, "-m", "embhub_registry", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, env=environment(), check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def run_here(*arguments: str | Path, check: bool = True) -> Done:
    """The command as the program runs it, in this process."""
    words = ["embhub-registry", *map(str, arguments)]
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = words
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.argv = before
    assert not check or code == 0, err.getvalue()
    return Done(words, code, out.getvalue(), err.getvalue())


_FIRST, _LAST, _BLOCK = 15_000, 32_000, 100  # below those that Linux gives to outgoing connections
_held: list[socket.socket] = []


def _ports() -> Iterator[int]:
    """Ports of blocks that no other process of tests uses: each holds the names of its blocks as long as it lives."""
    blocks = range(_FIRST, _LAST, _BLOCK)
    start = os.getpid() * 89 % len(blocks)
    for first in (*blocks[start:], *blocks[:start]):
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0embhub-tests-{first}")
        except OSError:
            name.close()
            continue
        _held.append(name)
        yield from range(first, first + _BLOCK)
    raise AssertionError("processes of tests hold all ports")


_next_ports, _one_asks = _ports(), threading.Lock()


def free_port() -> int:
    """A port that nobody listens on, and that no other process of tests will ask for.

    One that the system chooses could go to any connection of another worker before the server that it is for listens.
    """
    with _one_asks:
        for port in _next_ports:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("unreachable: the ports end with an error")


def init_registry(tmp_path: Path, *, audit: str = "optional", name: str = "Test hub") -> RunningRegistry:
    """A registry on disk that is not served yet; its address is the one that `start` will listen on."""
    folder = tmp_path / "registry"
    url = f"http://127.0.0.1:{free_port()}"
    made = create(folder, name=name, url=url, audit=audit)
    try:
        admin = administration.add_user(made, "admin", namespace="registry", role="admin")["token"]
        return RunningRegistry(folder, url, admin=str(admin), root_fingerprint=made.setting("root_fingerprint"))
    finally:
        made.close()


def start_registry(tmp_path: Path, *, audit: str = "optional", name: str = "Test hub") -> RunningRegistry:
    """A new registry under `tmp_path`, served; the caller calls `stop()`."""
    registry = init_registry(tmp_path, audit=audit, name=name)
    registry.start()
    return registry


@contextmanager
def running_registry(tmp_path: Path, *, audit: str = "optional") -> Iterator[RunningRegistry]:
    """`start_registry` that ends with the block."""
    registry = start_registry(tmp_path, audit=audit)
    try:
        yield registry
    finally:
        registry.stop()


def wait_until_ready(process: subprocess.Popen[str] | prestarted.Forked, url: str, *, log: Path) -> None:
    """Return when the server has said that it serves; fail with its log where it ends first."""
    assert process.stdout is not None
    said: list[str] = []
    stdout = process.stdout
    reader = threading.Thread(target=lambda: said.append(stdout.readline()), daemon=True)
    reader.start()
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and not said:
        reader.join(timeout=0.05)
        if process.poll() is not None:
            break
    assert said and url in said[0], f"the registry did not start: {said}\n{log.read_text()}"
