"""A registry's folder: laid out once, opened by one server, its keyring signed by the key in it."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embhub.errors import ConfigError, UsageError
from embhub_registry.operation import administration, opening
from embhub_registry.storage import folder
from tests.support import releases
from tests.support.servers import environment


def create(path: Path) -> folder.Registry:
    return folder.create(path, name="Test", url="http://127.0.0.1:1", audit="optional")


def test_a_folder_that_holds_anything_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="nothing was changed"):
        create(tmp_path / "x")
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["mine.txt"]
    with pytest.raises(UsageError):
        create(tmp_path / "x" / "mine.txt")


def test_a_failed_layout_leaves_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **kwargs: object) -> bytes:
        raise ConfigError("no", "no")

    monkeypatch.setattr(folder, "seal", failing)
    with pytest.raises(ConfigError):
        create(tmp_path / "x")
    assert list((tmp_path / "x").iterdir()) == []


def test_no_registry_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no registry"):
        opening.open_folder(tmp_path)


def test_one_at_a_time(tmp_path: Path) -> None:
    registry = create(tmp_path / "x")
    other = opening.open_folder(tmp_path / "x")
    with registry.alone("serve"), pytest.raises(ConfigError, match="in use by process"), other.alone("check"):
        pass
    with other.alone("check"):
        pass
    registry.close()
    other.close()


def test_a_new_keyring_is_seen_by_who_has_the_folder_open(tmp_path: Path) -> None:
    registry, beside = create(tmp_path / "x"), opening.open_folder(tmp_path / "x")
    assert registry.trust().keyring.version == 1
    pem = tmp_path / "key.pem"
    pem.write_text(releases.SITE.public_pem)
    administration.add_key(beside, pem, namespace="radboud", role="publish")
    assert registry.trust().keyring.version == 2
    assert registry.trust().lookup(releases.SITE.fingerprint) is not None
    registry.close()
    beside.close()


def test_another_root_key_signs_nothing(tmp_path: Path) -> None:
    registry, other = create(tmp_path / "x"), create(tmp_path / "y")
    for name in ("root.pem", "root.pub"):
        (tmp_path / "x" / "keys" / name).write_bytes((tmp_path / "y" / "keys" / name).read_bytes())
    pem = tmp_path / "key.pem"
    pem.write_text(releases.SITE.public_pem)
    with pytest.raises(ConfigError, match="another root key"):
        administration.add_key(registry, pem, namespace="radboud", role="publish")
    assert registry.trust().keyring.version == 1
    registry.close()
    other.close()


def test_the_audit_log_is_json_lines_for_the_operator_alone(tmp_path: Path) -> None:
    registry = create(tmp_path / "x")
    registry.audit_log.write("odd", text='line\nbreak "quote" é')
    lines = [json.loads(line) for line in registry.audit_log.path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["init", "odd"] and lines[1]["text"] == 'line\nbreak "quote" é'
    assert stat.S_IMODE(registry.audit_log.path.stat().st_mode) == 0o600
    registry.close()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    registry = create(tmp_path / "x")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom embhub_registry.operation.opening import open_folder\n"
        f"with open_folder(Path({str(tmp_path / 'x')!r})).alone('serve'):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(ConfigError) as refused, registry.alone("check"):
        pass
    assert f"in use by process {process.pid} (serve) on {socket.gethostname()}" in refused.value.message
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 30
    while True:
        try:
            with registry.alone("check"):
                assert f"process {os.getpid()} (check)" in (tmp_path / "x/lock").read_text()
            break
        except ConfigError:  # PostgreSQL notices a moment later that the process is gone
            assert time.monotonic() < deadline
            time.sleep(0.05)
    registry.close()
