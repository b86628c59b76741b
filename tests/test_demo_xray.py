"""The demo on real X-rays, short; in a file of its own, so that both run side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from bases.workshop.xray import default_data
from tests.support.plays import play


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_on_real_xrays(tmp_path: Path) -> None:
    if not (default_data() / "chest-xray" / "index.csv").exists():
        pytest.skip("real images are absent (set EMBHUB_TEST_DATA)")
    summary = play(tmp_path / "demo", "--xray", str(default_data()), grids=4)
    assert "doi:10.17632/rscbjbr9sj.2" in summary["footer"]
