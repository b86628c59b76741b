"""Who may do what: every role against every action, scopes of tokens, several namespaces, accounts shut out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from embhub.errors import UsageError
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.people import auth, members
from embhub_registry.people.roles import ACTIONS, ROLES, SCOPES
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry

# Written out once more, so that a slip in `roles.ACTIONS` is seen: who may do what in its own namespace.
MAY = {
    "read-private": {"reader", "publisher", "auditor", "approver", "admin"},
    "create": {"publisher", "admin"},
    "publish": {"publisher", "admin"},
    "attest": {"publisher", "auditor", "admin"},
    "evaluate": {"reader", "publisher", "auditor", "approver", "admin"},
    "refs": {"publisher", "admin"},
    "settings": {"publisher", "admin"},
    "approve": {"publisher", "approver", "admin"},
    "yank": {"publisher", "approver", "admin"},
    "take-part": {"publisher", "approver", "admin"},
    "see-quarantined": {"publisher", "approver", "admin"},
    "quarantine": {"admin"},
    "delete-unreleased": {"publisher", "admin"},
    "delete-released": {"admin"},
    "hide-released": {"admin"},
    "trust-workloads": {"publisher", "admin"},
    "operate": {"admin"},
}
NEEDS = {
    "read-private": "read", "evaluate": "read", "see-quarantined": "read", "quarantine": "admin",
    "delete-released": "admin", "hide-released": "admin", "operate": "admin",
}  # fmt: skip


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    administration.add_user(made, "admin", namespace="registry", role="admin")
    yield made
    made.close()


def someone(role: str, namespace: str = "radboud", scope: str = "admin", **more: str) -> Account:
    return Account(1, "x", namespace, role, "t", b"", None, None, scope=scope, memberships={namespace: role, **more})


def allowed(account: Account | None, action: str, namespace: str = "radboud") -> bool:
    try:
        auth.require(account, namespace, action)
    except RequestDeniedError as denied:
        assert denied.status in (401, 403) and denied.hint
        assert account is None or not auth.may(account, namespace, action)
        return False
    assert account is not None and auth.may(account, namespace, action)
    return True


def test_the_table_is_of_every_action() -> None:
    assert set(MAY) == set(ACTIONS)


@pytest.mark.parametrize("action", sorted(MAY))
@pytest.mark.parametrize("role", ROLES)
def test_every_role_and_every_action(role: str, action: str) -> None:
    assert allowed(someone(role), action) is (role in MAY[action])
    assert allowed(someone(role, "lumc"), action) is (role == "admin"), "a foreign namespace"
    assert allowed(someone("reader", "lumc", radboud=role), action) is (role in MAY[action]), "a second namespace"
    assert not allowed(None, action)
    for scope in SCOPES:
        reaches = SCOPES.index(scope) >= SCOPES.index(NEEDS.get(action, "publish"))
        assert allowed(someone(role, scope=scope), action) is (role in MAY[action] and reaches)


def test_several_namespaces(registry: Registry) -> None:
    token = administration.add_user(registry, "anna", namespace="radboud", role="publisher")["token"]
    joined = members.join(registry, "anna", namespace="lumc", role="approver")
    assert joined["namespace_created"] and joined["before"] is None
    account = auth.authenticate(registry.database.connection(), f"Bearer {token}")
    assert account is not None and account.namespaces == ("radboud", "lumc")
    assert allowed(account, "publish") and allowed(account, "yank", "lumc") and not allowed(account, "publish", "lumc")
    members.join(registry, "anna", namespace="lumc", role="publisher")
    account = auth.authenticate(registry.database.connection(), f"Bearer {token}")
    assert allowed(account, "publish", "lumc")
    members.leave(registry, "anna", namespace="lumc")
    account = auth.authenticate(registry.database.connection(), f"Bearer {token}")
    assert account is not None and account.namespaces == ("radboud",) and not allowed(account, "read-private", "lumc")
    for namespace in ("radboud", "lumc"):
        with pytest.raises(UsageError):
            members.leave(registry, "anna", namespace=namespace)


def test_an_account_that_is_shut_out(registry: Registry) -> None:
    token = administration.add_user(registry, "anna", namespace="radboud", role="publisher")["token"]
    members.disable(registry, "anna")
    with pytest.raises(RequestDeniedError, match="disabled"):
        auth.authenticate(registry.database.connection(), f"Bearer {token}")
    assert administration.list_tokens(registry)["tokens"][0]["state"] == "disabled"
    members.enable(registry, "anna")
    assert auth.authenticate(registry.database.connection(), f"Bearer {token}")


def test_one_admin_always_stays(registry: Registry) -> None:
    for act in (
        lambda: members.disable(registry, "admin"),
        lambda: members.join(registry, "admin", namespace="registry", role="reader"),
    ):
        with pytest.raises(UsageError, match="without an admin"):
            act()
    administration.add_user(registry, "second", namespace="registry", role="admin")
    members.disable(registry, "admin")


@pytest.mark.parametrize("role", ROLES)
def test_a_token_reaches_no_further_than_its_account(registry: Registry, role: str) -> None:
    widest = {"admin": "admin", "reader": "read"}.get(role, "publish")
    added = administration.add_user(registry, "x", namespace="radboud", role=role)
    assert added["scope"] == widest
    for scope in SCOPES:
        if SCOPES.index(scope) <= SCOPES.index(widest):
            assert administration.new_token(registry, "x", scope=scope)["scope"] == scope
        else:
            with pytest.raises(UsageError, match="scope"):
                administration.new_token(registry, "x", scope=scope)


def test_rotation(registry: Registry) -> None:
    old = administration.add_user(registry, "anna", namespace="radboud", role="publisher", days=30, scope="read")
    db = registry.database.connection()
    new = administration.rotate_token(registry, old["token_id"], grace_hours=1)
    assert new["scope"] == "read" and new["expires"][:10] == old["expires"][:10]
    assert auth.authenticate(db, f"Bearer {old['token']}") and auth.authenticate(db, f"Bearer {new['token']}")
    rows = {row["id"]: row for row in administration.list_tokens(registry)["tokens"]}
    assert (
        stamp(now() + timedelta(minutes=58)) < rows[old["token_id"]]["expires"] < stamp(now() + timedelta(minutes=62))
    )
    newest = administration.rotate_token(registry, new["token_id"])
    with pytest.raises(RequestDeniedError, match="revoked"):
        auth.authenticate(db, f"Bearer {new['token']}")
    assert auth.authenticate(db, f"Bearer {newest['token']}")
    for gone in (new["token_id"], "nothing"):
        with pytest.raises(UsageError):
            administration.rotate_token(registry, gone)


def test_an_unlimited_token_is_known_as_such(registry: Registry) -> None:
    administration.add_user(registry, "mirror", namespace="radboud", role="reader")
    token = administration.new_token(registry, "mirror", unlimited=True)["token"]
    account = auth.authenticate(registry.database.connection(), f"Bearer {token}")
    assert account is not None and account.unlimited and not replace(account, unlimited=False).unlimited
