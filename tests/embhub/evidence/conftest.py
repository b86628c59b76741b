"""The pack reads the site's ledger and its record of the training: every test gets a site of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty site, so that nobody's own is read or written."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("EMBHUB_HOME", str(folder))
    return folder
