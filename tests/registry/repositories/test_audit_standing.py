"""The verdict on an embedding's bytes: whose word counts for whom, who may see it, what an older registry brings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.formats import names
from embhub.release.checks.attested import VERDICTS
from embhub.site.signing.keys import SigningKey
from embhub.trust.keyring import Role
from embhub_registry.admission import publication, quarantining
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.statements.attestations import Attestation
from embhub_registry.operation import administration
from embhub_registry.pages import wordings
from embhub_registry.repositories import access, attesting, audit_standing, deletion, repos
from embhub_registry.repositories.access import Settings
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from tests.support.releases import AUDITOR, REPOSITORY, SITE, make_keyring, make_release, resigned

KEYRING = make_keyring()
ROW = Attestation(
    digest="a" * 64, namespace="nki", repository=REPOSITORY, version="1.0.0", own=False, verdict="leak-detected",
    created="2026-11-20T10:00:00Z", fingerprint=AUDITOR.fingerprint, bundle=b"{}", private=False,
)  # fmt: skip
SELF = replace(ROW, namespace="radboud", own=True, verdict="no-leak-detected", fingerprint=SITE.fingerprint)


def judge(
    *rows: Attestation, repository: str = REPOSITORY, keyring: object = KEYRING
) -> tuple[str, str, tuple[str, ...]]:
    found = audit_standing.judge(rows, digest=ROW.digest, repository=repository, keyring=keyring)  # type: ignore[arg-type]  # a keyring
    return found.verdict, found.confirmation, found.auditors


def test_whose_word_it_is() -> None:
    assert judge() == ("not-audited", "none", ())
    assert judge(SELF) == ("no-leak-detected", "self-declared", ())
    assert judge(SELF, ROW) == ("leak-detected", "countersigned", ("nki",))
    mild = replace(ROW, verdict="insufficient-evidence")
    assert judge(SELF, mild) == ("insufficient-evidence", "countersigned", ("nki",)), "an independent word outranks"
    assert judge(replace(SELF, verdict="leak-detected"), mild)[:2] == ("leak-detected", "self-declared")
    friend = replace(mild, namespace="umcu", verdict="no-leak-detected", created="2026-11-21T10:00:00Z")
    assert judge(ROW, friend) == ("leak-detected", "countersigned", ("nki",)), "a later friend changes nothing"
    later = replace(ROW, verdict="no-leak-detected", created="2026-11-21T10:00:00Z", version="1.0.1")
    assert judge(ROW, later) == ("no-leak-detected", "countersigned", ("nki",)), "an auditor may revise their own"


def test_who_does_not_count() -> None:
    smear = replace(SELF, namespace="lumc", repository="lumc/same-bytes", verdict="leak-detected")
    assert judge(smear) == ("not-audited", "none", ())
    assert judge(smear, repository="lumc/same-bytes") == ("leak-detected", "self-declared", ())
    stolen = make_keyring(
        version=2, revoked=[{"fingerprint": AUDITOR.fingerprint, "date": "2026-11-20T12:00:00Z", "reason": "stolen"}]
    )
    assert judge(ROW, keyring=stolen) == ("not-audited", "none", ())
    private = replace(ROW, repository="lumc/private", private=True)
    assert judge(private) == ("not-audited", "none", ()) and judge(private, repository="lumc/private")[2] == ("nki",)


@given(st.lists(st.tuples(st.sampled_from(["nki", "umcu", "radboud"]), st.sampled_from(VERDICTS), st.integers(0, 9))))
def test_an_independent_leak_stands_until_its_auditor_says_otherwise(said: list[tuple[str, str, int]]) -> None:
    rows = [
        replace(ROW, namespace=who, own=who == "radboud", verdict=verdict, created=f"2026-11-2{day}T10:00:00Z")
        for who, verdict, day in said
    ]
    last = {row.namespace: max(r.created for r in rows if r.namespace == row.namespace) for row in rows}
    leaking = [r for r in rows if r.created == last[r.namespace] and r.verdict == "leak-detected"]
    assert (judge(*rows)[0] == "leak-detected") == bool(leaking)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    signers: list[tuple[SigningKey, str, Role]] = [(SITE, "radboud", "publish"), (AUDITOR, "nki", "audit")]
    for key, namespace, role in signers:
        file = tmp_path / f"{namespace}.pem"
        file.write_text(key.public_pem)
        administration.add_key(made, file, namespace=namespace, role=role)
    yield made
    made.close()


def account(registry: Registry, name: str, namespace: str = "radboud", role: str = "publisher") -> Account:
    from embhub_registry.people import auth

    token = administration.add_user(registry, name, namespace=namespace, role=role)["token"]
    found = accounts.find_account(registry.database.connection(), auth.digest(token))
    assert found is not None
    return found


RELEASE = resigned(make_release(), audit_key=AUDITOR)


def published(registry: Registry, *, private: bool = False) -> Account:
    alice = account(registry, "alice")
    repos.create(registry, alice, None, "prostate-cspca", private=private)
    request = CommitRequest("Publish", "", None, dict(RELEASE.files), frozenset(), frozenset())
    publication.publish(registry, alice, "radboud", "prostate-cspca", branch="main", request=request)
    return alice


BOTH = ["nki insufficient-evidence", "radboud insufficient-evidence"]


def asked(registry: Registry, who: Account | None) -> list[str]:
    found = attesting.answer(registry, who, RELEASE.embedding.digest)
    assert found["embedding"] == RELEASE.embedding.digest
    return [f"{row['namespace']} {row['verdict']}" for row in found["audits"]]


def test_an_audit_of_a_private_repository_is_its_readers_alone(registry: Registry) -> None:
    alice = published(registry, private=True)
    lea, admin = account(registry, "lea", "lumc"), account(registry, "root", "registry", "admin")
    unknown = attesting.answer(registry, None, "f" * 64)
    for who in (None, lea):
        told = attesting.answer(registry, who, RELEASE.embedding.digest)
        assert told == {**unknown, "embedding": RELEASE.embedding.digest}, "as if nobody had such bytes"
    assert asked(registry, alice) == asked(registry, admin) == BOTH
    access.change(registry, admin, "radboud", "prostate-cspca", Settings(private=False))
    assert asked(registry, None) == asked(registry, lea) == BOTH
    access.change(registry, admin, "radboud", "prostate-cspca", Settings(gated="manual"))
    assert asked(registry, None) == [] and asked(registry, alice) == BOTH


def listed(registry: Registry) -> tuple[str, list[str]]:
    found = repositories.find(registry.database.connection(), "radboud", "prostate-cspca")
    assert found is not None
    return found.summary["release"]["confirmation"], found.summary["release"]["auditors"]


def test_lists_follow_the_keyring(registry: Registry) -> None:
    published(registry)
    assert listed(registry) == ("countersigned", ["nki"])
    administration.revoke_key(registry, AUDITOR.fingerprint, reason="lost")
    assert listed(registry) == ("countersigned", ["nki"])
    administration.revoke_key(registry, AUDITOR.fingerprint, reason="stolen")
    assert listed(registry) == ("self-declared", [])


def test_lists_follow_what_may_be_shown(registry: Registry) -> None:
    """The same bytes in a public repository are not marked by an audit that nobody may see, until it may be."""
    alice = published(registry, private=True)
    other = make_release(repository="radboud/other", audited=False)
    repos.create(registry, alice, None, "other", private=False)
    request = CommitRequest("Publish", "", None, dict(other.files), frozenset(), frozenset())
    publication.publish(registry, alice, "radboud", "other", branch="main", request=request)

    def verdict() -> str:
        found = repositories.find(registry.database.connection(), "radboud", "other")
        assert found is not None and other.embedding.digest == RELEASE.embedding.digest
        return str(found.summary["release"]["audit"])

    assert verdict() == "not-audited"
    access.change(registry, alice, "radboud", "prostate-cspca", Settings(private=False))
    assert verdict() == "insufficient-evidence"


def test_a_deleted_repository_leaves_its_audits(registry: Registry) -> None:
    published(registry)
    deletion.delete_as_operator(registry, REPOSITORY, reason="the name was wrong", scope="release")
    assert asked(registry, None) == BOTH


@pytest.mark.parametrize("was", ["gated", "disabled", "quarantined"])
def test_audits_of_a_release_that_not_everybody_could_read_stay_hidden_when_it_is_deleted(
    registry: Registry, was: str
) -> None:
    """They count for the same bytes elsewhere as they did before: deleting a repository hides no leak."""
    alice = published(registry)
    lea, admin = account(registry, "lea", "lumc"), account(registry, "root", "registry", "admin")
    assert asked(registry, None) == BOTH
    if was == "quarantined":
        quarantining.set_aside(registry, admin, "radboud", "prostate-cspca", version="1.0.0", reason="a copy?")
    else:
        change = Settings(gated="manual") if was == "gated" else Settings(disabled=True)
        access.change(registry, admin, "radboud", "prostate-cspca", change)

    def elsewhere() -> str:
        db, digest = registry.database.connection(), RELEASE.embedding.digest
        return audit_standing.of(db, digest, repository="lumc/same-bytes", keyring=registry.trust().keyring).verdict

    before = elsewhere()
    assert asked(registry, None) == asked(registry, lea) == []
    deletion.delete_as_operator(registry, REPOSITORY, reason="consent was withdrawn", scope="release")
    assert asked(registry, None) == asked(registry, lea) == [] and asked(registry, alice) == BOTH
    assert elsewhere() == before == "insufficient-evidence"


@pytest.mark.parametrize(
    ("said", "another"),
    [
        ("Radboudumc", False), ("radboudumc ", False), ("Radboudumc, Nijmegen", False), ("RADBOUDUMC", False),
        ("Radboud", True), ("Radboudumc Nijmegen", True), ("Leiden, Radboudumc", True), ("Radboudumс", True),
        ("", True),
    ],
)  # fmt: skip
def test_a_publisher_who_is_not_the_member(said: str, another: bool) -> None:
    assert names.is_another(said, "Radboudumc") is another


def test_a_publishers_own_audit_is_no_green_tick() -> None:
    own = wordings.audit_badge("no-leak-detected", "self-declared", ())
    assert own.style == "weak" and own.sign != "✓" and "self-declared" in own.words
    theirs = wordings.audit_badge("no-leak-detected", "countersigned", ("Nki",))
    assert theirs.style == "good" and theirs.words.endswith("countersigned by Nki")
    assert wordings.audit_badge("leak-detected", "self-declared", ()).style == "bad"
