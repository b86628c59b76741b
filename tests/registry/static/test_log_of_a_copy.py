"""`embhub log verify` reads the log of a registry again from the addresses at which its export is served."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client import roots
from tests.support.nginx import needs_nginx
from tests.support.servers import RunningRegistry
from tests.support.statics import nginx_over, plain_server


@pytest.mark.parametrize("kind", ["http.server", pytest.param("nginx", marks=needs_nginx), "folder"])
def test_the_log_of_a_copy_is_verified(
    hub: RunningRegistry,
    export: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    roots.add_root(str(export), fingerprint=hub.root_fingerprint)
    with ExitStack() as stack:
        if kind == "http.server":
            url = stack.enter_context(plain_server(export))
        else:
            url = stack.enter_context(nginx_over(export, tmp_path / "nginx")) if kind == "nginx" else str(export)
        assert main(["log", "verify", url, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    size = int((export / "log" / "checkpoint").read_text().splitlines()[1])
    assert found["entries"] == found["verified"] == size > 5


def test_a_copy_of_what_nobody_pinned_is_refused(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    assert main(["log", "verify", str(export)]) == 7
    assert "no root key is pinned" in capsys.readouterr().err


def test_a_copy_whose_log_was_changed_is_refused(
    hub: RunningRegistry, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    roots.add_root(str(export), fingerprint=hub.root_fingerprint)
    changed = tmp_path / "changed"
    shutil.copytree(export, changed)
    entries = next((changed / "log" / "tile" / "entries").rglob("000*"))
    entries = entries if entries.is_file() else next(path for path in entries.rglob("*") if path.is_file())
    data = bytearray(entries.read_bytes())
    data[-3] ^= 1
    entries.write_bytes(data)
    assert main(["log", "verify", str(changed)]) == 4
