"""A clock that goes back: no commit is older than its parent, no token that has ended comes back to life."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embhub_registry.admission import publication
from embhub_registry.database import accounts, clock, repositories
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration, checking, expiry
from embhub_registry.people import auth
from embhub_registry.repositories import repos
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage.folder import Registry, create

TODAY = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """The machine's clock, as whoever administers it would set it."""

    def put(moment: datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: moment)
        for module in (administration, publication):
            monkeypatch.setattr(module, "now", lambda: moment)

    put(TODAY)
    return put


@pytest.fixture
def registry(tmp_path: Path, set_clock: Callable[[datetime], None]) -> Iterator[Registry]:
    made = create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    yield made
    made.close()


def admit(registry: Registry, token: str) -> accounts.Account:
    account = auth.authenticate(registry.database.connection(), f"Bearer {token}")
    assert account is not None
    return account


def test_a_commit_is_never_older_than_its_parent(registry: Registry, set_clock: Callable[[datetime], None]) -> None:
    anna = admit(registry, administration.add_user(registry, "anna", namespace="radboud", role="publisher")["token"])
    repos.create(registry, anna, None, "r", private=False)
    dates = []
    for hours in (1, -24, 0, 2):
        set_clock(TODAY + timedelta(hours=hours))
        request = CommitRequest("t", "", None, {"README.md": f"# {hours}\n".encode()}, frozenset(), frozenset())
        dates.append(publication.publish(registry, anna, "radboud", "r", branch="main", request=request).created)
    assert dates == sorted(dates) and dates[0] == dates[1] == dates[2] == "2026-11-20T13:00:00.000Z"
    db = registry.database.connection()
    found = repositories.find(db, "radboud", "r")
    assert found is not None and found.modified == dates[-1]
    line = repositories.history(db, found.id, str(repositories.find_ref(db, found.id, "main")))
    assert [revision.created for revision in line] == sorted((revision.created for revision in line), reverse=True)
    assert checking.check(registry).clean


def test_a_token_that_ended_stays_ended(registry: Registry, set_clock: Callable[[datetime], None]) -> None:
    added = administration.add_user(registry, "anna", namespace="radboud", role="publisher", days=1)
    assert expiry.retire_tokens(registry) == 0 and admit(registry, added["token"]).user == "anna"
    set_clock(TODAY + timedelta(days=1, seconds=1))
    assert expiry.retire_tokens(registry) == 1 and expiry.retire_tokens(registry) == 0
    set_clock(TODAY - timedelta(days=300))
    with pytest.raises(RequestDeniedError, match="expired"):
        admit(registry, added["token"])
    states = {row["id"]: row["state"] for row in administration.list_tokens(registry)["tokens"]}
    assert states[added["token_id"]] == "expired", "ended, not revoked by anybody"


def test_a_revoked_token_is_revoked_whatever_the_clock_says(
    registry: Registry, set_clock: Callable[[datetime], None]
) -> None:
    token = administration.add_user(registry, "anna", namespace="radboud", role="publisher", days=1)["token"]
    administration.revoke_token(registry, token)
    for days in (-300, 0, 300):
        set_clock(TODAY + timedelta(days=days))
        with pytest.raises(RequestDeniedError, match=r"revoked|expired"):
            admit(registry, token)
