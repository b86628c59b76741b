"""What tests of readers share: a home of their own, and an ear for what parsers say of a header."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest

from tests.support.refused_scans import SECRET


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whoever listens to all logs and warnings hears nothing of a header."""
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    assert SECRET not in caplog.text and not any(SECRET in str(one.message) for one in heard)
    assert not [one for one in caplog.records if one.name.split(".")[0] in ("pydicom", "nibabel")]
