"""Debian's Prometheus and promtool: rules checked, and evaluated over a server that really runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import tools
from tests.support.nginx import DEPLOY
from tests.support.servers import free_port

MONITORING = DEPLOY / "monitoring"
PROMTOOL, PROGRAM = shutil.which("promtool"), shutil.which("prometheus")
needs_prometheus = tools.needs("prometheus")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def promtool(*words: str | Path, sent: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run it on what is `sent`; the caller looks at its exit code."""
    command = [str(PROMTOOL), *map(str, words)]
    return subprocess.run(command, input=sent.decode(), capture_output=True, text=True, check=False)


def rules() -> list[dict[str, Any]]:
    """The alerts that we ship."""
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@dataclass(frozen=True)
class Watching:
    """A Prometheus that scrapes a registry."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        asked = f"{self.url}/api/v1/query?query={urllib.parse.quote(expression)}"
        with _OPENER.open(asked, timeout=20) as answer:
            return list(json.loads(answer.read())["data"]["result"])

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {sample["metric"]["alertname"] for sample in self.query('ALERTS{alertstate="firing"}')}

    def wait(self, alert: str, *, meanwhile: Callable[[], object] = lambda: None, seconds: float = 30) -> None:
        """Return once an alert fires; `meanwhile` is done again and again until then."""
        deadline = time.monotonic() + seconds
        while alert not in (found := self.firing()):
            assert time.monotonic() < deadline, f"{alert} does not fire, but {sorted(found)}"
            meanwhile()
            time.sleep(0.1)

    def wait_for_sample(self, expression: str, *, seconds: float = 30) -> None:
        """Return once a query finds something."""
        deadline = time.monotonic() + seconds
        while not self.query(expression):
            assert time.monotonic() < deadline, f"{expression} finds nothing"
            time.sleep(0.1)

    def wait_for_end(self, alert: str, *, seconds: float = 30) -> None:
        """Return once an alert does not fire any more."""
        deadline = time.monotonic() + seconds
        while alert in self.firing():
            assert time.monotonic() < deadline, f"{alert} goes on"
            time.sleep(0.1)


@contextmanager
def watching(registry: str, folder: Path, *, every: str = "500ms") -> Iterator[Watching]:
    """Prometheus with our alerts until the block ends: the same expressions, but for how long they have to hold.

    It scrapes `every` so long, and waits as long for an answer.
    """
    folder.mkdir()
    at_once = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    for group in at_once["groups"]:
        for rule in group["rules"]:
            del rule["for"]
    (folder / "alerts.yml").write_text(yaml.safe_dump(at_once))
    chosen = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    chosen["global"] = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": "500ms"}
    (job,) = chosen["scrape_configs"]
    job |= {"scrape_interval": every, "scrape_timeout": every}
    job["static_configs"] = [{"targets": [registry.removeprefix("http://")]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(chosen))
    port = free_port()
    words = [
        str(PROGRAM), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder)
    try:
        _wait(process, f"http://127.0.0.1:{port}/-/ready", folder / "prometheus.log")
        yield Watching(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with _OPENER.open(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text()[-2000:])
