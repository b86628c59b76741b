"""Tests of this folder once more, with their registries on PostgreSQL: a part of them, as many as a minute allows.

`make test` has the tests of PostgreSQL itself: database/test_postgresql*.py.

All of them: `EMBHUB_TEST_DATABASE=postgresql python -m pytest tests/registry`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.servers import environment

HERE = Path(__file__).parent
PARTS = (
    "database/test_database.py", "database/test_schema.py::test_a_server_keeps_a_migration_out",
    "database/test_search.py", "database/test_search_changes.py", "storage/test_sequencer.py", "storage/test_log.py",
    "wire/test_response_cache.py::test_a_branch_that_moved", "repositories/test_private_like_absent.py",
    "repositories/test_terms.py",
)  # fmt: skip


@pytest.mark.thorough
@pytest.mark.skipif(postgres.CHOSEN, reason="all of them are run on PostgreSQL")
def test_a_part_of_the_suite(postgresql: postgres.Server) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-n0", "-pno:cacheprovider", "-m", "not slow and not thorough"]
    wanted = {"EMBHUB_TEST_DATABASE": "postgresql", "EMBHUB_TEST_POSTGRESQL": str(postgresql.folder)}
    done = subprocess.run(
        [*words, *(str(HERE / part) for part in PARTS)], env={**environment(), **wanted}, cwd=HERE.parents[1],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
