"""Who plays: two hospitals, each with a home of its own, and a registry process that is gone when the demo ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embhub.trust.keyring import parse_export

_TYPED: list[str] = []
PRIVATE = ("EMBHUB_HOME", "EMBHUB_REGISTRY", "EMBHUB_TOKEN", "EMBHUB_NAMESPACE")


@dataclass(frozen=True)
class Said:
    """What one command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def _say(line: str) -> None:
    _TYPED.append(line)
    print(line, flush=True)


def typed() -> list[str]:
    """Every command of the play so far, as a person would have typed it."""
    return list(_TYPED)


class CommandFailed(RuntimeError):
    """A command of the demo ended with another exit code than the story needs."""


@dataclass(frozen=True)
class Hospital:
    """One site: its EMBHUB_HOME, its working folder, and nothing of the other's."""

    name: str
    folder: Path
    registry: str = ""
    token: str = ""

    def embhub(self, *words: str | Path, expect: int = 0) -> Said:
        """Run `embhub WORDS` at this site; progress bars go straight to the terminal.

        Raises CommandFailed where the exit code is not `expect`.
        """
        shown = " ".join(str(w) if " " not in str(w) else f'"{w}"' for w in words)
        _say(f"[{self.name}] $ embhub {shown}")
        done = subprocess.run(
            [sys.executable, "-m", "embhub", *map(str, words)], cwd=self.folder, env=self._environment(),
            stdout=subprocess.PIPE, stderr=None if expect == 0 else subprocess.PIPE, text=True,
        )  # fmt: skip
        said = Said(done.returncode, done.stdout, done.stderr or "")
        if said.code != expect:
            raise CommandFailed(f"`embhub {shown}` ended with {said.code}, not {expect}\n{said.out}\n{said.err}")
        return said

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start `embhub WORDS` at this site, and go on; its standard error is NAME.log in the site's folder."""
        _say(f"[{self.name}] $ embhub {' '.join(map(str, words))} &")
        command = [sys.executable, "-m", "embhub", *map(str, words)]
        with (self.folder / f"{self.name}.log").open("wb") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self._environment(), stdout=log, stderr=log)

    def _environment(self) -> dict[str, str]:
        here = {k: v for k, v in os.environ.items() if k not in PRIVATE}
        here["EMBHUB_HOME"] = str(self.folder / "home")
        if self.registry:
            here["EMBHUB_REGISTRY"] = self.registry
        if self.token:
            here["EMBHUB_TOKEN"] = self.token
        return here


@dataclass(frozen=True)
class Registry:
    """A folder served by `embhub-registry`, and its operator's commands."""

    folder: Path
    url: str = ""

    def admin(self, *words: str | Path) -> Said:
        """Run `embhub-registry --dir FOLDER WORDS`."""
        _say(f"[registry] $ embhub-registry {' '.join(map(str, words))}")
        command = [sys.executable, "-m", "embhub_registry", "--dir", str(self.folder), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise CommandFailed(
                f"embhub-registry {words[0]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return Said(done.returncode, done.stdout, done.stderr)

    def root_fingerprint(self) -> str:
        """What the operator tells the other hospital by telephone: the fingerprint of the root key."""
        return parse_export(self.admin("trust", "export").out.encode()).root_fingerprint


@contextmanager
def served(folder: Path, log: Path) -> Iterator[Registry]:
    """Start a registry on a free loopback port; stop it on the way out, whatever happened."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    Registry(folder).admin("init", "--url", url, "--json")
    command = [sys.executable, "-m", "embhub_registry", "--dir", str(folder), "serve", "--port", str(port)]
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait_until_ready(process, url, log)
        yield Registry(folder, url)
    finally:
        _stop(process)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path, patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end and process.poll() is None:
        with suppress(urllib.error.URLError), urllib.request.urlopen(f"{url}/healthz", timeout=5):
            return
        time.sleep(0.2)
    raise CommandFailed(f"the registry did not come up; it said:\n{log.read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
