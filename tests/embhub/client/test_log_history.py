"""Checkpoints that a site compared: found again by their size, each signature checked, the oldest forgotten first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embhub.client.log import log_history
from embhub.errors import ConfigError
from embhub.site import config
from tests.support import logs
from tests.support.logs import MemoryLog

KEY = logs.log_key()
LOG = MemoryLog([logs.make_leaf(number).to_bytes() for number in range(6)], KEY, witnesses=(logs.witness_key(),))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))


def test_a_checkpoint_is_found_by_its_size() -> None:
    assert log_history.find(KEY.public, 6) is None
    log_history.remember(KEY.public, LOG.checkpoint(), replace(LOG, size=4).checkpoint())
    found = log_history.find(KEY.public, 4)
    assert found is not None and found.checkpoint == replace(LOG, size=4).checkpoint().checkpoint
    assert log_history.find(KEY.public, 5) is None and log_history.find(logs.log_key(seed=9).public, 4) is None


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_history, "MOST", 2)
    for size in (3, 4, 3, 5):
        log_history.remember(KEY.public, replace(LOG, size=size).checkpoint())
    assert [size for size in range(7) if log_history.find(KEY.public, size)] == [4, 5]


@pytest.mark.parametrize("change", [("\\n4\\n", "\\n5\\n"), ('"4"', '"5"'), ("{", "["), ('"4": "', '"4": 1, "7": "')])
def test_an_edited_file_is_refused(change: tuple[str, str]) -> None:
    log_history.remember(KEY.public, replace(LOG, size=4).checkpoint())
    path = config.paths().state / "log-history.json"
    text = json.dumps(json.loads(path.read_bytes()))
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(ConfigError, match="compared before cannot be read"):
        for size in (4, 5):
            log_history.find(KEY.public, size)
