"""The demo on phantoms, short."""

from __future__ import annotations

from pathlib import Path

from tests.plays import play


def test_on_phantoms(tmp_path: Path) -> None:
    summary = play(tmp_path / "demo")
    assert summary["embedding"]["bytes"] < 20_000
