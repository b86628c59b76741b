"""Who plays: two hospitals, each with a home of its own, and a registry process that is gone when the demo ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
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
_NEED_TORCH = {"train", "audit", "copy-check", "generate", "detect"}
_forked: set[str] = set()


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


def import_once() -> None:
    """From now on commands that need PyTorch are forked from this process: to import it takes them eight seconds each.

    No thread may have been started. All other commands are still started as a person starts them.
    """
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

    _forked.update(_NEED_TORCH)


def _start(words: list[str], folder: Path, environment: dict[str, str], *, visible: bool) -> Said:
    """`embhub WORDS` as a person starts it."""
    done = subprocess.run(
        [sys.executable, "-m", "embhub", *words], cwd=folder, env=environment, stdout=subprocess.PIPE,
        stderr=None if visible else subprocess.PIPE, text=True,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr or "")


def _fork(words: list[str], folder: Path, environment: dict[str, str], *, visible: bool) -> Said:
    """`embhub WORDS` in a child of this process; its standard error is kept where it is not `visible`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        if (pid := os.fork()) == 0:
            code = 1
            try:
                os.dup2(out.fileno(), 1)
                if not visible:
                    os.dup2(err.fileno(), 2)
                os.chdir(folder)
                os.environ.clear()
                os.environ.update(environment)
                sys.argv = ["embhub", *words]
                from embhub.__main__ import main

                code = main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            except BaseException:  # noqa: BLE001  # said where the program would say it
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = [(file.seek(0), file.read().decode())[1] for file in (out, err)]
    return Said(code, *said)


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
        start = _fork if _forked.intersection(words[:2]) else _start
        said = start([*map(str, words)], self.folder, self._environment(), visible=expect == 0)
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
