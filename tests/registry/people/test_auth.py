"""Tokens are long, stored as digests, and good for their own namespace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.people import auth
from embhub_registry.people.roles import ROLES
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    yield made
    made.close()


def test_a_token_is_256_random_bits() -> None:
    made = {auth.make_token().secret for _ in range(100)}
    assert len(made) == 100 and all(len(secret) >= 43 + len(auth.PREFIX) for secret in made)


def test_a_token_speaks_for_its_account(registry: Registry) -> None:
    added = administration.add_user(registry, "anna", namespace="radboud", role="publisher")
    db = registry.database.connection()
    account = auth.authenticate(db, f"Bearer {added['token']}")
    assert account is not None and (account.user, account.namespace, account.role) == ("anna", "radboud", "publisher")
    assert auth.authenticate(db, f"bearer  {added['token']} ") == account
    assert auth.authenticate(db, None) is None
    stored = b"".join(path.read_bytes() for path in registry.folder.rglob("*") if path.is_file())
    assert added["token"].encode() not in stored


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic x", "Bearer hf_emb_unknown", "Bearer " + "x" * 500])
def test_what_is_no_token(registry: Registry, header: str) -> None:
    with pytest.raises(RequestDeniedError) as caught:
        auth.authenticate(registry.database.connection(), header)
    assert caught.value.status == 401


def test_expired_and_revoked(registry: Registry) -> None:
    expired = administration.add_user(registry, "a", namespace="n", role="reader", days=0)["token"]
    good = administration.new_token(registry, "a", days=1)
    db = registry.database.connection()
    with pytest.raises(RequestDeniedError, match="expired"):
        auth.authenticate(db, f"Bearer {expired}")
    assert auth.authenticate(db, f"Bearer {good['token']}")
    administration.revoke_token(registry, good["token_id"])
    with pytest.raises(RequestDeniedError, match="revoked"):
        auth.authenticate(db, f"Bearer {good['token']}")


def someone(role: str, namespace: str = "radboud") -> Account:
    return Account(1, "x", namespace, role, "t", b"", None, None)


@pytest.mark.parametrize("role", ROLES)
def test_roles(role: str) -> None:
    def may(account: Account | None) -> bool:
        try:
            auth.require_member(account, "radboud", roles=("publisher",), what="publish")
        except RequestDeniedError:
            return False
        return True

    assert may(someone(role)) is (role in {"publisher", "admin"})
    assert may(someone(role, "lumc")) is (role == "admin")
    assert not may(None)
    assert auth.may_read(someone(role), "radboud", private=True)
    assert auth.may_read(someone(role, "lumc"), "radboud", private=True) is (role == "admin")
    assert auth.may_read(None, "radboud", private=False) and not auth.may_read(None, "radboud", private=True)
