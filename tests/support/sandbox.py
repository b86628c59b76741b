"""Fixtures of tests that train or read images: a site of their own, and a tiny base."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import pipelines


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site that nothing was kept at."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random pipeline of the real classes, as a folder."""
    return pipelines.write(tmp_path_factory.mktemp("bases") / "tiny-base")
