"""A clock that goes back: no commit is older than its parent, no token that has ended comes back to life."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embhub.release import files as release_files
from embhub.release import signing
from embhub.site.signing.keys import SigningKey
from embhub.trust.keyring import Role
from embhub_registry.admission import publication, storing
from embhub_registry.database import clock
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import histories, repositories
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.operation.background import expiry
from embhub_registry.operation.backups import checking
from embhub_registry.people import access_tokens, auth
from embhub_registry.repositories import repos
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage.folder import Registry, create
from tests.support import releases

TODAY = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """The machine's clock, as whoever administers it would set it."""

    def put(moment: datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: moment)
        for module in (administration, access_tokens, storing):
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
    assert dates[:3] == [f"2026-11-20T13:00:00.00{place}Z" for place in range(3)] and dates[2] < dates[3]
    db = registry.database.connection()
    found = repositories.find(db, "radboud", "r")
    assert found is not None and found.modified == dates[-1]
    line = histories.read(db, found.id, str(repositories.find_ref(db, found.id, "main")))
    assert [revision.created for revision in line] == sorted((revision.created for revision in line), reverse=True)
    assert checking.check(registry).clean


def test_a_version_is_its_newest_commit_though_the_clock_stands_still(registry: Registry, tmp_path: Path) -> None:
    """Each audit is a commit of the same version: sites that pull by version get the last one."""
    file = tmp_path / "key.pem"
    keys: list[tuple[SigningKey, str, Role]]
    keys = [(releases.SITE, "radboud", "publish"), (releases.AUDITOR, "nki", "audit")]
    for key, namespace, role in keys:
        file.write_text(key.public_pem)
        administration.add_key(registry, file, namespace=namespace, role=role)
    alice = admit(registry, administration.add_user(registry, "alice", namespace="radboud", role="publisher")["token"])
    nora = admit(registry, administration.add_user(registry, "nora", namespace="nki", role="auditor")["token"])
    repository = repos.create(registry, alice, None, "prostate-cspca", private=False)
    release = releases.make_release(audited=False)

    def commit(who: accounts.Account, files: Mapping[str, bytes]) -> str:
        request = CommitRequest("t", "", None, files, frozenset(), frozenset())
        return publication.publish(registry, who, "radboud", "prostate-cspca", branch="main", request=request).id

    made = [commit(alice, release.files)]
    for shift in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
        report = releases.make_report(release.embedding, shift=shift)
        attestation = signing.attest_audit(
            report, report_digest=release_files.digest(report.to_bytes()), registry=releases.ORIGIN,
            repository=releases.REPOSITORY, version="1.0.0", key=releases.AUDITOR, now=releases.NOW,
        )  # fmt: skip
        made.append(commit(nora, {release_files.AUDIT: report.to_bytes(), releases.AUDITOR_BUNDLE: attestation}))
        db = registry.database.connection()
        assert repositories.find_named(db, repository.id, "1.0.0") == made[-1]
    assert len(set(made)) == 7


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
