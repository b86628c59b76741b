"""The benchmark of search runs on both engines, with few cards; what it measured is not looked at."""

from __future__ import annotations

import pytest

from bench import registry_search
from bench.registry_search import Measured
from embhub_registry.database import schema
from tests.support import postgres, tools


@pytest.mark.thorough
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_every_kind_of_query_is_measured(engine: str) -> None:
    if engine == "postgresql":
        tools.require("postgresql", found=postgres.programs() is not None)
    with registry_search.opened(engine) as database:
        schema.migrate(database)
        registry_search.fill(database, 30)
        registry_search.settle(database)
        assert len(registry_search.measure(database.connection(), turns=2)) == 19


def test_the_goal_is_held_against_the_slowest_five_of_a_hundred() -> None:
    table = registry_search.render([
        Measured("one word", 0.049, 0.0501, 0.001, 21), Measured("two words", 0.001, 0.0499, 0.06, 21),
    ]).splitlines()  # fmt: skip
    assert table[2].endswith("| **missed** |") and table[3].endswith("| met |")
