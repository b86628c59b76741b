"""Branches and tags are bounded in number, since one answer lists them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.repositories import repos
from embhub_registry.storage import folder


def test_a_repository_has_a_limited_number_of_refs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repos, "MAX_REFS", 3)
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    alice = Account(1, "alice", "a", "publisher", "one", b"", None, None)
    with made.database.writing() as db:
        accounts.add_namespace(db, "a", now="2026-01-01T00:00:00Z")
    repos.create(made, alice, "a", "one", private=False)
    for kind, ref in (("branch", "b"), ("tag", "t")):
        repos.add_ref(made, alice, "a", "one", kind=kind, ref=ref, revision="main")
    with pytest.raises(RequestDeniedError, match="3 branches and tags") as refused:
        repos.add_ref(made, alice, "a", "one", kind="tag", ref="u", revision="main")
    assert refused.value.status == 422
    repos.delete_ref(made, alice, "a", "one", kind="tag", ref="t")
    repos.add_ref(made, alice, "a", "one", kind="tag", ref="u", revision="main")
    made.close()
