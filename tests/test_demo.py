"""The demo on phantoms, short."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.plays import play


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_on_phantoms(tmp_path: Path) -> None:
    summary = play(tmp_path / "demo", grids=7)
    assert summary["embedding"]["bytes"] < 20_000
    assert any("push cxr-bacterial-pneumonia" in command for command in summary["commands"])
    assert any("--embedding cxr-bacterial-pneumonia" in command for command in summary["commands"])
