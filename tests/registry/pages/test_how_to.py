"""docs/how-to/run-a-registry.md is followed line by line, but for what only root can do."""

from __future__ import annotations

import configparser
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main as embhub
from embhub.trust import key_request
from embhub.trust.origin import origin_of
from tests.support import pushes, releases
from tests.support.servers import RunningRegistry, environment, free_port, run_here, wait_until_ready

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/how-to/run-a-registry.md").read_text()
UNIT = ROOT / "registry/deploy/systemd/embhub-registry.service"
FOLDER = "/var/lib/embhub-registry"


def lines() -> list[str]:
    """Every command of the page, in order."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.S)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


class Reader:
    """Somebody who follows the page on a machine of their own: what it names stands elsewhere here."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.here = RunningRegistry(
            folder / "registry", f"http://127.0.0.1:{free_port()}", admin="", root_fingerprint=""
        )
        self.said: dict[str, str] = {}
        self.monkeypatch = monkeypatch

    def follow(self, line: str) -> None:
        words = shlex.split(self.translate(line).split(" > ")[0])
        match words:
            case ["export", assignment]:
                self.monkeypatch.setenv(*assignment.split("=", 1))
            case ["curl", "--fail", address]:
                with urllib.request.urlopen(address, timeout=20) as answer:
                    assert answer.status == 200
            case ["embhub-registry", "key", "add", *arguments]:
                self.receive_request(arguments[-1])
                self.said[line] = run_here("key", "add", *arguments).stdout
            case ["embhub-registry", "repo", "main", *_]:
                pass  # after a theft, which this registry never had
            case ["embhub-registry", *arguments]:
                self.said[line] = run_here(*arguments).stdout
            case ["embhub", *arguments]:
                self.monkeypatch.setattr(sys, "stdin", (self.folder / "token").open())
                assert embhub(arguments) == 0, line
            case ["sudo", "systemctl", verb, *_] if words[-1] == "embhub-registry":
                self.start() if verb in ("enable", "start") else self.stop()
            case ["sudo", "cp", source, *_]:
                assert (ROOT / source.removeprefix("embhub/")).is_file()
            case ["sudo", *_]:
                pass  # only root can
            case _:
                raise AssertionError(f"who follows this page runs something unforeseen: {line}")

    def receive_request(self, file: str) -> None:
        """What a member sends: `embhub key request` wrote it, with namespace and role in its name."""
        origin, now = origin_of(self.here.url), releases.NOW
        if file.endswith(".audit.key-request.json"):
            data = key_request.write(origin, "nki", "audit", key=releases.AUDITOR, now=now)
        else:
            data = key_request.write(origin, "radboud", "publish", key=releases.SITE, now=now)
        (self.folder / file).write_bytes(data)

    def translate(self, line: str) -> str:
        fingerprints = iter(re.findall(r"SHA256:[A-Za-z0-9+/]{43}", line))
        for printed in fingerprints:
            real = self.root if "trust add" in line else releases.SITE.fingerprint
            line = line.replace(printed, real)
        for before, after in (
            (FOLDER, str(self.folder / "registry")),
            ("/var/backups/embhub-registry", str(self.folder)),
            ("https://hub.example.org", self.here.url),
            ("http://127.0.0.1:8642", self.here.url),
            ("8c3277e3…", releases.make_release().embedding.digest),
        ):
            line = line.replace(before, after)
        return line

    @property
    def root(self) -> str:
        said = next(text for line, text in self.said.items() if " init " in line)
        return re.findall(r"SHA256:\S+", said)[0]

    def start(self) -> None:
        """What the unit's ExecStart says, as this user."""
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.read(UNIT)
        words = shlex.split(unit["Service"]["ExecStart"].replace(FOLDER, str(self.folder / "registry")))[1:]
        words[words.index("--port") + 1] = self.here.url.rsplit(":", 1)[1]
        log = self.folder / "registry.log"
        with log.open("a") as out:
            command = [sys.executable, "-m", "embhub_registry", *words]
            self.here.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=out, text=True, env=environment()
            )
        wait_until_ready(self.here.process, self.here.url, log=log)

    def stop(self) -> None:
        assert self.here.stop() == 0

    def publish(self) -> None:
        """What the hospital does after step 5, with the token that the page printed for it."""
        said = next(text for line, text in self.said.items() if "user add anna" in line)
        token = re.findall(r"hf_emb_\S+", said)[0]
        (self.folder / "token").write_text(token + "\n")
        name = "radboud/prostate-cspca"
        assert pushes.create(self.here, name.split("/")[1], token=token).status == 200
        sent = pushes.commit(self.here, name, dict(releases.make_release(repository=name).files), token=token)
        assert sent.status == 200, sent.body


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    for name in ("EMBHUB_REGISTRY", "EMBHUB_TOKEN", "EMBHUB_NAMESPACE", "EMBHUB_REGISTRY_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    made = Reader(tmp_path, monkeypatch)
    yield made
    made.here.stop(how=signal.SIGKILL)


@pytest.mark.thorough
def test_the_page_works_as_printed(reader: Reader) -> None:
    followed = lines()
    assert len(followed) > 40
    for line in followed:
        if line.startswith("embhub login"):
            reader.publish()
        reader.follow(line)
    assert "root key" in reader.said[next(line for line in followed if " init " in line)]
    assert "deleted" in reader.said["embhub-registry repo list"]
    assert "whole" in reader.said["embhub-registry audit verify"]
    reader.stop()
    assert run_here("check").stdout == "clean\n"
