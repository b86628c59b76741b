"""A page does not verify what was verified a moment ago; a new keyring and an hour make it look again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from embhub.release import verification
from embhub_registry.admission import publication
from embhub_registry.database.clock import now
from embhub_registry.operation import administration
from embhub_registry.pages.release import verification_cache as judging
from embhub_registry.pages.release.verification_cache import VerificationCache
from embhub_registry.repositories import repos
from embhub_registry.repositories.repos import Snapshot
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from tests.registry.admission.test_publication import NAME, account, request
from tests.support import releases


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    file = tmp_path / "key.pem"
    file.write_text(releases.SITE.public_pem)
    administration.add_key(made, file, namespace="radboud", role="publish")
    yield made
    made.close()


@pytest.fixture
def snapshot(registry: Registry) -> Snapshot:
    alice = account(registry, "alice")
    repos.create(registry, alice, None, NAME, private=False)
    files = releases.make_release().files
    publication.publish(registry, alice, "radboud", NAME, branch="main", request=request(files))
    db = registry.database.connection()
    return repos.at(db, repos.locate(db, None, "radboud", NAME), "main", repos.OPERATOR)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One entry a verification."""
    real, made = verification.verify, []

    def counted(*args: Any, **kwargs: Any) -> Any:
        made.append(kwargs["now"])
        return real(*args, **kwargs)

    monkeypatch.setattr(verification, "verify", counted)
    return made


def test_a_release_is_verified_once(registry: Registry, snapshot: Snapshot, verified: list[Any]) -> None:
    judge = VerificationCache()
    assert judge.recall(registry, snapshot) is None
    first = judge.judge(registry, snapshot)
    assert first.shown is not None and first.shown.audit is not None and "<svg" in first.shown.audit.page
    assert judge.judge(registry, snapshot) is first and judge.recall(registry, snapshot) is first
    assert len(verified) == 1


def test_another_keyring_is_another_verdict(registry: Registry, snapshot: Snapshot, verified: list[Any]) -> None:
    judge = VerificationCache()
    assert judge.judge(registry, snapshot).problem is None
    administration.remove_key(registry, releases.SITE.fingerprint)
    assert judge.recall(registry, snapshot) is None
    assert judge.judge(registry, snapshot).problem is not None
    assert judge.judge(registry, snapshot).problem is not None
    assert len(verified) == 2


def test_a_verdict_grows_old(
    registry: Registry, snapshot: Snapshot, verified: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, real = VerificationCache(), now
    judge.judge(registry, snapshot)
    monkeypatch.setattr(judging, "now", lambda: real() + timedelta(hours=2))
    judge.judge(registry, snapshot)
    assert len(verified) == 2


def test_little_is_kept(registry: Registry, snapshot: Snapshot, verified: list[Any]) -> None:
    judge = VerificationCache(most_bytes=1000)
    for _ in range(2):
        assert judge.judge(registry, snapshot).shown is not None
    assert len(verified) == 2 and judge.recall(registry, snapshot) is None
