"""Growth of search and the computed capacity at their smallest: rows multiply as if placed, and pushes queue."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from bench import registry_at_scale, registry_growth, registry_search
from bench.registry_search import Measured
from embhub_registry.database import Database, schema, search
from embhub_registry.database.search import Query


def test_copies_are_found_and_counted_like_the_first(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db")
    schema.migrate(database)
    registry_search.fill(database, 30)
    query = Query(released=True, limit=1000)
    before = search.count_facets(database.connection(), query)
    for _ in range(2):
        registry_growth.multiply(database, 3)
    db = database.connection()
    after = search.count_facets(db, query)
    assert after.total == 9 * before.total
    assert after.facets["modality"] == [(value, 9 * rows) for value, rows in before.facets["modality"]]
    found = search.run(db, Query(text="carcinoma", limit=1000))
    assert len(found) == sum("carcinoma" in row.name for row in search.run(db, Query(limit=1000)))
    assert db.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'").fetchone()[0] >= 4
    database.close()


def test_the_table_has_every_size_and_says_what_misses_the_goal(tmp_path: Path) -> None:
    def rows(p50: float) -> list[Measured]:
        return [Measured("one word", p50, 0.02, 0.001, 21), Measured("two words", 0.001, 0.002, 0.001, 21)]

    table = registry_growth.render({"sqlite": {10: rows(0.0004), 100: rows(0.0061)}, "postgresql": {10: rows(0.002)}})
    assert "| one word | 0.40 | **6.10** | 2.00 | 20.00 | 20.00 | 1.00 | 1.00 |" in table
    assert "sqlite: 1 of 2, postgresql: 2 of 2" in table
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- growth: begin -->\nold\n<!-- growth: end -->\nafter\n")
    registry_growth.write(table, turns=7, busy="load 1.0 of 2 cores", day=date(2026, 1, 2), page=page)
    written = page.read_text()
    assert table in written and "old" not in written and "2026-01-02, 7 queries" in written
    assert written.startswith("before\n") and written.endswith("after\n")


def test_a_queue_of_pushes() -> None:
    calm, full = registry_at_scale.wait(1.0, 0.1, pushes=5000), registry_at_scale.wait(12.0, 0.1, pushes=5000)
    assert calm.median == pytest.approx(0.1, abs=0.02) and calm.refused == 0
    assert full.p99 <= registry_at_scale.PATIENCE + 0.1 and full.refused == pytest.approx(1 - 10 / 12, abs=0.05)
    assert any("together" in line for line in registry_at_scale.lines(registry_at_scale.Given()))
