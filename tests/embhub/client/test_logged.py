"""A registry that lies about its log, in every way that the design lists; and what an honest one gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embhub.client.log import log_memory, log_reader, logged
from embhub.errors import ConfigError, RegistryError
from embhub.log import checkpoints, merkle, notes, proofs
from embhub.log.checkpoints import Checkpoint
from embhub.log.errors import (
    BadCosignatureError,
    ForkedLogError,
    LogError,
    MalformedLogError,
    NotIncludedError,
    WrongLogError,
)
from embhub.log.notes import Note, NoteSigner
from embhub.release import demands, verification
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import Release
from embhub.release.policy import STANDARD, Demand
from embhub.site import config
from embhub.trust import logged as entries
from embhub.trust.keyring import LogKey, Trust
from tests.support import logs, releases
from tests.support.logs import MemoryLog

SECOND = logs.mldsa_key()
KEY, WITNESS, OTHER = logs.log_key(), logs.witness_key(), logs.witness_key("other.example.org", 3)
RELEASE = releases.make_release()
LEAF = entries.leaf_of(RELEASE.publish_bundle.envelope, releases.SITE.public).to_bytes()
NOW = releases.NOW
TIME = int(NOW.timestamp()) - 3_600
PLACE = f"proof/{merkle.leaf_hash(LEAF).hex()}"
BEFORE = [logs.make_leaf(number).to_bytes() for number in range(5)]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))


def trust(**changes: object) -> Trust:
    keyring = releases.make_keyring()
    changed = keyring.model_copy(update={"log": LogKey(vkey=str(KEY.public)), **changes})
    return releases.make_trust(changed)


def honest(*more: bytes, **changes: object) -> MemoryLog:
    return replace(MemoryLog([*BEFORE, LEAF, *more], KEY, time=TIME), **changes)  # type: ignore[arg-type]


def check(log: MemoryLog | None, *, release: Release = RELEASE, by: Trust | None = None) -> logged.Logged:
    known = by or trust()
    verified = verification.verify(release, trust=known, now=NOW)
    return logged.check(verified, release, trusts=[known], source=log, now=NOW)


def with_second_key() -> Trust:
    return trust(log=LogKey(vkey=str(KEY.public), mldsa=str(SECOND.public)))


def finding(found: logged.Logged, check: str = "log") -> tuple[str, str]:
    (one,) = [one for one in found.verified.findings if one.check == check]
    return one.outcome, one.text


def with_policy(quorum: str = "quorum A\n", *more: str) -> None:
    path = config.paths().config / logged.POLICY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"witness A {WITNESS.public}", f"witness B {OTHER.public}", *more]
    path.write_text("\n".join(lines) + "\n" + quorum)


def test_an_honest_log_shows_the_release() -> None:
    found = check(honest())
    assert finding(found) == (
        "ok", "entry 5 of 6 in the log of 127.0.0.1; the first checkpoint that this site saw of it"
    )  # fmt: skip
    assert finding(found, "log-witnesses")[1].startswith("unknown: how old")
    assert found.verified.log_index == 5 and found.verified.checkpoint == honest().checkpoint().to_bytes().decode()
    again = check(honest(b"more", b"and more"))
    assert "consistent with the 6 entries seen before" in finding(again)[1]
    older = check(honest(b"more", b"and more", size=6))  # a proof to an earlier checkpoint of the same log is as good
    assert "consistent with the 8 entries" in finding(older)[1]
    kept = log_memory.recall(KEY.public)
    assert kept is not None and kept.size == 8
    assert demands.hold(found.verified, STANDARD.demanding([Demand("logged")]))


def test_both_signatures_of_the_log_are_checked_where_the_keyring_names_two_keys() -> None:
    known, strict = with_second_key(), STANDARD.demanding([Demand("logged")])
    both = check(honest(second=SECOND), by=known)
    assert finding(both, "log-signatures") == ("ok", "the log signed by Ed25519 and ML-DSA-44")
    assert demands.hold(both.verified, strict)
    alone = check(honest(), by=known)
    assert finding(alone, "log-signatures")[0] == "warning"
    with pytest.raises(PolicyRefusedError, match="Ed25519 alone"):
        demands.hold(alone.verified, strict)
    assert not any(one.check == "log-signatures" for one in check(honest(second=SECOND)).verified.findings)


def test_a_site_without_mldsa_verifies_by_ed25519_and_says_so(without_mldsa: None) -> None:
    found = check(honest(second=SECOND), by=with_second_key())
    assert finding(found)[0] == "ok" and finding(found, "log-signatures")[0] == "note"
    assert "Ed25519 alone was checked" in finding(found, "log-signatures")[1]
    assert demands.hold(found.verified, STANDARD.demanding([Demand("logged")]))


def test_a_forged_second_signature_is_refused() -> None:
    note = honest(second=SECOND).checkpoint().note
    last = note.signatures[1]
    forged = replace(last, signature=last.signature[:-1] + bytes([last.signature[-1] ^ 1]))
    proof = replace(honest().proof_of(5), note=replace(note, signatures=(note.signatures[0], forged)))
    with pytest.raises(WrongLogError, match="ML-DSA-44") as caught:
        check(replace(honest(), changed={PLACE: proof.to_bytes()}), by=with_second_key())
    assert caught.value.exit_code == 4 and log_memory.recall(KEY.public) is None


def test_the_proof_beside_the_bundle_needs_no_network() -> None:
    found = check(honest())
    assert found.proof is not None
    folder = RELEASE.with_files({**RELEASE.files, logged.PROOF: found.proof})
    offline = check(None, release=folder)
    assert finding(offline)[0] == "ok" and offline.verified.log_index == 5
    assert not any("not checked by this version" in one.text for one in offline.verified.findings)
    check(honest(b"more"))
    again = check(None, release=folder)
    assert finding(again) == ("ok", "entry 5 of 6 in the log of 127.0.0.1; consistent with the 7 entries seen before")
    demands.hold(again.verified, STANDARD.demanding([Demand("logged")]))
    outcome, text = finding(check(None))
    assert outcome == "warning" and text.startswith("unknown: no proof")


def test_a_folder_is_compared_where_the_state_cannot_be_written() -> None:
    found = check(honest())
    assert found.proof is not None
    folder = RELEASE.with_files({**RELEASE.files, logged.PROOF: found.proof})
    check(honest(b"more"))
    for lock in config.paths().state.glob("*.lock"):
        lock.unlink()
        lock.mkdir()  # as on a disk that is mounted read-only: no lock is taken
    again = check(None, release=folder)
    assert finding(again) == ("ok", "entry 5 of 6 in the log of 127.0.0.1; consistent with the 7 entries seen before")
    assert finding(check(honest(b"more")))[0] == "ok", "it is what was seen last"
    with pytest.raises(ConfigError, match="cannot write"):
        check(honest(b"more", b"and more"))


@pytest.mark.parametrize(
    ("quorum", "witnesses", "age", "outcome", "text"),
    [
        ("quorum A\n", [WITNESS], 0, "ok", "fresh: a quorum of witnesses cosigned on 2026-11-20T09:30:00Z"),
        ("quorum A\n", [WITNESS], 8 * 86_400, "warning", "stale since 2026-11-19T09:30:00Z"),
        ("quorum A\n", [WITNESS], -86_400, "warning", "unknown: a quorum of witnesses cosigned on 2026-11-21"),
        ("quorum A\n", [], 0, "warning", "unknown: no quorum of witnesses cosigned the checkpoint; nobody did"),
        ("quorum A\n", [OTHER], 0, "warning", "unknown: no quorum"),
        ("group G all A B\nquorum G\n", [WITNESS], 0, "warning", "unknown: no quorum"),
        ("group G all A B\nquorum G\n", [WITNESS, OTHER], 0, "ok", "fresh"),
        ("quorum none\n", [], 0, "note", "unknown: how old"),
    ],
)
def test_freshness_is_what_witnesses_say(
    quorum: str, witnesses: list[NoteSigner], age: int, outcome: str, text: str
) -> None:
    with_policy(quorum)
    found = check(honest(witnesses=witnesses, time=TIME - age))
    said = finding(found, "log-witnesses")
    assert said[0] == outcome and said[1].startswith(text)
    policy = STANDARD.demanding([Demand("logged")])
    if outcome == "warning":
        with pytest.raises(PolicyRefusedError, match="in the transparency log"):
            demands.hold(found.verified, policy)
    else:
        demands.hold(found.verified, policy)


def test_what_this_sites_witness_cosigned_vouches_for_nothing_that_it_is_not_shown_to_begin_with() -> None:
    with_policy()
    check(honest(witnesses=[WITNESS]))
    seen = honest(b"more", b"and more", witnesses=[WITNESS])
    log_memory.advance(KEY.public, seen.checkpoint(), prove=None, book=log_memory.WITNESS)
    forked = check(honest(b"evil"))  # continues what the reader saw, and has no tile of eight entries
    assert finding(forked)[0] == "ok" and finding(forked, "log-witnesses")[0] == "warning"
    with pytest.raises(PolicyRefusedError, match="no quorum of witnesses"):
        demands.hold(forked.verified, STANDARD.demanding([Demand("witnessed")]))


def test_what_this_sites_witness_cosigned_vouches_for_what_it_is_shown_to_begin_with() -> None:
    with_policy()
    check(honest(witnesses=[WITNESS]))
    seen = honest(b"more", b"and more", witnesses=[WITNESS])
    log_memory.advance(KEY.public, seen.checkpoint(), prove=None, book=log_memory.WITNESS)
    outcome, text = finding(check(replace(seen, size=7, witnesses=[])), "log-witnesses")
    assert outcome == "ok" and text.endswith("the 8 entries that this site's witness cosigned")


def test_a_folder_is_as_fresh_as_the_newest_checkpoint_that_it_was_compared_with() -> None:
    """Its own proof ages. The site goes on seeing the log, and whoever cosigned later vouches for earlier entries."""
    with_policy()
    old = check(honest(witnesses=[WITNESS], time=TIME - 8 * 86_400))
    assert old.proof is not None and finding(old, "log-witnesses")[0] == "warning"
    folder = RELEASE.with_files({**RELEASE.files, logged.PROOF: old.proof})
    assert finding(check(None, release=folder), "log-witnesses")[1].startswith("stale since")
    check(honest(b"more", witnesses=[OTHER]))
    assert finding(check(None, release=folder), "log-witnesses")[0] == "warning", "no quorum cosigned that one"
    check(honest(b"more", witnesses=[WITNESS]))
    again = check(None, release=folder)
    assert finding(again, "log-witnesses") == (
        "ok",
        "fresh: a quorum of witnesses cosigned on 2026-11-20T09:30:00Z the 7 entries that were seen last",
    )
    assert demands.hold(again.verified, STANDARD.demanding([Demand("logged"), Demand("witnessed")]))
    forked = MemoryLog([b"other", b"history", LEAF], KEY)
    folder = RELEASE.with_files({**RELEASE.files, logged.PROOF: forked.proof_of(2).to_bytes()})
    assert finding(check(None, release=folder), "log-witnesses")[0] == "warning", "nothing compared that one"


def swapped(log: MemoryLog, **parts: object) -> MemoryLog:
    index = log.entries.index(LEAF)
    return replace(log, changed={PLACE: replace(log.proof_of(index), **parts).to_bytes()})  # type: ignore[arg-type]


def tampered(note: Note, old: str, new: str) -> Note:
    return Note(note.text.replace(old, new, 1), note.signatures)


def confused() -> bytes:
    """A log of one entry, which is the hashes of the release and of a sibling; it is signed as a tree of these two."""
    sibling = b"s" * 32
    root = merkle.leaf_hash(merkle.leaf_hash(LEAF) + sibling)
    signed = checkpoints.sign(Checkpoint(KEY.public.name, 2, root), by=KEY)
    return proofs.make(0, [sibling], signed.note).to_bytes()


LOG = honest(b"x", witnesses=(WITNESS,))
WHOLE = LOG.proof_of(5)
LIES: dict[str, tuple[Callable[[], MemoryLog], type[LogError]]] = {
    "a proof of another entry": (lambda: replace(LOG, changed={PLACE: LOG.proof_of(2).to_bytes()}), NotIncludedError),
    "a bad inclusion proof": (lambda: swapped(LOG, path=(b"x" * 32, *WHOLE.path[1:])), NotIncludedError),
    "a proof that is too short": (lambda: swapped(LOG, path=WHOLE.path[1:]), NotIncludedError),
    "an index at the size": (lambda: swapped(LOG, index=7), NotIncludedError),
    "an index past the size": (lambda: swapped(LOG, index=5 + 2**40), NotIncludedError),
    "an entry that holds two hashes, taken for their node": (
        lambda: replace(LOG, changed={PLACE: confused()}), NotIncludedError,
    ),
    "a leaf taken for a node": (
        lambda: swapped(replace(LOG, entries=[merkle.leaf_hash(LEAF) * 2, LEAF]), index=0, path=()), NotIncludedError,
    ),
    "another origin": (
        lambda: swapped(replace(LOG, key=logs.log_key("hub.example.org"))), WrongLogError,
    ),
    "another key": (lambda: swapped(replace(LOG, key=logs.log_key(seed=9))), WrongLogError),
    "a size that was not signed": (
        lambda: swapped(LOG, note=tampered(WHOLE.note, "\n7\n", "\n8\n")), WrongLogError,
    ),
    "a cosignature of another size": (
        lambda: swapped(LOG, note=replace(
            replace(LOG, witnesses=()).checkpoint().note,
            signatures=(*replace(LOG, witnesses=()).checkpoint().note.signatures,
                        *honest(witnesses=(WITNESS,)).checkpoint().note.signatures[1:]),
        )), BadCosignatureError,
    ),
    "a note that is not canonical": (
        lambda: replace(LOG, changed={PLACE: WHOLE.to_bytes().replace(b"\n7\n", b"\n07\n")}), MalformedLogError,
    ),
    "a proof with a carriage return": (
        lambda: replace(LOG, changed={PLACE: WHOLE.to_bytes().replace(b"\nindex", b"\r\nindex")}), MalformedLogError,
    ),
    "a page in place of a proof": (lambda: replace(LOG, changed={PLACE: b"<html></html>"}), MalformedLogError),
    "a proof that is too long": (
        lambda: replace(LOG, changed={PLACE: WHOLE.to_bytes() + b"x" * proofs.MAX_BYTES}), MalformedLogError,
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_an_entry_is_refused(lie: str) -> None:
    with_policy()
    make, kind = LIES[lie]
    with pytest.raises(kind) as caught:
        check(make())
    assert caught.value.exit_code == 4 and caught.value.findings[-1].outcome == "failed"
    assert log_memory.recall(KEY.public) is None, "nothing of it is remembered"


def rewritten() -> MemoryLog:
    log = honest(b"x")
    log.entries[0] = b"rewritten"
    return log


FORKS: dict[str, Callable[[], MemoryLog]] = {
    "a split view, larger": lambda: MemoryLog([LEAF, *BEFORE, b"x", b"y"], KEY),
    "a fork of the same size": lambda: MemoryLog([LEAF, *BEFORE], KEY),
    "a rewrite": rewritten,
}


@pytest.mark.parametrize("fork", FORKS)
def test_a_log_that_is_not_append_only_is_refused_and_the_evidence_kept(fork: str) -> None:
    check(honest())
    with pytest.raises(ForkedLogError) as caught:
        check(FORKS[fork]())
    kept = log_memory.recall(KEY.public)
    assert caught.value.exit_code == 4 and kept is not None and kept.size == 6
    (evidence,) = (config.paths().state / "log-forks").iterdir()
    assert str(evidence) in caught.value.hint
    assert evidence.read_bytes().count("\N{EM DASH} 127.0.0.1".encode()) == 2, "both, as they were signed"


CUT: dict[str, Callable[[], MemoryLog]] = {
    "a truncation": lambda: MemoryLog([*BEFORE[:2], LEAF], KEY),
    "a log cut behind the release": lambda: honest(),
}


@pytest.mark.parametrize("cut", CUT)
def test_a_log_that_was_cut_fails_the_demand_and_both_checkpoints_are_kept(cut: str) -> None:
    check(honest(b"x", b"y"))
    found = check(CUT[cut]())
    outcome, said = finding(found)
    assert outcome == "warning" and "was rewritten" in said and found.verified.log_index is None
    with pytest.raises(PolicyRefusedError):
        demands.hold(found.verified, STANDARD.demanding([Demand("logged")]))
    (pair,) = (config.paths().state / "log-unexplained").iterdir()
    assert pair.read_bytes().count("\N{EM DASH} 127.0.0.1".encode()) == 2, "both, as they were signed"
    assert str(pair) in said


def test_a_damaged_tile_is_a_damaged_answer_and_no_fork() -> None:
    check(honest())
    with pytest.raises(MalformedLogError, match="does not show whether the 8 entries") as caught:
        check(honest(b"x", b"y", changed={"tile/0/000.p/8": b"z" * 256}))
    assert caught.value.exit_code == 4 and not (config.paths().state / "log-forks").exists()
    kept = log_memory.recall(KEY.public)
    assert kept is not None and kept.size == 6
    assert finding(check(honest(b"x", b"y")))[0] == "ok"


def test_a_fork_of_the_same_size_is_seen_without_a_network() -> None:
    check(honest())
    forked = MemoryLog([LEAF, *BEFORE], KEY)
    folder = RELEASE.with_files({**RELEASE.files, logged.PROOF: forked.proof_of(0).to_bytes()})
    with pytest.raises(ForkedLogError):
        check(None, release=folder)


def test_a_fork_of_another_size_is_not_taken_for_the_log_without_a_network() -> None:
    check(honest(b"x", b"y"))
    forked = MemoryLog([b"other", b"history", LEAF], KEY, witnesses=(WITNESS,), time=TIME)
    folder = RELEASE.with_files({**RELEASE.files, logged.PROOF: forked.proof_of(2).to_bytes()})
    found = check(None, release=folder)
    assert finding(found)[0] == "warning" and "not compared with the 8 entries seen before" in finding(found)[1]
    with pytest.raises(PolicyRefusedError, match="not compared"):
        demands.hold(found.verified, STANDARD.demanding([Demand("logged")]))
    with_policy()
    cosigned = check(None, release=folder)
    assert finding(cosigned)[0] == "ok", "the site's quorum of witnesses vouches for it"
    assert "not compared" in finding(cosigned)[1]


OFFLINE = {"a monitor": log_memory.MONITOR, "a witness": log_memory.WITNESS}


def seen_by(book: str, log: MemoryLog) -> None:
    """As `log watch` or the site's witness does at its first look."""
    log_memory.advance(KEY.public, log.checkpoint(), prove=None, book=book)


def in_a_folder(log: MemoryLog) -> Release:
    proof = log.proof_of(log.entries.index(LEAF))
    return RELEASE.with_files({**RELEASE.files, logged.PROOF: proof.to_bytes()})


@pytest.mark.parametrize("part", OFFLINE)
def test_a_folder_is_not_compared_where_only_another_part_of_the_site_knows_the_log(part: str) -> None:
    seen_by(OFFLINE[part], honest(b"more", b"and more"))
    forked = MemoryLog([b"other", *BEFORE[1:], LEAF], KEY, witnesses=(WITNESS,), time=TIME)
    for _ in range(2):  # the first look makes it no anchor of the second
        found = check(None, release=in_a_folder(forked))
        assert finding(found)[0] == "warning" and "not compared with the 8 entries seen before" in finding(found)[1]
        with pytest.raises(PolicyRefusedError, match="not compared"):
            demands.hold(found.verified, STANDARD.demanding([Demand("logged")]))
    assert log_memory.recall(KEY.public) is None
    with_policy()
    assert finding(check(None, release=in_a_folder(forked)))[0] == "ok", "the site's quorum of witnesses vouches for it"
    assert finding(check(honest(b"more", b"and more")))[0] == "ok", "and the log itself is no fork"


@pytest.mark.parametrize("part", OFFLINE)
def test_a_folder_of_a_size_that_another_part_of_the_site_saw_is_compared(part: str) -> None:
    seen_by(OFFLINE[part], honest())
    found = check(None, release=in_a_folder(honest()))
    assert finding(found)[0] == "ok" and "consistent with the 6 entries seen before" in finding(found)[1]
    with pytest.raises(ForkedLogError):
        check(None, release=in_a_folder(MemoryLog([LEAF, *BEFORE], KEY)))


def test_a_folder_is_compared_by_its_size_with_what_each_part_saw() -> None:
    seen_by(log_memory.MONITOR, honest())
    log = honest(b"x", b"y")
    log_memory.advance(KEY.public, log.checkpoint(), prove=None, book=log_memory.WITNESS)
    found = check(None, release=in_a_folder(honest()))
    assert finding(found)[0] == "ok" and "consistent with the 6 entries" in finding(found)[1]


@pytest.mark.parametrize("part", OFFLINE)
def test_a_shorter_fork_that_cannot_be_compared_is_no_first_sight_of_the_log(part: str) -> None:
    seen_by(OFFLINE[part], honest(b"more", b"and more"))
    found = check(MemoryLog([b"other", *BEFORE[1:], LEAF], KEY))  # it has no tile of eight entries
    assert finding(found)[0] == "warning" and "was rewritten" in finding(found)[1]
    with pytest.raises(PolicyRefusedError):
        demands.hold(found.verified, STANDARD.demanding([Demand("logged")]))
    assert log_memory.recall(KEY.public) is None
    known = check(honest(b"more", b"and more", size=6))  # an older checkpoint, and newer tiles
    assert finding(known)[0] == "ok" and "consistent with the 8 entries" in finding(known)[1]
    again = check(None, release=in_a_folder(honest()))
    assert finding(again)[0] == "ok", "it was compared before"


def test_a_fork_of_any_size_that_was_compared_is_seen_without_a_network() -> None:
    check(honest())
    check(honest(b"x"))
    forked = MemoryLog([LEAF, *BEFORE], KEY)
    folder = RELEASE.with_files({**RELEASE.files, logged.PROOF: forked.proof_of(0).to_bytes()})
    with pytest.raises(ForkedLogError) as caught:
        check(None, release=folder)
    (evidence,) = (config.paths().state / "log-forks").iterdir()
    assert caught.value.exit_code == 4 and str(evidence) in caught.value.hint
    assert evidence.read_bytes().count("\N{EM DASH} 127.0.0.1".encode()) == 2, "both, as they were signed"


def test_a_copy_that_lags_is_compared_by_what_was_compared_before() -> None:
    check(honest())
    check(honest(b"x", b"y"))
    found = check(honest())  # its files end with its own entries
    assert finding(found)[0] == "ok" and "consistent with the 8 entries seen before" in finding(found)[1]
    assert not (config.paths().state / "log-unexplained").exists()


class Silent(MemoryLog):
    def read(self, name: str, *, limit: int) -> bytes | None:
        raise RegistryError("no answer", "try later")


class Stubborn(MemoryLog):
    def read(self, name: str, *, limit: int) -> bytes | None:
        return None if name.startswith("tile/") else super().read(name, limit=limit)


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (MemoryLog(BEFORE, KEY), "has no entry for this release"),
        (Silent([LEAF], KEY), "was not read: no answer"),
        (Stubborn([*BEFORE, LEAF, b"x"], KEY), "whether the log of 127.0.0.1 was rewritten"),
    ],
)
def test_what_a_log_does_not_say_is_a_warning_and_fails_the_demand(log: MemoryLog, text: str) -> None:
    check(honest())
    found = check(log)
    outcome, said = finding(found)
    assert outcome == "warning" and text in said and found.verified.log_index is None
    with pytest.raises(PolicyRefusedError):
        demands.hold(found.verified, STANDARD.demanding([Demand("logged")]))


class Files(MemoryLog):
    """A log as files: nobody makes proofs."""

    def read(self, name: str, *, limit: int) -> bytes | None:
        return None if name.startswith("proof/") else super().read(name, limit=limit)


def test_an_entry_older_than_those_looked_through_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "MOST_SEARCHED", 1)
    more = [logs.make_leaf(number).to_bytes() for number in range(300)]
    assert finding(check(Files([*more, LEAF], KEY)))[0] == "ok"
    outcome, text = finding(check(Files([LEAF, *more], KEY)))
    assert outcome == "warning" and text.startswith("unknown: ") and "newest 256 of 301 entries" in text
    assert "has no entry" in finding(check(Files(BEFORE, KEY)))[1]


def test_a_registry_without_a_log_is_said_and_fails_the_demand() -> None:
    found = check(honest(), by=trust(log=None))
    outcome, text = finding(found)
    assert outcome == "warning" and text.startswith("unknown: the keyring of") and "no transparency log" in text
    with pytest.raises(PolicyRefusedError, match="no transparency log"):
        demands.hold(found.verified, STANDARD.demanding([Demand("logged")]))


def test_the_sites_own_policy_says_which_log_counts() -> None:
    with_policy("quorum none\n", f"log {logs.log_key(seed=9).public}")
    with pytest.raises(WrongLogError):
        check(honest())
    by_policy = MemoryLog([LEAF], logs.log_key(seed=9))
    assert finding(check(by_policy, by=trust(log=None)))[0] == "ok", "the registry's keyring need not name it"


def test_a_damaged_policy_or_memory_is_an_error_and_no_fresh_start() -> None:
    check(honest())
    path = config.paths().state / "logs.json"
    for damaged in (b"[]", b"{", path.read_bytes().replace(b"AAAA", b"AAAB").replace(b"\\n6\\n", b"\\n4\\n")):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match="remembers cannot be read"):
            check(honest())
    path.unlink()
    (config.paths().state / "log-history.json").write_bytes(b"[1]")
    with pytest.raises(ConfigError, match="compared before cannot be read"):
        check(honest())
    with_policy("quorum nobody\n")
    with pytest.raises(ConfigError, match="no log policy"):
        check(honest())


def test_time_is_read_as_utc() -> None:
    assert datetime.fromtimestamp(TIME, UTC) == NOW - timedelta(hours=1)
    assert notes.parse_key(str(WITNESS.public)) == WITNESS.public
