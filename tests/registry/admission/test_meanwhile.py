"""What changes between admission's verdict and the transaction that makes a commit visible: the commit knows it too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.site.signing.keys import SigningKey
from embhub.trust.keyring import Role
from embhub_registry.admission import approving, publication, storing
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases.repositories import Revision
from embhub_registry.database.standing import yanks
from embhub_registry.database.statements import proposals
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.people import auth, members
from embhub_registry.repositories import offboarding, repos, reviewing, stolen_keys
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from tests.support import releases, reviews

NAME = "prostate-cspca"
OTHER = releases.make_key("another site's key")
APPROVER = releases.make_key("an approver's key")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    signers: list[tuple[SigningKey, str, Role]] = [
        (releases.SITE, "radboud", "publish"), (OTHER, "lumc", "publish"), (APPROVER, "radboud", "approve"),
    ]  # fmt: skip
    for key, namespace, role in signers:
        file = tmp_path / f"{namespace}.{role}.pem"
        file.write_text(key.public_pem)
        administration.add_key(made, file, namespace=namespace, role=role)
    administration.add_user(made, "root", namespace="registry", role="admin")  # an account is the last admin otherwise
    repos.create(made, account(made, "alice"), None, NAME, private=False)
    yield made
    made.close()


def account(registry: Registry, name: str, role: str = "publisher") -> Account:
    token = administration.add_user(registry, name, namespace="radboud", role=role)["token"]
    found = accounts.find_account(registry.database.connection(), auth.digest(token))
    assert found is not None
    return found


def push(registry: Registry, author: Account, *, embargo: str | None = None) -> Any:
    files = dict(releases.make_release(audited=False).files)
    request = CommitRequest("Publish", "", None, files, frozenset(), frozenset(), embargo=embargo)
    return publication.publish(registry, author, "radboud", NAME, branch="main", request=request)


def once_judged(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object], *, before: bool = False) -> list[int]:
    """Let something happen after the first verdict, or right before it; the list has an entry for each verdict."""
    judge, judged = storing.judge, list[int]()

    def late(*given: Any) -> Any:
        judged.append(1)
        if before and len(judged) == 1:
            happens()
        made = judge(*given)
        if not before and len(judged) == 1:
            happens()
        return made

    monkeypatch.setattr(publication, "judge", late)
    monkeypatch.setattr(approving, "judge", late)
    return judged


def alice_of(registry: Registry) -> Account:
    row = accounts.find_user(registry.database.connection(), "alice")
    assert row is not None
    found = auth.find_account(registry.database.connection(), row["id"])
    assert found is not None
    return found


def versions(registry: Registry) -> list[str]:
    statement = "SELECT release_version FROM revision WHERE release_version IS NOT NULL"
    return [row[0] for row in registry.database.connection().execute(statement)]


@pytest.mark.parametrize("reason", ["stolen", "lost", "superseded"])
def test_a_key_revoked_while_admission_looks_publishes_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, reason: Any
) -> None:
    fingerprint = releases.SITE.fingerprint
    once_judged(monkeypatch, lambda: administration.revoke_key(registry, fingerprint, reason=reason))
    with pytest.raises(RequestDeniedError) as denied:
        push(registry, alice_of(registry))
    assert denied.value.status == 422 and versions(registry) == []


def test_a_keyring_that_changed_for_others_is_judged_by_once_more(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = once_judged(
        monkeypatch, lambda: administration.revoke_key(registry, OTHER.fingerprint, reason="stolen")
    )  # fmt: skip
    assert isinstance(push(registry, alice_of(registry)), Revision)
    assert len(judged) == 2 and versions(registry) == ["1.0.0"]


def test_a_release_that_comes_while_stolen_keys_are_judged_is_judged_too(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it stays for good: the setting says that these fingerprints were judged."""
    push(registry, alice_of(registry))
    signed, asked = yanks.signed_commits, list[int]()

    def without(db: Any) -> Any:
        asked.append(1)
        return [] if len(asked) == 1 and not db.in_transaction else signed(db)  # the release was not there yet

    monkeypatch.setattr(yanks, "signed_commits", without)
    administration.revoke_key(registry, releases.SITE.fingerprint, reason="stolen")
    db = registry.database.connection()
    repository = repos.find(db, "radboud", NAME)
    assert repository is not None and yanks.stolen_versions(db, repository.id) == {"1.0.0"}


def test_stolen_keys_are_judged_by_the_newest_keyring(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process looks by a keyring that another replaced meanwhile: it leaves what the other one found."""
    push(registry, alice_of(registry))
    administration.revoke_key(registry, OTHER.fingerprint, reason="stolen")
    with registry.database.writing() as db:
        accounts.write_setting(db, stolen_keys.JUDGED, "")
    signed, first = yanks.signed_commits, [True]

    def slowly(db: Any) -> Any:
        if first.pop() if first else False:
            administration.revoke_key(registry, releases.SITE.fingerprint, reason="stolen")
        return signed(db)

    monkeypatch.setattr(yanks, "signed_commits", slowly)
    stolen_keys.catch_up(registry)
    both = " ".join(sorted((OTHER.fingerprint, releases.SITE.fingerprint)))
    assert registry.setting(stolen_keys.JUDGED) == both


@pytest.mark.parametrize("embargo", [None, "2027-06-01T00:00:00Z"])
@pytest.mark.parametrize("change", ["left", "disabled", "role", "made an auditor"])
def test_who_is_shut_out_while_admission_looks_publishes_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, change: str, embargo: str | None
) -> None:
    def happens() -> None:
        if change == "left":
            offboarding.leave(registry, "alice", keep=True)
        elif change == "disabled":
            with registry.database.writing() as db:
                accounts.set_disabled(db, author.user_id, stamp())
        else:
            members.join(registry, "alice", namespace="radboud", role="reader" if change == "role" else "auditor")

    author = alice_of(registry)
    before = set(registry.blobs.stored())
    once_judged(monkeypatch, happens)
    with pytest.raises(RequestDeniedError) as denied:
        push(registry, author, embargo=embargo)
    assert denied.value.status == 403 and versions(registry) == []
    db = registry.database.connection()
    repository = repos.find(db, "radboud", NAME)
    assert repository is not None and proposals.open_of(db, repository.id) == []
    assert set(registry.blobs.stored()) == before


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("key", [releases.SITE, APPROVER], ids=["publisher", "approver"])
def test_a_key_revoked_while_the_last_approval_is_looked_at_publishes_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, key: SigningKey, before: bool
) -> None:
    reviewing.set_rule(registry, None, "radboud", "", 2)
    made = push(registry, alice_of(registry))
    files = {entry.path: entry.digest for entry in proposals.files(registry.database.connection(), made.id)}
    signed = reviews.attest({"id": made.id}, files, user="olga", key=APPROVER, version="1.0.0")
    for number, name in enumerate(("olga", "omar")):
        approver = account(registry, name, role="approver")
        if number == 0:
            approving.approve(
                registry, approver, made.id, digest=made.digest, embargo="", signed=json.dumps(signed).encode()
            )  # fmt: skip
    once_judged(
        monkeypatch, lambda: administration.revoke_key(registry, key.fingerprint, reason="stolen"), before=before
    )  # fmt: skip
    if key is APPROVER:
        done = approving.approve(registry, approver, made.id, digest=made.digest, embargo="", proved=True)
        assert (done.revision, done.approvals, done.needed) == (None, 1, 2), "the other one does not count any more"
    else:
        with pytest.raises(RequestDeniedError, match="stolen"):
            approving.approve(registry, approver, made.id, digest=made.digest, embargo="", proved=True)
    assert versions(registry) == []


def test_proposals_are_kept_where_nothing_changed(registry: Registry) -> None:
    kept = push(registry, alice_of(registry), embargo="2027-06-01T00:00:00Z")
    assert isinstance(kept, proposals.Proposal)
