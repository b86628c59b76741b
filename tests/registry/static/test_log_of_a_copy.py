"""`embhub log verify` reads the log of a registry again from the addresses at which its export is served."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.trusted import roots
from embhub.durable import write_atomic
from embhub.log import tiles
from tests.support import logs
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


def test_an_older_copy_is_refused_and_its_checkpoint_kept_until_the_log_explains_it(
    hub: RunningRegistry, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    roots.add_root(str(export), fingerprint=hub.root_fingerprint)
    assert main(["log", "watch", str(export)]) == 0
    with hub.opened() as opened:
        key, origin = opened.private_keys.log_key(opened.trust().origin), opened.trust().keyring.log_key
    assert key is not None and origin is not None
    _, entries = logs.audit(export / "log", origin)
    for name, shown in {"older": entries[:3], "forged": [b"other", *entries[1:3]]}.items():
        shutil.copytree(export, tmp_path / name)
        shutil.rmtree(tmp_path / name / "log")
        source = logs.MemoryLog(shown, key)
        for path in ("checkpoint", *(tile.path for tile in tiles.all_of(3))):
            data = source.read(path, limit=1_000_000)
            assert data is not None
            write_atomic(tmp_path / name / "log" / path, data)
    pairs = tmp_path / "home/state/log-unexplained"
    assert main(["log", "watch", str(tmp_path / "older")]) == 5 and len(list(pairs.iterdir())) == 1
    assert main(["log", "watch", str(export)]) == 0 and list(pairs.iterdir()) == []
    assert main(["log", "verify", str(tmp_path / "forged")]) == 5 and len(list(pairs.iterdir())) == 1
    assert main(["log", "watch", str(export)]) == 4, "what the copy showed is of another history"
