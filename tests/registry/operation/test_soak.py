"""`make soak`, for less than a minute: nothing acknowledged is lost while everything fails in turn."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.soak.run import run
from tests.support import postgres


@pytest.mark.thorough
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    if postgres.programs() is None:
        pytest.skip("PostgreSQL's programs are not installed (Debian: postgresql)")
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    result = run(tmp_path, seconds=60, seed=seed)
    print(result)
    assert result["wrong"] == []
    assert result["done"].get("release", 0) >= 3 and result["done"].get("read", 0) >= 5 and result["faults"], result
