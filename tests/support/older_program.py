"""An older release of the registry: the program of an earlier commit, run from the history with today's libraries."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.servers import RunningRegistry, environment, wait_until_ready

ROOT = Path(__file__).parents[2]
STEPS = "registry/embhub_registry/database/migrations/postgresql"
_COMMANDS = """
import json, sys
from embhub_registry.__main__ import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["embhub-registry", *words]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""


def commit_before(step: str) -> str | None:
    """The last commit that did not have a step of the schema; None where there is no history that says so."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return None
    words = ["log", "--diff-filter=A", "--format=%P", "-1", "--", f"{STEPS}/{step}"]
    parents = _git(*words).stdout.decode().split()
    return parents[0] if parents and _git("cat-file", "-e", f"{parents[0]}^{{tree}}").returncode == 0 else None


class OlderProgram:
    """The program of a commit, in a folder of its own."""

    def __init__(self, commit: str, folder: Path) -> None:
        self.folder = folder
        archive = _git("archive", commit, "embhub", "registry/embhub_registry")
        assert archive.returncode == 0, archive.stderr
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
            packed.extractall(folder, filter="data")

    def run(self, *commands: Sequence[str | Path]) -> list[dict[str, Any]]:
        """Commands one after the other; what each printed, in JSON."""
        asked = json.dumps([[*map(str, words), "--json"] for words in commands])
        words = [sys.executable, "-c", _COMMANDS, asked]
        done = subprocess.run(words, capture_output=True, text=True, env=self._environment(), cwd=self.folder)
        assert done.returncode == 0, done.stderr
        decoder, said, found = json.JSONDecoder(), done.stdout.strip(), []
        while said:
            one, end = decoder.raw_decode(said)
            found.append(one)
            said = said[end:].strip()
        return found

    def start(self, server: RunningRegistry) -> None:
        """Serve by it; returns once requests are answered."""
        port = server.url.rsplit(":", 1)[1]
        words = [sys.executable, "-m", "embhub_registry", "--dir", str(server.folder), "serve", "--port", port]
        server.log = server.folder.parent / "registry.log"
        with server.log.open("a") as log:
            server.process = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environment(), cwd=self.folder
            )
        wait_until_ready(server.process, server.url, log=server.log)

    def _environment(self) -> dict[str, str]:
        return environment() | {"PYTHONPATH": f"{self.folder}:{self.folder / 'registry'}"}


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
