"""A namespace holds what it may, and is told how much that is; old things go when their setting says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from embhub.errors import UsageError
from embhub_registry.admission import publication
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.operation.backups import checking
from embhub_registry.people import auth
from embhub_registry.repositories import repos, retention
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import configuration, folder, quotas
from embhub_registry.storage.audit import audit_log
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.settings import SETTINGS
from tests.support import releases


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url=releases.REGISTRY, audit="optional")
    key = tmp_path / "site.pem"
    key.write_text(releases.SITE.public_pem)
    administration.add_key(made, key, namespace="radboud", role="publish")
    yield made
    made.close()


@pytest.fixture
def anna(registry: Registry) -> Account:
    token = administration.add_user(registry, "anna", namespace="radboud", role="publisher")["token"]
    account = auth.authenticate(registry.database.connection(), f"Bearer {token}")
    assert account is not None
    return account


def publish(registry: Registry, account: Account, name: str, files: dict[str, bytes]) -> None:
    request = CommitRequest(
        title="x", message="", parent=None, files=files, deleted=frozenset(), deleted_folders=frozenset()
    )
    publication.publish(registry, account, "radboud", name, branch="main", request=request)


def test_repositories_are_counted(registry: Registry, anna: Account) -> None:
    quotas.change(registry, "radboud", {"repositories": 2})
    for name in ("a", "b"):
        repos.create(registry, anna, None, name, private=False)
    with pytest.raises(RequestDeniedError) as refused:
        repos.create(registry, anna, None, "c", private=False)
    assert refused.value.status == 403 and refused.value.rule == "quota"
    assert "may hold 2 repositories" in refused.value.message and "quota set radboud" in refused.value.hint
    assert quotas.list_all(registry)["namespaces"][0]["repositories"] == {"used": 2, "allowed": 2}
    quotas.change(registry, "radboud", {"repositories": None})
    repos.create(registry, anna, None, "c", private=False)


def test_bytes_are_counted_once_and_nothing_is_stored_past_them(registry: Registry, anna: Account) -> None:
    for name in ("a", "b"):
        repos.create(registry, anna, None, name, private=False)
    quotas.change(registry, "radboud", {"bytes": 10_000})
    publish(registry, anna, "a", {"README.md": b"x" * 6000})
    publish(registry, anna, "b", {"README.md": b"x" * 6000})  # the same bytes elsewhere
    stored = set(registry.blobs.stored())
    with pytest.raises(RequestDeniedError, match="may hold 10,000 bytes, and this would make it 12,000"):
        publish(registry, anna, "b", {"README.md": b"y" * 6000})
    assert set(registry.blobs.stored()) == stored and checking.check(registry).clean


def test_releases_are_counted(registry: Registry, anna: Account) -> None:
    repos.create(registry, anna, None, "prostate-cspca", private=False)
    quotas.change(registry, "radboud", {"releases": 1})
    publish(registry, anna, "prostate-cspca", dict(releases.make_release().files))
    with pytest.raises(RequestDeniedError, match="may hold 1 releases"):
        publish(registry, anna, "prostate-cspca", dict(releases.make_release(version="1.1.0").files))


def test_the_registrys_own_limit_holds_where_a_namespace_has_none(registry: Registry, anna: Account) -> None:
    configuration.write(registry, "quota.repositories", "0")
    with pytest.raises(RequestDeniedError, match="may hold 0 repositories"):
        repos.create(registry, anna, None, "a", private=False)
    configuration.write(registry, "quota.repositories", "none")
    repos.create(registry, anna, None, "a", private=False)
    for namespace, limit in (("nowhere", 1), ("radboud", -1)):
        with pytest.raises(UsageError):
            quotas.change(registry, namespace, {"bytes": limit})


@pytest.fixture(scope="module")
def settable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One for all settings: a test of a setting leaves it at its default."""
    made = folder.create(tmp_path_factory.mktemp("settable") / "r", name="T", url=releases.REGISTRY, audit="optional")
    yield made
    made.close()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_reads_its_default_and_refuses_nonsense(settable: Registry, name: str) -> None:
    configuration.write(settable, name, SETTINGS[name].default)
    free_text = name in ("oidc.client_id", "oidc.secret_file", "oidc.groups_claim", "mail.user", "mail.password_file")
    for nonsense in ("two\nlines", "x" * 5_000) if free_text else ("per/haps", "-1"):
        with pytest.raises(UsageError, match=name):
            configuration.write(settable, name, nonsense)
    rows = {row["name"]: row for row in configuration.list_all(settable)["settings"]}
    assert rows[name]["chosen"] and rows[name]["meaning"]


def test_an_unknown_setting(registry: Registry) -> None:
    with pytest.raises(UsageError, match="no setting"):
        configuration.write(registry, "rate.everything", "1")


def test_prune_says_first_and_removes_then(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    old = administration.add_user(registry, "anna", namespace="radboud", role="reader", days=0)
    kept = administration.new_token(registry, "anna", days=None)
    for months in (-400, -200, 0):
        moment = stamp(now() + timedelta(days=months + 800))  # later than what `create` wrote: time goes on
        monkeypatch.setattr(audit_log, "stamp", lambda moment=moment: moment)
        registry.audit_log.write("monthly")
    assert retention.prune(registry, really=True)["audit_segments"] == [], "kept for ever unless somebody says else"
    configuration.write(registry, "retention.audit_days", "300")
    configuration.write(registry, "retention.token_days", "30")
    monkeypatch.setattr(retention, "now", lambda: now() + timedelta(days=800))
    would = retention.prune(registry, really=False)
    assert len(would["audit_segments"]) == 2 and would["tokens"] == 1 and not would["applied"]
    assert len(registry.audit_log.segments()) == 4
    retention.prune(registry, really=True)
    assert len(registry.audit_log.segments()) == 2 and registry.audit_log.problems() == []
    ids = [row["id"] for row in administration.list_tokens(registry)["tokens"]]
    assert ids == [kept["token_id"]] and old["token_id"] not in ids
    assert any(b"audit-pruned" in line for line in registry.audit_log.lines())
