"""Audits and keyrings are entries, too: a registry that shows some of them to one reader alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from embhub.client import logged_papers
from embhub.client.logged_papers import Papers
from embhub.log.errors import NotIncludedError
from embhub.release import demands, verification
from embhub.release import files as release_files
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import Release
from embhub.release.policy import STANDARD, Demand
from embhub.site import trust_store
from embhub.trust import bundle, logged
from embhub.trust.keyring import Trust, parse_export
from tests.support import logs, releases
from tests.support.logs import MemoryLog

KEY = logs.log_key()
RELEASE = releases.make_release()
RING = releases.make_keyring(log={"vkey": str(KEY.public)})
EXPORT = releases.make_export(RING)
SIGNED = bundle.parse(RELEASE.files[release_files.AUDIT_BUNDLE])
AUDIT = logged.leaf_of(SIGNED.envelope, releases.SITE.public).to_bytes()
KEYRING = next(iter(logged.leaves_of(parse_export(EXPORT).keyring, [releases.ROOT.public]))).to_bytes()
OTHERS = [logs.make_leaf(number).to_bytes() for number in range(3)]
POLICY = STANDARD.demanding([Demand("logged")])
AUDIT_PROOF = "attestations/audit.tlog-proof"


@pytest.fixture(autouse=True)
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trust:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    return trust_store.add(EXPORT, fingerprint=releases.ROOT.fingerprint)


def check(trust: Trust, log: MemoryLog | None, *, release: Release = RELEASE) -> Papers:
    verified = verification.verify(release, trust=trust, now=releases.NOW)
    return logged_papers.check(verified, release, trusts=[trust], source=log)


def said(found: Papers) -> list[tuple[str, str, str]]:
    kept = ("log-audit", "log-keyring")
    return [(one.check, one.outcome, one.text) for one in found.verified.findings if one.check in kept]


def test_an_honest_log_has_both_and_the_proofs_need_no_network(trust: Trust) -> None:
    found = check(trust, MemoryLog([*OTHERS, AUDIT, KEYRING], KEY))
    expected = [
        ("log-audit", "ok", "the audit that radboud signed: entry 3"), ("log-keyring", "ok", "keyring 1: entry 4")
    ]  # fmt: skip
    assert said(found) == expected
    assert set(found.proofs) == {AUDIT_PROOF, logged_papers.KEYRING_PROOF}
    kept = RELEASE.with_files({**RELEASE.files, **found.proofs})
    assert said(check(trust, None, release=kept)) == expected
    notes = [one.text for one in check(trust, None, release=kept).verified.findings if one.check == "attestation"]
    assert not any("tlog-proof" in text for text in notes)


@pytest.mark.parametrize(
    ("entries", "missing"),
    [([*OTHERS, KEYRING], "log-audit"), ([*OTHERS, AUDIT], "log-keyring")],
)
def test_what_is_shown_to_one_reader_alone_is_missed(trust: Trust, entries: list[bytes], missing: str) -> None:
    found = check(trust, MemoryLog(entries, KEY))
    outcomes = {check: outcome for check, outcome, _ in said(found)}
    assert outcomes.pop(missing) == "warning" and set(outcomes.values()) == {"ok"}
    with pytest.raises(PolicyRefusedError, match="no entry is shown for it"):
        demands.hold(found.verified, POLICY)


def test_a_proof_of_another_entry_is_refused(trust: Trust) -> None:
    log = MemoryLog([*OTHERS, AUDIT, KEYRING], KEY)
    for entry in (AUDIT, KEYRING):
        lie = replace(log, changed={f"proof/{logs.leaf_name(entry)}": log.proof_of(0).to_bytes()})
        with pytest.raises(NotIncludedError) as caught:
            check(trust, lie)
        assert caught.value.exit_code == 4


def test_a_folder_without_proofs_says_so_and_a_newer_keyring_is_no_forgery(trust: Trust) -> None:
    assert [outcome for _, outcome, _ in said(check(trust, None))] == ["warning", "note"]
    log = MemoryLog([*OTHERS, AUDIT, KEYRING], KEY)
    other = RELEASE.with_files({**RELEASE.files, logged_papers.KEYRING_PROOF: log.proof_of(0).to_bytes()})
    assert "is of another keyring" in said(check(trust, None, release=other))[-1][2]
