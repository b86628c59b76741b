"""Sealed facts: the same for the same facts and key, and nothing to test a guess against."""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from embhub.errors import ConfigError
from embhub.site import config
from embhub.site.memory.secret import commit

FACTS: dict[str, Any] = {"members": [["P1", "ab"]], "seed": 3}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    return tmp_path


def test_an_auditor_with_key_and_facts_can_open_it() -> None:
    sealed = commit(FACTS)
    key = (config.paths().config / "commitment.key").read_bytes()
    assert len(key) == 32
    assert sealed == hmac.new(key, rfc8785.dumps(FACTS), hashlib.sha256).hexdigest()
    assert commit({"seed": 3, "members": [["P1", "ab"]]}) == sealed
    assert commit({**FACTS, "seed": 4}) != sealed


def test_another_site_seals_the_same_facts_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sealed = commit(FACTS)
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "other"))
    assert commit(FACTS) != sealed


def test_a_key_that_others_read_or_that_is_damaged_is_refused() -> None:
    commit(FACTS)
    key = config.paths().config / "commitment.key"
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        commit(FACTS)
    key.chmod(0o600)
    key.write_bytes(b"short")
    with pytest.raises(ConfigError, match="damaged"):
        commit(FACTS)


def test_processes_that_come_first_at_once_make_one_key(tmp_path: Path) -> None:
    """Each has seen that there is none."""
    program = (
        "import sys; from embhub.site.memory import secret;"
        "write = secret.write_atomic;"
        "secret.write_atomic = lambda *a, **k: (__import__('time').sleep(0.5), write(*a, **k));"
        "print(secret.derive_key('x').hex())"
    )
    environment = {**os.environ, "EMBHUB_HOME": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    keys = [process.communicate(timeout=60)[0].strip() for process in started]
    assert all(len(key) == 64 for key in keys) and len(set(keys)) == 1
