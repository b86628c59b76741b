"""A commit is stored whole or not at all, and a refusal leaves nothing behind."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.files import AUDIT, AUDIT_BUNDLE, CARD, EMBEDDING, PUBLISH_BUNDLE, Release, audit_bundle_of
from embhub.site.signing.keys import SigningKey
from embhub.trust.keyring import Role
from embhub_registry.admission import publication
from embhub_registry.database import StorageFullError
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import histories
from embhub_registry.database.releases.repositories import Revision
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.operation.backups import checking
from embhub_registry.repositories import commits, repos
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.stores.blobs import BlobStore
from tests.support import releases

NAME = "prostate-cspca"

NKI = audit_bundle_of("nki")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    signers: list[tuple[SigningKey, str, Role]]
    signers = [(releases.SITE, "radboud", "publish"), (releases.AUDITOR, "nki", "audit")]
    for key, namespace, role in signers:
        file = tmp_path / f"{namespace}.pem"
        file.write_text(key.public_pem)
        administration.add_key(made, file, namespace=namespace, role=role)
    yield made
    made.close()


def account(registry: Registry, name: str, namespace: str = "radboud", role: str = "publisher") -> Account:
    token = administration.add_user(registry, name, namespace=namespace, role=role)["token"]
    from embhub_registry.people import auth

    found = accounts.find_account(registry.database.connection(), auth.digest(token))
    assert found is not None
    return found


def request(files: Mapping[str, bytes], **changes: Any) -> CommitRequest:
    nothing: frozenset[str] = frozenset()
    parts = {"title": "Publish", "message": "", "parent": None, "deleted": nothing, "deleted_folders": nothing}
    return CommitRequest(files=files, **{**parts, **changes})


def stored(registry: Registry) -> set[str]:
    return set(registry.blobs.stored())


def snapshot(registry: Registry) -> dict[str, bytes]:
    db = registry.database.connection()
    return repos.files(registry, repos.at(db, repos.locate(db, None, "radboud", NAME), "main", repos.OPERATOR))


def test_a_release_is_stored_and_read_back(registry: Registry) -> None:
    alice = account(registry, "alice")
    repos.create(registry, alice, None, NAME, private=False)
    release = releases.make_release()
    made = publication.publish(registry, alice, "radboud", NAME, branch="main", request=request(release.files))
    assert isinstance(made, Revision) and made.release_version == "1.0.0"
    assert snapshot(registry) == dict(release.files)
    again = publication.publish(registry, alice, "radboud", NAME, branch="main", request=request(release.files))
    assert again.id == made.id, "the same files make no commit"
    assert checking.check(registry).clean


def test_a_refusal_stores_nothing(registry: Registry) -> None:
    alice = account(registry, "alice")
    repos.create(registry, alice, None, NAME, private=False)
    db = registry.database.connection()
    head = repos.at(db, repos.locate(db, None, "radboud", NAME), "main", repos.OPERATOR)
    broken = {**releases.make_release().files, AUDIT: b"{}"}
    with pytest.raises(RequestDeniedError):
        publication.publish(registry, alice, "radboud", NAME, branch="main", request=request(broken))
    assert stored(registry) == set()
    after = repos.at(registry.database.connection(), head.repository, "main", repos.OPERATOR)
    assert after.revision == head.revision
    assert checking.check(registry).clean


def test_a_full_disk_leaves_nothing(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = account(registry, "alice")
    repos.create(registry, alice, None, NAME, private=False)
    kind = type(registry.blobs)
    real, calls = kind.put, []

    def failing(self: BlobStore, data: bytes) -> str:
        calls.append(data)
        if len(calls) == 3:
            raise StorageFullError("the registry's disk is full", "inform its operator")
        return real(self, data)

    monkeypatch.setattr(kind, "put", failing)
    with pytest.raises(StorageFullError):
        publication.publish(
            registry, alice, "radboud", NAME, branch="main", request=request(releases.make_release().files)
        )
    assert len(calls) == 3 and stored(registry) == set()
    assert checking.check(registry).clean
    assert snapshot(registry) == {}


def test_a_readme_edited_alone_is_refused_and_a_new_version_taken(registry: Registry) -> None:
    alice = account(registry, "alice")
    repos.create(registry, alice, None, NAME, private=False)
    first = releases.make_release()
    publication.publish(registry, alice, "radboud", NAME, branch="main", request=request(first.files))
    edited = releases.edited_card(first, limitations="none")
    with pytest.raises(RequestDeniedError, match="not the one that was signed") as caught:
        publication.publish(registry, alice, "radboud", NAME, branch="main", request=request({CARD: edited}))
    assert caught.value.rule == "card-mismatch"
    with pytest.raises(RequestDeniedError) as caught:
        publication.publish(
            registry,
            alice,
            "radboud",
            NAME,
            branch="main",
            request=request({}, deleted=frozenset({AUDIT, AUDIT_BUNDLE})),
        )
    assert caught.value.rule == "audit-missing", "an audit cannot be dropped"
    second = releases.make_release(artifact=releases.make_embedding(seed=1), version="1.0.1")
    publication.publish(registry, alice, "radboud", NAME, branch="main", request=request(second.files))
    with pytest.raises(RequestDeniedError) as caught:
        publication.publish(registry, alice, "radboud", NAME, branch="main", request=request(first.files))
    assert caught.value.rule == "rollback"
    assert snapshot(registry)[EMBEDDING] == second.files[EMBEDDING]


def test_a_release_is_not_taken_apart(registry: Registry) -> None:
    """Weights deleted, then an old release put back in two commits, would be a rollback."""
    alice = account(registry, "alice")
    repos.create(registry, alice, None, NAME, private=False)
    first = releases.make_release()
    second = releases.make_release(artifact=releases.make_embedding(seed=5), version="2.0.0")

    def refused(files: Mapping[str, bytes], *deleted: str) -> str:
        with pytest.raises(RequestDeniedError) as caught:
            publication.publish(
                registry, alice, "radboud", NAME, branch="main", request=request(files, deleted=frozenset(deleted))
            )
        return caught.value.rule

    for release in (first, second):
        publication.publish(registry, alice, "radboud", NAME, branch="main", request=request(release.files))
    assert refused({}, EMBEDDING) == "weights-missing"
    assert refused({}, *second.files) == "weights-missing"
    assert refused({CARD: b"# Moved\n"}, *(set(second.files) - {CARD})) == "weights-missing"
    assert refused({PUBLISH_BUNDLE: first.files[PUBLISH_BUNDLE]}) == "digest-mismatch"
    assert refused(first.files) == "rollback"
    assert snapshot(registry) == dict(second.files)


def test_who_may_publish(registry: Registry) -> None:
    alice, lea = account(registry, "alice"), account(registry, "lea", "lumc")
    reader, nora = account(registry, "rob", role="reader"), account(registry, "nora", "nki", "auditor")
    repos.create(registry, alice, None, NAME, private=False)
    release = releases.make_release()

    def publish(who: Account | None, files: Mapping[str, bytes]) -> None:
        publication.publish(registry, who, "radboud", NAME, branch="main", request=request(files))

    for who, status in ((None, 401), (lea, 403), (reader, 403), (nora, 403)):
        with pytest.raises(RequestDeniedError) as caught:
            publish(who, release.files)
        assert caught.value.status == status
    publish(alice, release.files)
    counter = releases.resigned(release, audit_key=releases.AUDITOR)
    publish(nora, {NKI: counter.files[NKI]})
    assert snapshot(registry)[NKI] == counter.files[NKI]
    assert snapshot(registry)[AUDIT_BUNDLE] == release.files[AUDIT_BUNDLE], "the publisher's own stays beside it"
    for path in (AUDIT_BUNDLE, audit_bundle_of("umcu"), "attestations/mine.sigstore.json"):
        with pytest.raises(RequestDeniedError, match="may not change"):
            publish(nora, {path: counter.files[NKI]})
    with pytest.raises(RequestDeniedError, match=r"may not change README\.md"):
        publish(nora, {CARD: b"# mine\n"})


def test_an_independent_audit_stays(registry: Registry) -> None:
    """A publisher may not drop what it does not like to read, nor may another auditor; its own, or an admin, may."""
    alice, nora = account(registry, "alice"), account(registry, "nora", "nki", "auditor")
    otto, admin = account(registry, "otto", "umcu", "auditor"), account(registry, "root", "radboud", "admin")
    repos.create(registry, alice, None, NAME, private=False)
    release = releases.make_release(audited=False)

    def publish(who: Account, files: Mapping[str, bytes], *deleted: str) -> str:
        """The rule that refused; empty where nothing did."""
        commit = request(files, deleted=frozenset(deleted))
        try:
            publication.publish(registry, who, "radboud", NAME, branch="main", request=commit)
        except RequestDeniedError as denied:
            return denied.rule
        return ""

    def audited(shift: float, key: SigningKey = releases.AUDITOR) -> dict[str, bytes]:
        report = releases.make_report(release.embedding, shift=shift)
        attestation = signing.attest_audit(
            report, report_digest=release_files.digest(report.to_bytes()),
            registry=releases.ORIGIN, repository=releases.REPOSITORY, version="1.0.0",
            key=key, now=releases.NOW,
        )  # fmt: skip
        place = AUDIT_BUNDLE if key is releases.SITE else NKI
        return {AUDIT: report.to_bytes(), place: attestation}

    assert publish(alice, release.files) == ""
    own, leak, milder = audited(0.0, releases.SITE), audited(2.0), audited(0.1)
    assert publish(nora, leak) == ""
    for who in (alice, otto):
        assert publish(who, {}, AUDIT, NKI) in ("audit-kept", "role")
        assert publish(who, {}, NKI) in ("audit-missing", "role")
        assert publish(who, own) in ("audit-kept", "role")
        assert publish(who, milder) in ("audit-kept", "role")
    assert publish(alice, {}, AUDIT) == publish(alice, {}, AUDIT, NKI) == publish(alice, own) == "audit-kept"
    assert snapshot(registry)[AUDIT] == leak[AUDIT]
    assert publish(nora, milder) == "", "its auditor may correct it"
    assert publish(nora, {}, AUDIT, NKI) == ""
    assert publish(nora, leak) == ""
    assert publish(admin, {}, AUDIT, NKI) == ""
    assert publish(alice, own) == "", "a publisher may add its own audit later"
    assert publish(alice, {}, AUDIT, AUDIT_BUNDLE) == "audit-kept", "and not drop it"
    assert publish(alice, {}, AUDIT_BUNDLE) == "audit-missing"
    assert publish(nora, leak) == "audit-mismatch", "nobody replaces the report that the publisher attested"
    assert publish(nora, {NKI: leak[NKI]}) == "", "an auditor's attestation stands beside it"
    assert snapshot(registry)[AUDIT_BUNDLE] == own[AUDIT_BUNDLE]
    second = releases.make_release(artifact=releases.make_embedding(seed=7), version="1.1.0", audited=False)
    assert publish(alice, second.files, AUDIT, AUDIT_BUNDLE, NKI) == "", "another version is another matter"


def test_a_version_has_one_card_and_keeps_the_audit_that_it_was_signed_with(registry: Registry) -> None:
    alice = account(registry, "alice")
    repos.create(registry, alice, None, NAME, private=False)
    release = releases.make_release()

    def rule(other: Release, *deleted: str) -> str:
        commit = request(other.files, deleted=frozenset(deleted))
        try:
            publication.publish(registry, alice, "radboud", NAME, branch="main", request=commit)
        except RequestDeniedError as denied:
            return denied.rule
        return ""

    assert rule(release) == ""
    assert rule(releases.make_release(description="Another description of the same bytes.")) == "rollback"
    bare = {path: data for path, data in release.files.items() if path not in (AUDIT, AUDIT_BUNDLE)}
    unaudited = releases.resigned(Release.from_files(bare), publish={"audit": None})
    assert rule(unaudited, AUDIT, AUDIT_BUNDLE) in ("audit-kept", "card-mismatch")
    quieter = releases.resigned(release, publish={"audit": None})
    assert rule(quieter) == "audit-kept", "the report stays a file, and the new statement does not name it"
    assert rule(releases.resigned(release)) == "", "signed anew, it says the same"


def test_an_auditor_has_no_business_without_weights(registry: Registry) -> None:
    alice, nora = account(registry, "alice"), account(registry, "nora", "nki", "auditor")
    repos.create(registry, alice, None, NAME, private=False)
    with pytest.raises(RequestDeniedError) as caught:
        publication.publish(registry, nora, "radboud", NAME, branch="main", request=request({AUDIT: b"anything"}))
    assert caught.value.rule == "weights-missing"


def test_a_key_taken_out_of_the_keyring_publishes_no_more(registry: Registry) -> None:
    alice = account(registry, "alice")
    repos.create(registry, alice, None, NAME, private=False)
    administration.remove_key(registry, releases.SITE.fingerprint)
    with pytest.raises(RequestDeniedError) as caught:
        publication.publish(
            registry, alice, "radboud", NAME, branch="main", request=request(releases.make_release().files)
        )
    assert caught.value.rule == "unknown-signer"


def test_concurrent_publishers_are_serialised(registry: Registry) -> None:
    alice = account(registry, "alice")
    repos.create(registry, alice, None, NAME, private=False)
    outcomes: list[str] = []

    def write(number: int) -> None:
        made = publication.publish(
            registry, alice, "radboud", NAME, branch="main", request=request({CARD: f"# {number}\n".encode()})
        )
        outcomes.append(made.id)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db = registry.database.connection()
    repository = repos.locate(db, None, "radboud", NAME)
    line = histories.read(db, repository.id, repos.at(db, repository, "main", repos.OPERATOR).revision.id)
    assert len(set(outcomes)) == 4
    assert {r.id for r in line[:-1]} == set(outcomes), "no commit is lost and the history is one line"
    assert checking.check(registry).clean


def test_a_body_as_a_stock_client_sends_it() -> None:
    lines = [
        {"key": "header", "value": {"summary": "s", "description": "d", "parentCommit": "a" * 40}},
        {"key": "file", "value": {"path": CARD, "content": base64.b64encode(b"x").decode(), "encoding": "base64"}},
        {"key": "deletedFile", "value": {"path": AUDIT}},
        {"key": "deletedFolder", "value": {"path": "attestations/"}},
    ]
    parsed = commits.parse(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    assert (parsed.title, parsed.message, parsed.parent) == ("s", "d", "a" * 40)
    assert parsed.files == {CARD: b"x"} and parsed.deleted == {AUDIT} and parsed.deleted_folders == {"attestations"}
