"""A new key is encrypted where somebody can be asked; where nobody can, that it is not is said."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.site.signing import keys
from tests.support.sites import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site").enter(monkeypatch)


def on_a_terminal(*answers: str) -> str:
    """`embhub key new` on a terminal of its own, where each question gets the next answer."""
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "embhub", "key", "new"], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown, waiting = "", list(answers)
    try:
        while data := os.read(ours, 1024):
            shown += data.decode()
            if waiting and shown.rstrip(" ").endswith(":"):
                os.write(ours, f"{waiting.pop(0)}\n".encode())
                shown += "\n"
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert running.wait(timeout=60) == 0, shown
    return shown


def test_a_terminal_is_asked_twice(site: Site) -> None:
    shown = on_a_terminal("correct horse", "correct horse")
    assert "correct horse" not in shown and "not encrypted:" not in shown
    (key,) = keys.list_keys()
    assert key.encrypted and keys.load(passphrase="correct horse").fingerprint == key.fingerprint


def test_an_empty_passphrase_leaves_it_open_and_says_so(site: Site) -> None:
    assert "the key is not encrypted" in on_a_terminal("", "")
    assert not keys.list_keys()[0].encrypted


def test_without_a_terminal_it_is_said(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/null").open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert main(["key", "new"]) == 0
    assert "the key is not encrypted" in capsys.readouterr().err
    assert not keys.list_keys()[0].encrypted
