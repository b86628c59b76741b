"""Environments of stock clients: each a virtual environment of its own with huggingface_hub and nothing of ours.

They stay between runs in the user's cache folder, or in EMBHUB_CLIENTS; a lock file lets test workers share them. Each
week the newest release of each major version is asked for again. What cannot be built is an error, never a skip.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

CLIENTS: Mapping[str, str] = {
    "0.36": "huggingface_hub>=0.36,<0.37",
    "1.x": "huggingface_hub>=1,<2",
    "2.x": "huggingface_hub>=2,<3",
}
WEEK = 7 * 24 * 3600.0


class CannotBuild(Exception):
    """pip could not make an environment: no package index, a full disk."""


@dataclass(frozen=True)
class Client:
    """One environment; `python` runs in it."""

    name: str
    python: Path

    def run(self, stage: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
        """Play every call of `driver` on a stage (see `driver.stage.Stage`); its version and outcomes."""
        told = scratch / "stage.json"
        told.write_text(json.dumps(stage))
        done = subprocess.run(
            [str(self.python), "-m", "driver", str(told)], cwd=Path(__file__).parent, timeout=300, check=False,
            env=surroundings(stage["endpoint"], scratch), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def surroundings(endpoint: str, scratch: Path) -> dict[str, str]:
    """What a client sees of its machine: the registry's address and an empty home; no token, no proxy for loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON", "HUGGINGFACE"))}
    return {
        **kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(scratch / "hf-home"), "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1,localhost", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def open_client(name: str) -> Client:
    """The environment of this name, built where it is not there yet.

    Raises:
        CannotBuild: with what pip said.
    """
    home = Path(os.environ.get("EMBHUB_CLIENTS") or platformdirs.user_cache_path("embhub") / "clients")
    folder = home / f"{name}-python{sys.version_info.major}.{sys.version_info.minor}"
    client = Client(name, folder / "bin" / "python")
    with _alone(folder.with_suffix(".lock")):
        ready = folder / "ready"
        if not ready.exists():
            _build(folder, client)
            ready.touch()
        elif time.time() - ready.stat().st_mtime > WEEK:
            _install(client, "--upgrade")
            ready.touch()
    return client


def _build(folder: Path, client: Client) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=False, symlinks=True)
    _install(client)


def _install(client: Client, *options: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(client.python), "--disable-pip-version-check", "install"]
    done = subprocess.run(
        [*pip, "--quiet", *options, CLIENTS[client.name]], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise CannotBuild(f"pip cannot install {CLIENTS[client.name]}:\n{done.stderr}")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
