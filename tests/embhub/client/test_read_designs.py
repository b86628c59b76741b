"""What a site read of registered audits: the findings as they were, or a word that the file is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embhub.client.log import read_designs
from embhub.errors import ConfigError
from embhub.refusals import Finding
from embhub.site import config

FOUND = [Finding("audit-design", "ok", "nothing dropped between"), Finding("audit-leak", "warning", "audit 1")]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))


def test_findings_come_back_as_they_were() -> None:
    assert read_designs.recall("log", "d" * 64, "e" * 64) is None
    read_designs.remember("log", "d" * 64, "e" * 64, FOUND)
    assert read_designs.recall("log", "d" * 64, "e" * 64) == FOUND
    assert read_designs.recall("other", "d" * 64, "e" * 64) is None


@pytest.mark.parametrize("row", [["audit-design", "fine", "text"], ["audit-design", "ok"], "ok", [1, 2, 3]])
def test_an_outcome_that_is_none_is_refused(row: object) -> None:
    read_designs.remember("log", "d" * 64, "e" * 64, FOUND)
    path = config.paths().state / "audit-designs.json"
    path.write_text(json.dumps({name: [row] for name in json.loads(path.read_bytes())}))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_designs.recall("log", "d" * 64, "e" * 64)


def test_the_newest_rows_stay_within_what_is_read_again_and_a_long_one_takes_no_others_place() -> None:
    read_designs.remember("log", "leak", "result", FOUND)
    long = [Finding("audit-result", "note", f"{number} {'x' * 10_000}") for number in range(99)]
    many = [*long, *(Finding("audit-result", "note", str(number)) for number in range(10)), FOUND[1]]
    for number in range(6):
        read_designs.remember("log", f"design {number}", "result", many)
        kept = read_designs.recall("log", f"design {number}", "result")
        assert kept is not None and len(kept) == read_designs.MOST_FINDINGS and kept[-1] == FOUND[1]
    assert read_designs.recall("log", "design 0", "result") is None, "an old one is forgotten"
    assert (config.paths().state / "audit-designs.json").stat().st_size <= read_designs.MAX_BYTES
    huge = [Finding("audit-result", "note", "x" * read_designs.MAX_BYTES)]
    read_designs.remember("log", "one that is too long", "result", huge)
    assert read_designs.recall("log", "one that is too long", "result") is None
    assert read_designs.recall("log", "leak", "result") == FOUND
