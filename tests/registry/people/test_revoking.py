"""Keys that are lost, stolen or replaced, at the registry: said once, for good, and nothing new is signed with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embhub.errors import UsageError
from embhub.release.files import Release, is_attestation
from embhub.trust import keyring as keyrings
from embhub_registry.admission import rules as admission
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.repositories.proposal import Proposal
from tests.support import releases
from tests.support.releases import (
    AUDITOR,
    AUDITOR_BUNDLE,
    OTHER_SITE,
    SITE,
    make_keyring,
    make_release,
    make_trust,
    member,
    resigned,
)
from tests.support.servers import RunningRegistry, init_registry


@pytest.fixture
def house(tmp_path: Path) -> RunningRegistry:
    made = init_registry(tmp_path)
    made.add_key(SITE, namespace="radboud")
    return made


def keyring(house: RunningRegistry) -> keyrings.Keyring:
    export = keyrings.parse_export(house.run("trust", "export").stdout.encode())
    return keyrings.open_export(export, root_fingerprint=house.root_fingerprint).keyring


def test_a_revocation_is_the_next_keyring_signed_by_the_root_key(house: RunningRegistry) -> None:
    before = keyring(house)
    said = house.ask("key", "revoke", SITE.fingerprint, "--reason", "lost")
    after = keyring(house)
    assert after.version == before.version + 1 == said["keyring_version"]
    (row,) = after.revoked
    assert (row.fingerprint, row.reason, row.date) == (SITE.fingerprint, "lost", said["date"])
    assert after.members == before.members
    assert "lost on" in house.run("key", "list").stdout
    assert house.ask("key", "list")["keys"][0]["revoked"] == {"reason": "lost", "date": said["date"]}
    assert '"key-revoked"' in (house.folder / "audit.jsonl").read_text()


def test_a_revocation_is_final(house: RunningRegistry, tmp_path: Path) -> None:
    house.run("key", "revoke", SITE.fingerprint, "--reason", "lost")
    pem = tmp_path / "site.pem"
    pem.write_text(SITE.public_pem)
    with house.opened() as registry:
        for reason in ("lost", "superseded"):
            with pytest.raises(UsageError, match="revoked already"):
                administration.revoke_key(registry, SITE.fingerprint, reason=reason)
        with pytest.raises(UsageError, match="is revoked"):
            administration.remove_key(registry, SITE.fingerprint)
        with pytest.raises(UsageError, match="is revoked"):
            administration.add_key(registry, pem, namespace="radboud", role="withdraw")
        administration.revoke_key(registry, SITE.fingerprint, reason="stolen")
    assert [row.reason for row in keyring(house).revoked] == ["stolen"]
    house.add_key(OTHER_SITE, namespace="radboud")
    assert [row.fingerprint for row in keyring(house).revoked] == [SITE.fingerprint]


def test_a_removal_is_final_too(house: RunningRegistry, tmp_path: Path) -> None:
    said = house.ask("key", "remove", SITE.fingerprint)
    (row,) = keyring(house).revoked
    assert (row.fingerprint, row.reason, row.date) == (SITE.fingerprint, "left", said["date"])
    assert SITE.fingerprint not in keyring(house).fingerprints()
    pem = tmp_path / "site.pem"
    pem.write_text(SITE.public_pem)
    added = house.run("key", "add", pem, "--namespace", "radboud", "--role", "publish", check=False)
    assert added.returncode == 2 and "this is final" in added.stderr
    assert house.run("key", "remove", SITE.fingerprint, check=False).returncode == 2
    assert house.run("key", "revoke", SITE.fingerprint, "--reason", "stolen", check=False).returncode == 2
    house.add_key(OTHER_SITE, namespace="radboud")
    assert [row.fingerprint for row in keyring(house).revoked] == [SITE.fingerprint]


def test_a_key_that_is_not_there_and_a_reason_that_is_none(house: RunningRegistry) -> None:
    assert house.run("key", "revoke", AUDITOR.fingerprint, "--reason", "lost", check=False).returncode == 2
    assert house.run("key", "revoke", SITE.fingerprint, "--reason", "whim", check=False).returncode == 2
    assert not keyring(house).revoked


# ── admission ──────────────────────────────────────────────────────────────────────────────────────────────────────

LATER = "2026-11-21T00:00:00Z"


def ring(*rows: tuple[str, str]) -> keyrings.Trust:
    """Radboud with two keys, nki's auditor; `rows` are revoked fingerprints and reasons, a day after everything."""
    members = [member("radboud", [(SITE, "publish"), (OTHER_SITE, "publish")]), member("nki", [(AUDITOR, "audit")])]
    revoked = [{"fingerprint": key, "date": LATER, "reason": reason} for key, reason in rows]
    return make_trust(make_keyring(version=2, members=members, revoked=revoked))


def admit(release: Release, *, trusted: keyrings.Trust, before: Release | None = None, caller: str = "radboud") -> None:
    proposal = Proposal(
        repository=releases.REPOSITORY,
        files=release.files,
        before={path: releases.release_files.digest(data) for path, data in before.files.items()} if before else {},
        versions=(before.card.version,) if before else (),
        audit_required=False,
        trust=trusted,
        now=releases.NOW,
        caller=caller,
        attested={path: data for path, data in before.files.items() if is_attestation(path)} if before else {},
    )
    admission.admit(proposal)


def refused(release: Release, **situation: Any) -> RequestDeniedError:
    with pytest.raises(RequestDeniedError) as caught:
        admit(release, **situation)
    return caught.value


@pytest.mark.parametrize("reason", ["lost", "superseded", "stolen"])
def test_a_revoked_key_publishes_nothing_new_even_back_dated(reason: str) -> None:
    denied = refused(make_release(), trusted=ring((SITE.fingerprint, reason)))
    assert denied.rule == "revoked-key" and "embhub key new" in denied.hint


def test_the_present_version_may_be_signed_anew_with_another_key() -> None:
    present = make_release()
    anew = resigned(present, key=OTHER_SITE)
    admit(anew, trusted=ring((SITE.fingerprint, "stolen")), before=present)
    other = resigned(make_release(artifact=releases.make_embedding(seed=4)), key=OTHER_SITE)
    assert refused(other, trusted=ring(), before=present).rule == "rollback"


def test_signing_anew_drops_no_countersignature() -> None:
    present = resigned(make_release(), audit_key=AUDITOR)
    kept = resigned(present, key=OTHER_SITE)
    dropped = Release.from_files({path: data for path, data in kept.files.items() if path != AUDITOR_BUNDLE})
    assert refused(dropped, trusted=ring((SITE.fingerprint, "lost")), before=present).rule == "audit-kept"
    admit(kept, trusted=ring((SITE.fingerprint, "stolen")), before=present)


def test_a_revoked_auditors_key_attests_nothing_new() -> None:
    present = make_release()
    attested = resigned(present, audit_key=AUDITOR)
    files = {**present.files, AUDITOR_BUNDLE: attested.files[AUDITOR_BUNDLE]}
    trusted = ring((AUDITOR.fingerprint, "lost"))
    assert refused(Release.from_files(files), trusted=trusted, before=present, caller="nki").rule == "revoked-key"
