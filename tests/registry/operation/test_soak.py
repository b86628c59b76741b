"""`make soak`, for half a minute: nothing acknowledged is lost while everything fails in turn."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.soak.run import run
from tests.support import postgres, tools


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(1200)  # a busy machine works four times as long for what has to be done, and then checks
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    tools.require("postgresql", found=postgres.programs() is not None)
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    least = {"release": 6, "read": 10}
    result = run(tmp_path, seconds=30, seed=seed, least=least)
    print(result)
    assert result["wrong"] == []
    assert all(result["done"].get(what, 0) >= number for what, number in least.items()) and result["faults"], result
