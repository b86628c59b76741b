"""Tests of this folder once more, with their registries on PostgreSQL: a part of them, as many as a minute allows.

All of them: `EMBHUB_TEST_DATABASE=postgresql python -m pytest tests/registry`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.servers import environment

HERE = Path(__file__).parent
PARTS = (
    "database/test_database.py", "database/test_search.py", "storage/test_sequencer.py", "storage/test_log.py",
    "storage/test_folder.py", "wire/test_response_cache.py", "repositories/test_private_like_absent.py",
    "repositories/test_terms.py", "people/test_token_lifetimes.py",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(postgres.CHOSEN, reason="all of them are run on PostgreSQL")
def test_a_part_of_the_suite(postgresql: postgres.Server) -> None:
    chosen = [str(HERE / part) for part in PARTS if (HERE / part).exists()]
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow and not thorough",
    ]
    wanted = {"EMBHUB_TEST_DATABASE": "postgresql", "EMBHUB_TEST_POSTGRESQL": str(postgresql.folder)}
    done = subprocess.run(
        [*words, *chosen], env={**environment(), **wanted}, cwd=HERE.parents[1], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert os.environ.get("EMBHUB_TEST_DATABASE") is None
