"""Audits that were registered before they ran: what an honest log shows, and every way to hide one that was bad."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from embhub.client.log import log_memory, logged, logged_designs, read_entries
from embhub.errors import RegistryError
from embhub.log import leaves, tiles
from embhub.log.errors import MalformedLogError
from embhub.log.notes import NoteSigner
from embhub.refusals import AuditMismatchError, BadSignatureError, ReleaseRefusedError, WrongNamespaceError
from embhub.release import demands, verification
from embhub.release import files as release_files
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import Release
from embhub.release.policy import STANDARD, Demand
from embhub.release.verified import Verified
from embhub.site import config
from embhub.trust import audit_designs
from embhub.trust import logged as entries_of
from embhub.trust.keyring import Trust
from tests.support import designs, logs, releases
from tests.support.designs import Audit
from tests.support.logs import MemoryLog

KEY, SECOND_KEY, WITNESS = logs.log_key(), logs.mldsa_key(), logs.witness_key()
TIME = int(releases.NOW.timestamp()) - 3_600
FILE = releases.make_embedding()
GOOD = designs.register(FILE)
BAD = designs.register(FILE, shift=3.0, commitment="bad0" * 16)
SECOND = designs.register(FILE, number=2)
OTHERS = [logs.make_leaf(number).to_bytes() for number in range(4)]
POLICY = STANDARD.demanding([Demand("preregistered")])
Answer = Callable[[str], bytes | None]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))


def trust() -> Trust:
    return releases.make_trust(releases.make_keyring(log={"vkey": str(KEY.public)}))


def showing(*rows: Any, digest: str = FILE.digest) -> Answer:
    return lambda _: json.dumps({"embedding": digest, "designs": list(rows)}).encode()


def verify(release: Release) -> Verified:
    return verification.verify(release, trust=trust(), now=releases.NOW)


def check(
    entries: Sequence[bytes] | MemoryLog | None, *, audit: Audit = GOOD, ask: Answer | None = None,
    release: Release | None = None,
) -> Verified:  # fmt: skip
    made = release or designs.make_release(audit, FILE)
    source = MemoryLog(list(entries), KEY) if isinstance(entries, list | tuple) else entries
    return logged_designs.check(verify(made), made, trusts=[trust()], source=source, ask=ask or showing(audit.row))  # type: ignore[arg-type]


def said(found: Verified, name: str = "audit-design") -> list[tuple[str, str]]:
    return [(one.outcome, one.text) for one in found.findings if one.check == name]


def refused(found: Verified) -> str:
    with pytest.raises(PolicyRefusedError) as caught:
        demands.hold(found, POLICY)
    assert caught.value.unmet == ("preregistered",)
    return caught.value.message


def test_an_honest_log_shows_design_and_result() -> None:
    found = check([*OTHERS, *GOOD.before, *OTHERS[:1], *GOOD.after])
    assert said(found) == [("ok", "design logged at 5, result at 7, nothing dropped between")]
    assert "preregistered: met" in [one.text for one in demands.hold(found, POLICY).findings]
    again = check(None)
    assert said(again) == [
        ("ok", "design logged at 5, result at 7, nothing dropped between (of 8 entries), as read before")
    ]
    demands.hold(again, POLICY)


def test_without_a_network_nothing_is_claimed() -> None:
    assert "needs the network" in refused(check(None))
    assert refused(verify(designs.make_release(GOOD, FILE)))


def test_a_release_without_a_design_does_not_meet_the_demand() -> None:
    plain = releases.make_release()
    found = check([*GOOD.before], release=plain, ask=showing())
    assert not said(found) and "no audit that was registered" in refused(found)
    told = check([*GOOD.before], release=plain)
    assert said(told, "audit-result")[0][0] == "warning", "designs there are, and the release names none"
    assert "no audit" in refused(verify(releases.make_release(audited=False)))


DROPS: dict[str, tuple[list[bytes], Answer]] = {
    "a design without a result": ([*BAD.before, *SECOND.before, *SECOND.after], showing({**BAD.row, "result": None})),
    "a design that the registry does not show": ([*BAD.before, *SECOND.before, *SECOND.after], showing()),
    "a registry that shows nothing at all": ([*BAD.before, *SECOND.before, *SECOND.after], lambda _: None),
    "a notice alone": ([*BAD.before[:1], *OTHERS[:1], *SECOND.before, *SECOND.after], showing(BAD.row)),
    "a result that is in no log": ([*BAD.before, *SECOND.before, *SECOND.after], showing(BAD.row)),
    "a result before its design": ([*BAD.after, *BAD.before, *SECOND.before, *SECOND.after], showing(BAD.row)),
    "another design for the same notice": (
        [*BAD.before, *GOOD.before[1:], *GOOD.after, *SECOND.before, *SECOND.after], showing(GOOD.row),
    ),
    "the same number twice": (
        [*BAD.before, *GOOD.before, *GOOD.after, *SECOND.before, *SECOND.after], showing(GOOD.row),
    ),
    "another design's result": (
        [*BAD.before, *GOOD.after, *SECOND.before, *SECOND.after], showing({**BAD.row, "result": GOOD.row["result"]}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", DROPS)
def test_a_bad_audit_that_was_dropped_is_seen(way: str) -> None:
    entries, ask = DROPS[way]
    found = check(entries, audit=SECOND, ask=ask)
    ((outcome, text),) = said(found)
    assert outcome == "warning" and "1 registered before it and dropped: audit 1 by radboud" in text
    refused(found)


def test_a_bad_audit_that_was_not_dropped_is_told() -> None:
    found = check([*BAD.before, *BAD.after, *SECOND.before, *SECOND.after], audit=SECOND, ask=showing(BAD.row))
    assert said(found) == [("ok", "design logged at 4, result at 5, nothing dropped between")]
    ((outcome, text),) = said(found, "audit-leak")
    assert outcome == "warning" and text == "audit 1 of these bytes by radboud: leak-detected (result at 2)"
    demands.hold(found, POLICY)
    with pytest.raises(PolicyRefusedError, match="leak-detected"):
        demands.hold(found, STANDARD.demanding([Demand("no-leak")]))


def test_the_same_design_by_somebody_else_is_not_taken_for_it() -> None:
    copied = designs.register(FILE, key=releases.AUDITOR)
    found = check([*copied.before, *GOOD.before, *GOOD.after])
    assert said(found)[0] == ("ok", "design logged at 3, result at 4, nothing dropped between")


def test_audits_that_were_not_registered_are_counted() -> None:
    third = designs.register(FILE, number=3)
    found = check([*third.before, *third.after], audit=third)
    assert "before it the site made 2 audits of these bytes that it did not register" in said(found)[0][1]


def test_a_later_design_may_still_run() -> None:
    found = check([*GOOD.before, *GOOD.after, *SECOND.before], ask=showing({**SECOND.row, "result": None}))
    assert said(found)[0][0] == "ok" and said(found, "audit-result")[0][0] == "note"
    demands.hold(found, POLICY)


def test_an_auditors_dropped_design_is_told_and_holds_nobody_up() -> None:
    theirs = designs.register(FILE, key=releases.AUDITOR, commitment="a0" * 32)
    entries = [*theirs.before, *GOOD.before, *GOOD.after]
    found = check(entries)
    assert said(found)[0][0] == "ok"
    assert "audit 1 by nki" in said(found, "audit-result")[0][1]
    strangers = designs.register(FILE, key=releases.OTHER_SITE), designs.register(FILE, key=releases.STRANGER)
    strange = check([*entries, *strangers[0].before, *strangers[1].before])
    assert said(strange)[0][0] == "ok" and said(strange, "audit-result") == said(found, "audit-result")


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([*GOOD.before], "its result is not in the log after it"),
        ([*GOOD.after, *GOOD.before], "its result is not in the log after it"),
        ([*GOOD.before[1:], *GOOD.after], "no notice before it"),
        ([GOOD.before[0], OTHERS[0], GOOD.before[1], *GOOD.after], "no notice before it"),
        ([*OTHERS], "no notice before it"),
    ],
)
def test_a_design_that_was_not_logged_as_it_should_be(entries: list[bytes], text: str) -> None:
    assert text in refused(check(entries))


def test_nobody_can_forge_a_second_notice_from_the_first() -> None:
    leaf = leaves.parse(GOOD.before[0])
    first, second = decode_dss_signature(leaf.signature)
    twin = replace(leaf, signature=encode_dss_signature(first, releases.ORDER_OF_P256 - second)).to_bytes()
    junk = replace(leaf, signature=encode_dss_signature(first, 1)).to_bytes()
    found = check([twin, junk, *GOOD.before, *GOOD.after])
    assert said(found)[0][0] == "ok", "what the registry can make of a signature is no notice"


class Hiding(MemoryLog):
    """Serves another entry in place of a notice, under the true checkpoint."""

    def read(self, name: str, *, limit: int) -> bytes | None:
        data = super().read(name, limit=limit)
        entries = name.startswith("tile/entries/")
        return data.replace(BAD.before[0], OTHERS[0].ljust(len(BAD.before[0]))) if data and entries else data


class Silent(MemoryLog):
    def read(self, name: str, *, limit: int) -> bytes | None:
        raise RegistryError("no answer", "try later")


def test_a_registry_that_hides_an_entry_is_caught_by_its_own_checkpoint() -> None:
    entries = [*BAD.before, *SECOND.before, *SECOND.after]
    with pytest.raises(MalformedLogError) as caught:
        check(Hiding(entries, KEY), audit=SECOND)
    assert caught.value.exit_code == 4
    assert "was not read: no answer" in refused(check(Silent(entries, KEY), audit=SECOND))


def ask_for_witnesses() -> None:
    path = config.paths().config / logged.POLICY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"witness A {WITNESS.public}\nquorum A\n")


def entry_of(release: Release) -> bytes:
    return entries_of.leaf_of(release.publish_bundle.envelope, releases.SITE.public).to_bytes()


def check_all(source: MemoryLog, release: Release, ask: Answer, *, keyring: Trust | None = None) -> Verified:
    """The release in the log, then its registered audits."""
    known = keyring or trust()
    verified = verification.verify(release, trust=known, now=releases.NOW)
    entry = logged.check(verified, release, trusts=[known], source=source, now=releases.NOW)
    return logged_designs.check(entry.verified, release, trusts=[known], source=source, ask=ask, now=releases.NOW)


LATER = designs.register(FILE, number=2, shift=3.0)
RELEASED = designs.make_release(GOOD, FILE)
BOTH = STANDARD.demanding([Demand("preregistered"), Demand("no-leak")])


def with_a_later_leak() -> list[bytes]:
    return [*OTHERS, *GOOD.before, *GOOD.after, entry_of(RELEASED), *LATER.before, *LATER.after]


@dataclass
class Late(MemoryLog):
    """Serves another checkpoint than its proofs lead to."""

    served: MemoryLog | None = None

    def read(self, name: str, *, limit: int) -> bytes | None:
        if name == "checkpoint" and self.served is not None:
            return self.served.read(name, limit=limit)
        return super().read(name, limit=limit)


def refused_both(found: Verified) -> str:
    with pytest.raises(PolicyRefusedError) as caught:
        demands.hold(found, BOTH)
    assert caught.value.unmet == ("preregistered", "no-leak") and caught.value.exit_code == 8
    return caught.value.message


@pytest.mark.parametrize("witnesses", [(), (WITNESS,)])
def test_audits_are_not_looked_for_under_an_older_checkpoint_than_the_releases(witnesses: tuple[NoteSigner]) -> None:
    if witnesses:
        ask_for_witnesses()
    entries = with_a_later_leak()
    full = Late(entries, KEY, witnesses, TIME)
    honest = check_all(full, RELEASED, showing(GOOD.row, LATER.row))
    assert said(honest)[0][0] == "ok" and said(honest, "audit-leak")[0][0] == "warning"
    lying = replace(full, served=MemoryLog(entries, KEY, size=7))
    assert "it shows 7 entries, and 11 are known" in refused_both(check_all(lying, RELEASED, showing(GOOD.row)))


def test_audits_are_not_looked_for_under_an_older_checkpoint_than_was_seen() -> None:
    entries = with_a_later_leak()
    check_all(MemoryLog(entries, KEY), RELEASED, showing(GOOD.row, LATER.row))
    old = MemoryLog(entries, KEY, size=8)
    assert "an older state" in refused_both(check_all(old, RELEASED, showing(GOOD.row)))


def test_nor_under_one_that_is_older_than_what_the_sites_monitor_saw() -> None:
    entries = with_a_later_leak()
    log_memory.advance(KEY.public, MemoryLog(entries, KEY).checkpoint(), prove=None, book=log_memory.MONITOR)
    old = MemoryLog(entries, KEY, size=8)
    assert "an older state" in refused_both(check_all(old, RELEASED, showing(GOOD.row)))


def test_audits_are_looked_for_under_a_checkpoint_that_a_quorum_cosigned() -> None:
    ask_for_witnesses()
    entries = with_a_later_leak()
    found = check_all(MemoryLog(entries, KEY), RELEASED, showing(GOOD.row, LATER.row))
    assert "no quorum of witnesses" in refused_both(found)


def test_a_checkpoint_that_is_not_cosigned_yet_adds_audits_and_is_no_evidence_for_one() -> None:
    ask_for_witnesses()
    entries = with_a_later_leak()
    newer = MemoryLog(entries, KEY)
    cosigned = Late(entries, KEY, (WITNESS,), TIME, 8, served=newer)
    told = check_all(cosigned, RELEASED, showing(GOOD.row, LATER.row))
    assert said(told)[0][0] == "ok" and "leak-detected" in said(told, "audit-leak")[0][1]
    moved = [*OTHERS, entry_of(RELEASED), *GOOD.before, *GOOD.after]
    source = Late(moved, KEY, (WITNESS,), TIME, 5, served=MemoryLog(moved, KEY))
    (config.paths().state / "logs.json").unlink()
    assert "past the 5 entries that are cosigned" in refused(check_all(source, RELEASED, showing(GOOD.row)))
    second = designs.make_release(SECOND, FILE)
    late = replace(BAD, result=designs.end(FILE, BAD.registration, GOOD.report, key=releases.SITE))
    hidden = [*BAD.before, *SECOND.before, *SECOND.after, entry_of(second), *late.after]
    source = Late(hidden, KEY, (WITNESS,), TIME, 6, served=MemoryLog(hidden, KEY))
    (config.paths().state / "logs.json").unlink()
    found = check_all(source, second, showing(late.row, SECOND.row))
    assert "1 registered before it and dropped" in refused(found) and "past the 6 entries" in said(found)[0][1]


def test_audits_are_looked_for_under_both_signatures_of_the_log() -> None:
    both = releases.make_trust(releases.make_keyring(log={"vkey": str(KEY.public), "mldsa": str(SECOND_KEY.public)}))
    entries = [*OTHERS, *GOOD.before, *GOOD.after, entry_of(RELEASED)]
    good = check_all(MemoryLog(entries, KEY, second=SECOND_KEY), RELEASED, showing(GOOD.row), keyring=both)
    demands.hold(good, BOTH)
    alone = check_all(MemoryLog(entries, KEY), RELEASED, showing(GOOD.row), keyring=both)
    assert "Ed25519 alone" in refused_both(alone)


NOT_IN_ORDER: dict[str, list[bytes] | None] = {
    "its own design is not in the log": [*BAD.before, *BAD.after],
    "its own result is not in the log": [*BAD.before, *BAD.after, *GOOD.before],
    "one was dropped before it": [*SECOND.before, *BAD.before, *BAD.after, *GOOD.before, *GOOD.after],
    "the leak's result is not in the log": [*BAD.before, *GOOD.before, *GOOD.after],
    "nothing of the leak is in the log": [*GOOD.before, *GOOD.after],
    "no log is asked, and a copy shows its list": None,
}


@pytest.mark.parametrize("entries", NOT_IN_ORDER.values(), ids=list(NOT_IN_ORDER))
def test_a_signed_leak_counts_whatever_the_log_says_of_the_design_that_is_named(entries: list[bytes] | None) -> None:
    """Else naming any design would be enough to hide it from `no-leak`."""
    no_leak = STANDARD.demanding([Demand("no-leak")])
    found = check(entries, audit=GOOD, ask=showing(GOOD.row, BAD.row))
    with pytest.raises(PolicyRefusedError, match="leak-detected"):
        demands.hold(found, no_leak)
    with pytest.raises(PolicyRefusedError, match="leak-detected"):
        demands.hold(check(None, audit=GOOD, ask=None), no_leak)  # a folder, later: it is remembered


def test_a_list_that_is_not_shown_leaves_no_leak_unmet_for_a_named_design_too() -> None:
    def silent(digest: str) -> bytes:
        raise RegistryError("no answer", "try later")

    for entries in ([*GOOD.before, *GOOD.after], None):
        with pytest.raises(PolicyRefusedError, match="no-leak"):
            demands.hold(check(entries, audit=GOOD, ask=silent), STANDARD.demanding([Demand("no-leak")]))


def test_a_leak_that_no_release_names_counts_by_its_signed_result_and_is_remembered() -> None:
    plain = releases.make_release(artifact=FILE)
    no_leak = STANDARD.demanding([Demand("no-leak")])
    found = check([], release=plain, ask=showing(BAD.row))
    assert said(found, "audit-leak") == [
        ("warning", "a registered audit of these bytes by radboud: leak-detected, by its signed result")
    ]
    for later in (found, check([], release=plain, ask=showing()), check(None, release=plain, ask=None)):
        with pytest.raises(PolicyRefusedError, match="leak-detected, by its signed result"):
            demands.hold(later, no_leak)


def test_a_leak_counts_for_those_alone_who_may_say_so() -> None:
    plain = releases.make_release(artifact=FILE)
    others = [designs.register(FILE, shift=3.0, key=key) for key in (releases.OTHER_SITE, releases.STRANGER)]
    other_file = designs.register(releases.make_embedding(seed=4), shift=3.0)
    lie = {**BAD.row, "result": others[0].row["result"]}
    rows = [*(one.row for one in others), other_file.row, {**BAD.row, "result": None}, lie]
    found = check([], release=plain, ask=showing(*rows))
    assert said(found, "audit-result")[0][0] == "warning" and not said(found, "audit-leak")
    demands.hold(found, STANDARD.demanding([Demand("no-leak")]))


@pytest.mark.parametrize("answer", [b"[]", b"<html>", None])
def test_no_leak_is_not_met_where_the_registry_does_not_say_which_audits_were_registered(answer: bytes | None) -> None:
    def ask(_: str) -> bytes:
        if answer is None:
            raise RegistryError("no answer", "try later")
        return answer

    found = check([], release=releases.make_release(artifact=FILE), ask=ask)
    with pytest.raises(PolicyRefusedError, match="not known whether a registered audit"):
        demands.hold(found.told(yanked=None, others=(), remembered=()), STANDARD.demanding([Demand("no-leak")]))


def test_the_verdict_of_another_audit_is_said_to_be_its_signers_word() -> None:
    lie = replace(BAD, result=designs.end(FILE, BAD.registration, GOOD.report, key=releases.SITE))
    found = check([*lie.before, *lie.after, *SECOND.before, *SECOND.after], audit=SECOND, ask=showing(lie.row))
    assert said(found)[0][0] == "ok"
    ((outcome, text),) = said(found, "audit-result")
    assert outcome == "note" and "the word of radboud alone, whose report was not seen" in text


class Heavy(MemoryLog):
    """Entries as long as the format allows."""

    bundles = 0

    def read(self, name: str, *, limit: int) -> bytes | None:
        if not name.startswith("tile/entries/"):
            return super().read(name, limit=limit)
        self.bundles += 1
        return tiles.join_entries([b"x" * tiles.LONGEST_ENTRY] * tiles.parse_path(name).width)


def test_entries_that_are_too_many_bytes_are_not_read() -> None:
    entries = [*GOOD.before, *GOOD.after, entry_of(RELEASED), *OTHERS * 500]
    source = Heavy(entries, KEY)
    tracemalloc.start()
    found = check_all(source, RELEASED, showing(GOOD.row))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "the log has more than 64 MB of entries to read" in refused_both(found)
    assert source.bundles == 4 and peak < 80_000_000, "one bundle at a time, of 16.8 MB, and its entries"


def test_a_log_that_is_too_long_to_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logged_designs, "MOST_ENTRIES", 1)
    monkeypatch.setattr(read_entries, "MOST", 2)
    assert "at most 2 are read" in refused(check([*GOOD.before, *GOOD.after]))


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"embedding": "00", "designs": []}', b"<html>", b'{"designs": 1}'])
def test_an_answer_that_is_none_is_a_warning(answer: bytes) -> None:
    found = check([*GOOD.before, *GOOD.after], ask=lambda _: answer)
    assert said(found)[0][0] == "ok" and said(found, "audit-result")[0][0] == "warning"


def exchanged(audit: Audit = GOOD, **files: bytes) -> Release:
    made = designs.make_release(audit, FILE)
    return made.with_files({**made.files, **{getattr(release_files, name): data for name, data in files.items()}})


OTHER_FILE = designs.register(releases.make_embedding(seed=4))
CONTRADICTIONS: dict[str, tuple[Release, type[ReleaseRefusedError]]] = {
    "another design": (exchanged(AUDIT_DESIGN=SECOND.files[release_files.AUDIT_DESIGN]), AuditMismatchError),
    "another result": (exchanged(AUDIT_RESULT=BAD.files[release_files.AUDIT_RESULT]), AuditMismatchError),
    "another file's": (
        exchanged(
            AUDIT_DESIGN=OTHER_FILE.files[release_files.AUDIT_DESIGN],
            AUDIT_RESULT=OTHER_FILE.files[release_files.AUDIT_RESULT],
        ),
        AuditMismatchError,
    ),
    "another site's": (exchanged(designs.register(FILE, key=releases.OTHER_SITE)), WrongNamespaceError),
    "other bounds": (exchanged(designs.register(FILE, bounds={"auc": 0.55, "tpr": 0.1})), AuditMismatchError),
    "another suite": (exchanged(designs.register(FILE, suite="standard")), AuditMismatchError),
    "other shadows": (exchanged(designs.register(FILE, shadows=8)), AuditMismatchError),
    "other seeds": (exchanged(designs.register(FILE, commitment="aa" * 32)), AuditMismatchError),
}  # fmt: skip


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_what_does_not_belong_together_is_refused(what: str) -> None:
    release, kind = CONTRADICTIONS[what]
    with pytest.raises(kind):
        verify(release)


def test_an_edited_signature_is_refused() -> None:
    document = json.loads(GOOD.files[release_files.AUDIT_DESIGN])
    signed = document["dsseEnvelope"]["signatures"][0]
    first, second = decode_dss_signature(base64.b64decode(signed["sig"]))
    for value in (releases.ORDER_OF_P256 - second, 1):
        signed["sig"] = base64.b64encode(encode_dss_signature(first, value)).decode()
        with pytest.raises(BadSignatureError):
            verify(exchanged(AUDIT_DESIGN=json.dumps(document).encode()))


def test_the_notice_holds_the_file_and_a_number_and_its_digest_needs_nothing_else() -> None:
    payload = json.loads(GOOD.registration.notice.envelope.payload)
    assert payload["predicate"] == {"number": 1} and payload["subject"][0]["digest"] == {"sha256": FILE.digest}
    assert audit_designs.notices(FILE.digest)[GOOD.registration.notice.envelope.identity] == 1


def test_a_design_tells_nothing_of_patients() -> None:
    predicate = json.loads(GOOD.registration.design.envelope.payload)["predicate"]
    assert set(predicate) == {
        "registry", "number", "suite", "shadows", "bounds", "commitment", "tool", "created"
    }  # fmt: skip


def test_the_file_that_is_carried_out_is_read_back() -> None:
    again = audit_designs.parse_file(GOOD.registration.to_bytes())
    assert again == GOOD.registration
    assert audit_designs.parse_file(audit_designs.write_result(GOOD.result)) == GOOD.result
    for data in (b"{}", b"[]", GOOD.registration.to_bytes().replace(b"notice", b"no_ice"), b""):
        with pytest.raises(ReleaseRefusedError):
            audit_designs.parse_file(data)
    mixed = audit_designs.Registration(GOOD.registration.design, SECOND.registration.notice).to_bytes()
    with pytest.raises(ReleaseRefusedError, match="not that of its design"):
        audit_designs.parse_file(mixed)
