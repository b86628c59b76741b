"""docs/how-to/keep-the-root-offline.md is followed line by line."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from embhub.__main__ import main as embhub
from embhub.trust import keyring as keyrings
from tests.support import releases
from tests.support.servers import run_here

PAGE = (Path(__file__).parents[3] / "docs/how-to/keep-the-root-offline.md").read_text()


def lines() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.S)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.mark.slow
def test_the_ceremony_works_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    for name in ("EMBHUB_REGISTRY_DIR", "EMBHUB_REGISTRY_ONLINE_KEYS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "radboud.pub.pem").write_text(releases.SITE.public_pem)
    monkeypatch.setattr(sys, "stdin", (tmp_path / "radboud.pub.pem").open())
    roots = []
    for line in lines():
        words = shlex.split(line.split(" > ")[0])
        if words[0] == "embhub":
            assert embhub(words[1:]) == 0, line
            said = capsys.readouterr().out
            if " > " in line:
                (tmp_path / line.split(" > ")[1]).write_text(said)
            continue
        if words[0] == "curl":
            break  # what follows a theft: tests/embhub/test_stolen_online_keys.py
        if "--log" in words:
            continue  # nobody cosigns this registry's log
        answered = ["--yes"] if "sign" in words else []  # the person read what is printed
        if "sign" in words:  # the first time it is asked for the newest keyring
            monkeypatch.setattr(sys, "stdin", io.StringIO("none\n"))
        said = run_here(*words[1:], *answered).stdout
        if "init" in words or "install" in words:
            roots.append(keyrings.parse_export(export).root_fingerprint if (export := exported(tmp_path)) else said)
    assert roots[0].count("SHA256:") == 1 and roots[1] in roots[0] and roots[2] != roots[1]
    opened = keyrings.open_export(keyrings.parse_export(exported(tmp_path)), root_fingerprint=roots[1])
    assert opened.passed == (roots[1],) and opened.lookup(releases.SITE.fingerprint) is not None
    assert not [path for path in (tmp_path / "hub").rglob("*.pem") if path.is_file()]


def exported(folder: Path) -> bytes:
    """The trust document, or nothing before the first keyring."""
    return run_here("--dir", folder / "hub", "trust", "export", check=False).stdout.encode()
