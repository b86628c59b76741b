"""Audits and keyrings are entries, too: a registry that shows some of them to one reader alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from embhub.client.log import logged as release_in_log
from embhub.client.log import logged_attestations
from embhub.client.log.logged_attestations import KEYRING_PROOF, Papers
from embhub.log.errors import NotIncludedError
from embhub.log.proofs import parse
from embhub.release import demands, verification
from embhub.release import files as release_files
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import Release
from embhub.release.policy import STANDARD, Demand
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.trust import bundle, logged
from embhub.trust.keyring import Trust, parse_export
from tests.support import logs, releases
from tests.support.logs import MemoryLog

KEY, SECOND, WITNESS = logs.log_key(), logs.mldsa_key(), logs.witness_key()
RELEASE = releases.make_release()
RING = releases.make_keyring(log={"vkey": str(KEY.public)})
EXPORT = releases.make_export(RING)
SIGNED = bundle.parse(RELEASE.files[release_files.AUDIT_BUNDLE])
AUDIT = logged.leaf_of(SIGNED.envelope, releases.SITE.public).to_bytes()
KEYRING = next(iter(logged.leaves_of(parse_export(EXPORT).keyring, [releases.ROOT.public]))).to_bytes()
LEAF = logged.leaf_of(RELEASE.publish_bundle.envelope, releases.SITE.public).to_bytes()
TIME = int(releases.NOW.timestamp()) - 3_600
OTHERS = [logs.make_leaf(number).to_bytes() for number in range(3)]
POLICY = STANDARD.demanding([Demand("logged")])
AUDIT_PROOF = "attestations/audit.tlog-proof"


@pytest.fixture(autouse=True)
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trust:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    return trust_store.add(EXPORT, fingerprint=releases.ROOT.fingerprint)


def check(trust: Trust, log: MemoryLog | None, *, release: Release = RELEASE) -> Papers:
    verified = verification.verify(release, trust=trust, now=releases.NOW)
    return logged_attestations.check(verified, release, trusts=[trust], source=log, now=releases.NOW)


def check_all(trust: Trust, log: MemoryLog | None, *, release: Release = RELEASE) -> tuple[Papers, Release]:
    """The release, then its papers; and the folder that `pull` would write."""
    verified = verification.verify(release, trust=trust, now=releases.NOW)
    entry = release_in_log.check(verified, release, trusts=[trust], source=log, now=releases.NOW)
    found = logged_attestations.check(entry.verified, release, trusts=[trust], source=log, now=releases.NOW)
    assert entry.proof is not None
    return found, release.with_files({**release.files, release_in_log.PROOF: entry.proof, **found.proofs})


@dataclass
class TwoFaces(MemoryLog):
    """Proofs of the names in `shown`, and every tile, come from another log under the same key."""

    other: MemoryLog | None = None
    shown: tuple[bytes, ...] = ()

    def read(self, name: str, *, limit: int) -> bytes | None:
        theirs = name.startswith("tile/") or name in [f"proof/{logs.leaf_name(entry)}" for entry in self.shown]
        if theirs and self.other is not None:
            return self.other.read(name, limit=limit)
        return super().read(name, limit=limit)


def ask_for_witnesses() -> None:
    path = config.paths().config / release_in_log.POLICY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"witness A {WITNESS.public}\nquorum A\n")


def refused(found: Papers) -> str:
    with pytest.raises(PolicyRefusedError) as caught:
        demands.hold(found.verified, POLICY)
    assert caught.value.exit_code == 8 and caught.value.unmet == ("logged",)
    return caught.value.message


def said(found: Papers) -> list[tuple[str, str, str]]:
    kept = ("log-audit", "log-keyring")
    return [(one.check, one.outcome, one.text) for one in found.verified.findings if one.check in kept]


def test_an_honest_log_has_both_and_the_proofs_need_no_network(trust: Trust) -> None:
    found = check(trust, MemoryLog([*OTHERS, AUDIT, KEYRING], KEY))
    expected = [
        ("log-audit", "ok", "the audit that radboud signed: entry 3"), ("log-keyring", "ok", "keyring 1: entry 4")
    ]  # fmt: skip
    assert said(found) == expected
    assert set(found.proofs) == {AUDIT_PROOF, logged_attestations.KEYRING_PROOF}
    kept = RELEASE.with_files({**RELEASE.files, **found.proofs})
    assert said(check(trust, None, release=kept)) == expected
    notes = [one.text for one in check(trust, None, release=kept).verified.findings if one.check == "attestation"]
    assert not any("tlog-proof" in text for text in notes)


def test_a_newer_keyring_in_the_log_that_was_not_shown_is_said_at_once(trust: Trust) -> None:
    """A freeze: the registry holds back a revocation that its log has."""
    again = releases.make_export(RING.model_copy(update={"version": 2}))
    later = next(iter(logged.leaves_of(parse_export(again).keyring, [releases.ROOT.public])))
    forged = replace(later, signature=logs.make_leaf(9).signature).to_bytes()

    def newer(entries: list[bytes]) -> list[str]:
        found = check(trust, MemoryLog(entries, KEY))
        unmet = []
        try:
            demands.hold(found.verified, STANDARD.demanding([Demand("fresh")]))
        except PolicyRefusedError as error:
            unmet = [text for text in [error.message] if "newer keyring" in text]
        said = [one.text for one in found.verified.findings if one.check == "log-newer-keyring"]
        assert bool(unmet) == bool(said)
        return said

    honest = [*OTHERS, AUDIT, KEYRING]
    assert newer(honest) == newer([*honest, *OTHERS]) == newer([*honest, KEYRING, forged]) == []
    (said,) = newer([*honest, *OTHERS, later.to_bytes(), forged])
    assert said == "entry 8 of the log is a newer keyring than the one in use here"


LATER = next(
    iter(
        logged.leaves_of(
            parse_export(releases.make_export(RING.model_copy(update={"version": 2}))).keyring,
            [releases.ROOT.public],
        )
    )
).to_bytes()
FILLING = [logs.make_leaf(number).to_bytes() for number in range(1_100)]
FRESH = STANDARD.demanding([Demand("fresh")])


def newer(found: Papers) -> str:
    """What is said of a newer keyring; `fresh` refuses just where something is."""
    text = "".join(one.text for one in found.verified.findings if one.check == "log-newer-keyring")
    if text:
        with pytest.raises(PolicyRefusedError) as caught:
            demands.hold(found.verified, FRESH)
        assert text in caught.value.message
    return text


class LastCopy(MemoryLog):
    """Its proof of a keyring names the last entry of it."""

    def read(self, name: str, *, limit: int) -> bytes | None:
        if name == f"proof/{logs.leaf_name(KEYRING)}":
            return self.proof_of(len(self.entries) - 1).to_bytes()
        return super().read(name, limit=limit)


@pytest.mark.parametrize("filling", [0, 260])
def test_a_copy_of_the_older_keyrings_entry_hides_no_newer_one(trust: Trust, filling: int) -> None:
    """The log appends the entry once more, behind the newer one, and its proof names the copy."""
    entries = [*FILLING[:filling], *OTHERS, AUDIT, KEYRING, *FILLING[filling : 2 * filling], LATER, KEYRING]
    place = entries.index(LATER)
    for _ in range(3):
        said = newer(check(trust, LastCopy(entries, KEY)))
        assert said == f"entry {place:,} of the log is a newer keyring than the one in use here"


@pytest.mark.parametrize("last", [FILLING[0], LATER])
def test_whoever_withholds_entries_of_the_log_with_the_keyring_gains_nothing(trust: Trust, last: bytes) -> None:
    """Where the entries after the keyring's are not served, nobody knows whether one is a revocation."""
    entries = [*OTHERS, AUDIT, KEYRING, last]
    found = check(trust, MemoryLog(entries, KEY, changed={"tile/entries/000.p/6": None}))
    assert newer(found).startswith("not known whether the log holds a newer keyring")


def test_a_log_with_many_later_entries_is_looked_through_over_several_calls(
    trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logged_attestations, "MOST_LATER", 256)
    honest = MemoryLog([*OTHERS, AUDIT, KEYRING, *FILLING], KEY)
    said = [newer(check(trust, honest)) for _ in range(5)]
    assert "only 512 of its 1,105 entries" in said[0] and "only 1,024 of its 1,105" in said[2]
    assert said[3:] == ["", ""]
    grown = MemoryLog([*honest.entries, *FILLING[:100], LATER], KEY)
    for _ in range(2):  # one that was found is found again
        assert newer(check(trust, grown)) == "entry 1,205 of the log is a newer keyring than the one in use here"


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
    other = RELEASE.with_files({**RELEASE.files, logged_attestations.KEYRING_PROOF: log.proof_of(0).to_bytes()})
    assert "is of another keyring" in said(check(trust, None, release=other))[-1][2]


@pytest.mark.parametrize("shown", [(AUDIT,), (KEYRING,), (AUDIT, KEYRING)])
def test_papers_under_a_checkpoint_that_no_witness_cosigned_do_not_count(
    trust: Trust, shown: tuple[bytes, ...]
) -> None:
    ask_for_witnesses()
    rest = [entry for entry in (AUDIT, KEYRING) if entry not in shown]
    private = MemoryLog([*OTHERS, LEAF, *rest, *shown], KEY)
    world = TwoFaces([*OTHERS, LEAF, *rest], KEY, (WITNESS,), TIME, other=private, shown=shown)
    found, folder = check_all(trust, world)
    doubted = {name for name, outcome, text in said(found) if outcome == "warning" and "no quorum of witnesses" in text}
    assert doubted == {{AUDIT: "log-audit", KEYRING: "log-keyring"}[entry] for entry in shown}
    assert "no quorum of witnesses cosigned" in refused(found)
    offline, _ = check_all(trust, None, release=folder)
    assert "no quorum of witnesses cosigned" in refused(offline)


def test_papers_under_a_later_checkpoint_that_witnesses_cosigned_count(trust: Trust) -> None:
    ask_for_witnesses()
    later = MemoryLog([*OTHERS, LEAF, AUDIT, KEYRING], KEY, (WITNESS,), TIME)
    world = TwoFaces([*OTHERS, LEAF], KEY, (WITNESS,), TIME, other=later, shown=(AUDIT, KEYRING))
    found, folder = check_all(trust, world)
    assert [outcome for _, outcome, _ in said(found)] == ["ok", "ok"]
    demands.hold(found.verified, POLICY)
    demands.hold(check_all(trust, None, release=folder)[0].verified, POLICY)


def test_papers_count_once_witnesses_cosigned_a_log_that_begins_with_theirs(trust: Trust) -> None:
    """They saw the log later than this site: what it begins with is everybody's."""
    ask_for_witnesses()
    entries = [*OTHERS, LEAF, AUDIT, KEYRING]
    found, folder = check_all(trust, MemoryLog(entries, KEY))
    assert "no quorum of witnesses cosigned" in refused(found)
    check_all(trust, MemoryLog([*entries, b"later"], KEY, (WITNESS,), TIME))
    offline, _ = check_all(trust, None, release=folder)
    assert {outcome for _, outcome, _ in said(offline)} == {"ok"}
    demands.hold(offline.verified, STANDARD.demanding([Demand("logged"), Demand("witnessed")]))


def test_papers_need_both_signatures_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "both"))
    ring = releases.make_keyring(log={"vkey": str(KEY.public), "mldsa": str(SECOND.public)})
    export = releases.make_export(ring)
    both = trust_store.add(export, fingerprint=releases.ROOT.fingerprint)
    keyring = next(iter(logged.leaves_of(parse_export(export).keyring, [releases.ROOT.public]))).to_bytes()
    entries = [LEAF, AUDIT, keyring]
    good = MemoryLog(entries, KEY, second=SECOND)
    demands.hold(check_all(both, good)[0].verified, POLICY)
    alone = MemoryLog(entries, KEY)
    found, _ = check_all(both, TwoFaces([LEAF], KEY, second=SECOND, other=alone, shown=(AUDIT, keyring)))
    assert [outcome for _, outcome, _ in said(found)] == ["warning", "warning"]
    assert "Ed25519 alone" in refused(found)


def test_papers_of_another_fork_do_not_count_without_a_network(trust: Trust) -> None:
    fork, own = MemoryLog([b"fork", AUDIT, KEYRING], KEY), MemoryLog([LEAF, OTHERS[0]], KEY)
    proofs = {
        release_in_log.PROOF: own.proof_of(0), AUDIT_PROOF: fork.proof_of(1), KEYRING_PROOF: fork.proof_of(2),
    }  # fmt: skip
    folder = RELEASE.with_files({**RELEASE.files, **{name: proof.to_bytes() for name, proof in proofs.items()}})
    found, _ = check_all(trust, None, release=folder)
    assert [outcome for _, outcome, _ in said(found)] == ["warning", "warning"]
    assert "not compared" in refused(found)


def test_a_log_that_grew_between_two_questions_is_kept_under_one_checkpoint(trust: Trust) -> None:
    entries = [*OTHERS, AUDIT, KEYRING, LEAF]
    grown = MemoryLog([*entries, b"more"], KEY)
    found, folder = check_all(trust, TwoFaces(entries, KEY, other=grown, shown=(AUDIT, KEYRING)))
    assert said(found) == [
        ("log-audit", "ok", "the audit that radboud signed: entry 3"), ("log-keyring", "ok", "keyring 1: entry 4"),
    ]  # fmt: skip
    noted = {parse(folder.files[name]).note for name in (release_in_log.PROOF, AUDIT_PROOF, KEYRING_PROOF)}
    assert noted == {MemoryLog(entries, KEY).checkpoint().note}
    demands.hold(check_all(trust, None, release=folder)[0].verified, POLICY)


def test_tiles_that_are_not_those_of_the_releases_checkpoint_are_said(trust: Trust) -> None:
    entries = [*OTHERS, AUDIT, KEYRING, LEAF]
    grown = MemoryLog([*entries, b"more"], KEY, changed={"tile/0/000.p/6": bytes(6 * 32)})
    found, _ = check_all(trust, TwoFaces(entries, KEY, other=grown, shown=(AUDIT, KEYRING)))
    assert all("not those of the release's checkpoint" in text for _, _, text in said(found))
    refused(found)
