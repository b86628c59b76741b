"""The list of withdrawals stays short enough to travel, whatever publishers withdraw: sites refuse a longer one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from embhub.trust import advisories as documents
from embhub.trust.advisories import Advisory
from embhub_registry.database.standing import withdrawals
from embhub_registry.database.standing.withdrawals import Withdrawal
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.repositories import advisories
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry

LIMIT = 12_000


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_BYTES", LIMIT)


def fill(registry: Registry, number: int, *, authority: str = "publisher", reason: str = "é" * 250) -> None:
    with registry.database.writing() as db:
        for place in range(number):
            row = Withdrawal(
                scope="release", authority=authority, namespace="radboud", repository=f"radboud/x{place}",
                version="1.0.0", digest=f"{place:064x}", private=False, reason=reason,
                created=f"2026-11-{1 + place % 28:02}T00:00:00Z", lifted=None,
            )  # fmt: skip
            withdrawals.add(db, row, repository_id=None)


def signed(registry: Registry) -> tuple[Advisory, ...]:
    """What a site reads of it, by its own limit."""
    envelope = advisories.current_envelope(registry)
    assert envelope is not None and len(json.dumps(envelope.to_json())) <= LIMIT
    return documents.read_document(envelope.payload).entries


def room(registry: Registry, *, publisher: bool) -> None:
    advisories.check_room(registry.database.connection(), publisher=publisher)


def test_reasons_go_before_withdrawals_do(registry: Registry) -> None:
    fill(registry, 8)
    found = signed(registry)
    assert len(found) == 8 and {entry.reason for entry in found} == {advisories.BRIEF}
    room(registry, publisher=True)


def test_a_publisher_is_refused_before_the_list_is_too_long_and_the_operator_later(registry: Registry) -> None:
    added = 0
    while True:
        try:
            room(registry, publisher=True)
        except RequestDeniedError as refusal:
            assert (refusal.status, refusal.rule) == (409, "withdrawals-full") and "operator" in refusal.hint
            break
        added += 1
        fill(registry, added)
        assert added < 100
    assert len(signed(registry)) == added, "all are in the list that sites read"
    room(registry, publisher=False)
    fill(registry, 60)
    with pytest.raises(RequestDeniedError, match="for everybody"):
        room(registry, publisher=False)


def test_what_no_check_kept_out_costs_publishers_entries_and_never_the_operators(registry: Registry) -> None:
    fill(registry, 60)
    with registry.database.writing() as db:
        for row in withdrawals.all_rows(db)[:3]:
            withdrawals.add(db, replace(row, authority="operator"), repository_id=None)
    found = signed(registry)
    assert 3 < len(found) < 60 and sum(entry.by == "operator" for entry in found) == 3
