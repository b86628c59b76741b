"""Whoever writes a proposal chooses what it says is in force: the signers' machines remember it themselves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest

from embhub.errors import ConfigError, UsageError
from embhub.log import checkpoints
from embhub.refusals import RollbackError
from embhub.site.signing.keys import SigningKey
from embhub.trust import keyring as keyrings
from embhub.trust import keyring_review, proposal, root_keys
from embhub.trust import logged as entries
from embhub.trust.multisig import SignedDocument
from embhub_registry.operation import administration
from embhub_registry.operation.keyrings import keyring_ceremony, keyrings_in_log
from embhub_registry.storage.folder import Registry
from tests.support import ceremonies, logs
from tests.support.ceremonies import ANNA, BERT, CARL, Ceremony, begin, private
from tests.support.logs import MemoryLog
from tests.support.releases import AUDITOR, OTHER_SITE, SITE, STRANGER
from tests.support.servers import Done, run_here


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the signers' machine remembers; one machine for all of them."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "signers"))
    return tmp_path / "signers/state/signed-keyrings.json"


@pytest.fixture
def ceremony(tmp_path: Path, memory: Path) -> Ceremony:
    """Keyring 1 has radboud and lumc; keyring 2 revokes radboud's key as stolen, and removes lumc's."""
    made = begin(tmp_path, ANNA, BERT, CARL, threshold=2)
    made.add_key(SITE)
    made.add_key(OTHER_SITE, namespace="lumc")
    made.install(made.sign(made.propose(), ANNA, BERT))
    shutil.copyfile(tmp_path / "next-1.json", tmp_path / "kept-1.json")
    with changing(made) as registry:
        administration.revoke_key(registry, SITE.fingerprint, reason="stolen")
        administration.remove_key(registry, OTHER_SITE.fingerprint)
    made.install(made.sign(made.propose(), ANNA, BERT))
    return made


@contextmanager
def changing(ceremony: Ceremony) -> Iterator[Registry]:
    registry = ceremony.registry
    try:
        yield registry
    finally:
        registry.close()


def signed(ceremony: Ceremony, number: int) -> SignedDocument:
    """The keyring of this version, as it was installed."""
    return proposal.parse((ceremony.folder / f"next-{number}.json").read_bytes()).keyring


def thiefs(ceremony: Ceremony, *, before: SignedDocument | None, version: int = 3) -> Path:
    """The members of keyring 1 once more, with the stolen key and the removed one."""
    first = keyrings.parse_keyring(signed(ceremony, 1).payload)
    next_one = first.model_copy(update={"version": version})
    file = ceremony.folder / "thiefs.json"
    file.write_bytes(proposal.Proposal(keyrings.unsigned_keyring(next_one), before).to_bytes())
    proposal.open_proposal(proposal.parse(file.read_bytes()))  # its parts fit together: that is what they go by
    return file


def attempt(file: Path, key: Path, *, typed: str, monkeypatch: pytest.MonkeyPatch) -> Done:
    """`keyring sign --yes`, by a person who types this where they are asked."""
    monkeypatch.setattr("sys.stdin", StringIO(f"{typed}\n"))
    return run_here("keyring", "sign", file, "--key", key, "--yes", check=False)


def signatures(file: Path) -> int:
    return len(proposal.parse(file.read_bytes()).keyring.signatures)


def test_a_thief_of_the_disk_with_an_old_keyring_before_is_refused(
    ceremony: Ceremony, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, key = thiefs(ceremony, before=signed(ceremony, 1)), private(ceremony.folder, ANNA)
    done = attempt(file, key, typed=keyring_review.fingerprint(signed(ceremony, 1)), monkeypatch=monkeypatch)
    assert done.returncode == 4 and "goes on from version 1, and not from version 2" in done.stderr
    assert keyring_review.fingerprint(signed(ceremony, 2)) in done.stderr and signatures(file) == 0


@pytest.mark.parametrize("number", [1, None])
def test_a_thief_at_a_machine_without_a_memory_has_to_know_the_newest_keyring(
    ceremony: Ceremony, memory: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    """Carl's machine is new. From Anna's record he has the fingerprint of keyring 2, and he reads every key."""
    memory.unlink()
    file = thiefs(ceremony, before=signed(ceremony, number) if number else None, version=40)
    key, newest = private(ceremony.folder, CARL), keyring_review.fingerprint(signed(ceremony, 2))
    done = attempt(file, key, typed=newest, monkeypatch=monkeypatch)
    assert done.returncode == 2 and "the newest keyring that you know is not the one in force" in done.stderr
    assert "remembers no keyring" in done.stderr and signatures(file) == 0 and not memory.exists()
    assert "38 versions are between them" in done.stderr if number else "no keyring before" in done.stderr
    for shown in (SITE, OTHER_SITE):
        assert f"in force    {shown.fingerprint} may publish" in done.stderr
    assert attempt(file, key, typed="", monkeypatch=monkeypatch).returncode != 0, "--yes does not answer it"


def test_a_machine_without_a_memory_begins_with_the_newest_keyring(
    ceremony: Ceremony, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.unlink()
    file, key = ceremony.propose(), private(ceremony.folder, CARL)
    done = attempt(file, key, typed=keyring_review.fingerprint(signed(ceremony, 2)), monkeypatch=monkeypatch)
    assert done.returncode == 0 and signatures(file) == 1 and "0 versions are between them" in done.stderr
    again = thiefs(ceremony, before=signed(ceremony, 1), version=9)
    assert attempt(again, key, typed="none", monkeypatch=monkeypatch).returncode == 4


def test_what_is_left_out_is_shown_although_the_keyring_before_is_the_right_one(ceremony: Ceremony) -> None:
    with pytest.raises(RollbackError, match="leaves out that a key was revoked or removed"):
        thiefs(ceremony, before=signed(ceremony, 2))
    ceremony.add_key(AUDITOR, namespace="nki", role="audit")
    ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
    dropped = keyrings.parse_keyring(signed(ceremony, 3).payload)
    members = tuple(one for one in dropped.members if one.namespace != "nki")
    next_one = keyrings.unsigned_keyring(dropped.model_copy(update={"version": 4, "members": members}))
    file = ceremony.folder / "dropped.json"
    file.write_bytes(proposal.Proposal(next_one, signed(ceremony, 3)).to_bytes())
    said = "\n".join(keyring_ceremony.review(file).lines)
    assert f"key gone, and not as removed, from nki: {AUDITOR.fingerprint}" in said
    page = ceremonies.sign(file, private(ceremony.folder, ANNA))["record"]
    assert f"gone        {AUDITOR.fingerprint}: not listed any more, and not as removed" in page


def test_what_others_signed_in_between_is_shown_too(ceremony: Ceremony, memory: Path) -> None:
    """Carl signed keyring 1 last. The difference that he reads is to that one."""
    memory.unlink()
    ceremonies.sign(ceremony.folder / "kept-1.json", private(ceremony.folder, CARL))
    ceremony.add_key(AUDITOR, namespace="nki", role="audit")
    said = "\n".join(keyring_ceremony.review(ceremony.propose()).lines)
    assert f"new key for nki: {AUDITOR.fingerprint} may audit" in said
    assert f"key removed from lumc: {OTHER_SITE.fingerprint}" in said and "revoked as stolen" in said
    assert "version 2 is in force: this machine did not sign what came between" in said


def test_another_keyring_of_the_version_that_was_signed_is_refused(ceremony: Ceremony) -> None:
    """Two keyrings with one version, each signed: every site would see one of them."""
    other = keyrings.parse_keyring(signed(ceremony, 2).payload).model_copy(update={"expires": "2031-01-01T00:00:00Z"})
    forked = keyrings.unsigned_keyring(other)
    for key in (BERT, CARL):
        forked = forked.signed_by(key)
    next_one = proposal.parse(ceremony.propose().read_bytes()).keyring
    file = ceremony.folder / "forked.json"
    file.write_bytes(proposal.Proposal(next_one, forked).to_bytes())
    with pytest.raises(RollbackError, match="two different keyrings have one version"):
        keyring_ceremony.review(file)
    file.write_bytes(proposal.Proposal(keyrings.unsigned_keyring(other), signed(ceremony, 1)).to_bytes())
    with pytest.raises(RollbackError, match="goes on from version 1"):
        keyring_ceremony.review(file)


def test_several_keys_sign_one_proposal_on_one_machine(ceremony: Ceremony) -> None:
    file = ceremony.propose()
    read = [keyring_ceremony.review(file).lines]
    for key in (ANNA, BERT):
        ceremonies.sign(file, private(ceremony.folder, key))
        read.append(keyring_ceremony.review(file).lines)
    assert len(set(read)) == 1 and signatures(file) == 2, "each reads the same difference"


def test_a_change_of_root_forgets_nothing(ceremony: Ceremony) -> None:
    """Under the new root, and for who proposes under the one before, whose keys somebody still has."""
    old = signed(ceremony, 2)
    root = keyring_ceremony.read_root([_public(ceremony, key) for key in (ANNA, CARL)])
    ceremony.install(ceremony.sign(ceremony.propose(root=root), ANNA, BERT, CARL))
    for before in (old, signed(ceremony, 1)):
        with pytest.raises(RollbackError):
            keyring_ceremony.review(thiefs(ceremony, before=before, version=7))
    assert keyring_ceremony.review(ceremony.propose()).compared is not None


def test_another_root_or_spelling_of_the_address_escapes_no_memory(ceremony: Ceremony) -> None:
    """A root that the thief made up, or a registry that is the same to every site: neither undoes a revocation."""
    first = keyrings.parse_keyring(signed(ceremony, 1).payload)
    file = ceremony.folder / "thiefs.json"
    with_him = keyring_ceremony.read_root([_public(ceremony, key) for key in (ANNA, STRANGER)], 1)
    for changes in (
        {"root": with_him},
        {"registry": "http://hub.example.org"},
        {"registry": "https://HUB.example.org"},
    ):
        next_one = first.model_copy(update={"version": 9, **changes})
        file.write_bytes(proposal.Proposal(keyrings.unsigned_keyring(next_one)).to_bytes())
        with pytest.raises(RollbackError):
            keyring_ceremony.review(file)


def test_who_missed_a_change_of_root_reads_the_difference_to_the_keyring_before_it(
    ceremony: Ceremony, memory: Path
) -> None:
    kept = memory.read_bytes()
    root = keyring_ceremony.read_root([_public(ceremony, key) for key in (ANNA, CARL)])
    ceremony.install(ceremony.sign(ceremony.propose(root=root), ANNA, BERT, CARL))
    ceremony.add_key(AUDITOR, namespace="nki", role="audit")
    ceremony.install(ceremony.sign(ceremony.propose(), ANNA, CARL))
    memory.write_bytes(kept)
    reviewed = keyring_ceremony.review(ceremony.propose())
    assert reviewed.asked == keyring_review.fingerprint(signed(ceremony, 4))
    assert f"since then: new key for nki: {AUDITOR.fingerprint} may audit" in reviewed.lines


def test_a_proposal_that_another_one_overtook_while_it_was_read_is_not_signed(ceremony: Ceremony) -> None:
    file, key = ceremony.propose(), private(ceremony.folder, ANNA)
    reviewed = keyring_ceremony.review(file)
    ceremony.add_key(AUDITOR, namespace="nki", role="audit")
    ceremonies.sign(ceremony.propose(), key)
    with pytest.raises(RollbackError):
        keyring_ceremony.sign(file, key, reviewed=reviewed, passphrase=lambda: "")
    assert signatures(file) == 0


def _public(ceremony: Ceremony, key: SigningKey) -> Path:
    return ceremonies.public(ceremony.folder, key)


def test_the_memory_is_private_and_a_damaged_one_is_not_passed_over(ceremony: Ceremony, memory: Path) -> None:
    assert memory.stat().st_mode & 0o777 == 0o600
    whole, file = memory.read_bytes(), thiefs(ceremony, before=signed(ceremony, 1))
    for damaged in (b"", b"{", whole[:-40], whole.replace(b"hub.example.org", b"hub.example.net"), b"[]", b"{}"):
        memory.write_bytes(damaged)
        with pytest.raises(ConfigError, match="is damaged"):
            keyring_ceremony.review(file)
    memory.write_bytes(whole)
    for place in (memory, memory.parent):
        before = place.stat().st_mode
        place.chmod(before | 0o002)
        with pytest.raises(ConfigError, match="can be written by other users"):
            keyring_ceremony.review(file)
        place.chmod(before)
    with pytest.raises(RollbackError):
        keyring_ceremony.review(file)


def test_nothing_is_signed_that_cannot_be_remembered(
    ceremony: Ceremony, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ceremony.propose()
    reviewed, key = keyring_ceremony.review(file), private(ceremony.folder, ANNA)
    blocked = memory.parent.parent / "a-file"
    blocked.write_text("")
    monkeypatch.setenv("EMBHUB_HOME", str(blocked))
    with pytest.raises(ConfigError):
        keyring_ceremony.sign(file, key, reviewed=reviewed, passphrase=lambda: "")
    assert signatures(file) == 0
    with pytest.raises(UsageError, match="nobody said which keyring"):
        keyring_ceremony.sign(file, key, reviewed=replace(reviewed, asked="SHA256:…"), passphrase=lambda: "")


def test_the_record_for_the_binder_has_every_key_by_its_whole_fingerprint(
    ceremony: Ceremony, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceremony.add_key(AUDITOR, namespace="nki", role="audit")
    file = ceremony.propose()
    done = attempt(file, private(ceremony.folder, ANNA), typed="", monkeypatch=monkeypatch)
    page = done.stdout.partition("RECORD FOR THE BINDER")[2]
    held = keyrings.parse_keyring(signed(ceremony, 3).payload)
    assert held.root is not None and held.online is not None
    named = [*held.root.keys, *held.online.values(), *(key for one in held.members for key in one.keys)]
    for fingerprint in [one.fingerprint for one in named] + [OTHER_SITE.fingerprint, held.root.fingerprint]:
        assert fingerprint in page
    for key, why in ((OTHER_SITE, "left on"), (SITE, "stolen on")):
        assert f"gone        {key.fingerprint}: {why}" in page
    assert f"keyring     version 3, {keyring_review.fingerprint(signed(ceremony, 3))}" in page
    assert f"in force    version 2, {keyring_review.fingerprint(signed(ceremony, 2))}" in page
    assert "missing     the keyring has 1 of 2 signatures" in page and ANNA.fingerprint in page
    assert len(page.splitlines()) < 50, "one page"


def test_copies_with_different_keyrings_before_are_not_joined(ceremony: Ceremony) -> None:
    """Two signers would have read two differences."""
    good = proposal.parse(ceremony.propose().read_bytes())
    assert good.before is not None
    other = replace(good, before=signed(ceremony, 1))
    assert proposal.merge([good, good])
    with pytest.raises(UsageError, match="different proposals"):
        proposal.merge([good, other])


# ── a witnessed log at hand ────────────────────────────────────────────────────────────────────────────────────────

WITNESS = logs.witness_key()


def copied(ceremony: Ceremony, memory: Path, *, age: timedelta = timedelta(hours=1)) -> Path:
    """The registry's log on a stick, cosigned by the witness that the signer's machine names."""
    stick = ceremony.folder / "stick"
    shutil.rmtree(stick, ignore_errors=True)
    shutil.copytree(ceremony.folder / "reg/log", stick / "log")
    key = ceremony.export().claimed.log_key
    assert key is not None
    signed = checkpoints.open_signed((stick / "log/checkpoint").read_bytes(), log=key)
    time = int((datetime.now(UTC) - age).timestamp())
    line = checkpoints.cosign(signed.checkpoint, by=WITNESS, time=time)
    (stick / "log/checkpoint").write_bytes(signed.note.with_signatures([line]).to_bytes())
    policy = memory.parent.parent / "config/log-policy"
    policy.parent.mkdir(exist_ok=True)
    policy.write_text(f"witness umcu {WITNESS.public}\nquorum umcu\n")
    return stick


def in_log(file: Path, place: Path) -> str:
    return keyring_ceremony.compare_with_log(keyring_ceremony.review(file), str(place)).log


def test_a_later_keyring_in_the_log_is_found_by_a_machine_that_did_not_sign_it(
    ceremony: Ceremony, memory: Path
) -> None:
    """Carl signed keyring 1 last, so the thief's proposal fits what he remembers. The log has keyring 2."""
    memory.unlink()
    ceremonies.sign(ceremony.folder / "kept-1.json", private(ceremony.folder, CARL))
    stick = copied(ceremony, memory)
    with pytest.raises(RollbackError, match="the log holds a later keyring"):
        in_log(thiefs(ceremony, before=signed(ceremony, 1)), stick)
    assert "no keyring after it" in in_log(ceremony.propose(), stick)


def test_a_log_that_ends_before_the_keyring_in_force_shows_nothing(ceremony: Ceremony, memory: Path) -> None:
    stick = copied(ceremony, memory)
    ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
    with pytest.raises(RollbackError, match="does not hold the keyring that is in force"):
        in_log(ceremony.propose(), stick)


def test_a_log_counts_with_a_quorum_of_witnesses_of_these_days_alone(ceremony: Ceremony, memory: Path) -> None:
    file = ceremony.propose()
    with pytest.raises(ConfigError, match="stale"):
        in_log(file, copied(ceremony, memory, age=timedelta(days=8)))
    plain = copied(ceremony, memory)
    (plain / "log/checkpoint").write_bytes((ceremony.folder / "reg/log/checkpoint").read_bytes())
    with pytest.raises(ConfigError, match="no quorum of witnesses cosigned"):
        in_log(file, plain)
    (memory.parent.parent / "config/log-policy").unlink()
    with pytest.raises(ConfigError, match="names no quorum"):
        in_log(file, plain)


def test_an_entry_that_only_names_a_root_key_is_no_keyring(ceremony: Ceremony) -> None:
    """Who holds the log's key can put in anything; the signature of the root is not theirs."""
    before = signed(ceremony, 2)
    (real, *_), named = entries.leaves_of(before, [ANNA.public, BERT.public]), root_keys.named(ANNA.public)
    forged = replace(real, digest=b"\x07" * 32)
    log = MemoryLog([real.to_bytes(), forged.to_bytes(), logs.make_leaf(1).to_bytes(), b"none"], logs.log_key())
    found = keyrings_in_log.list_keyrings(log, log.checkpoint(), [named, root_keys.named(BERT.public)])
    assert [row.index for row in found] == [0] and keyrings_in_log.check_last(found, before) == 0


def test_the_command_asks_for_the_log_where_this_machine_knows_witnesses(
    ceremony: Ceremony, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick, file, key = copied(ceremony, memory), ceremony.propose(), private(ceremony.folder, ANNA)
    monkeypatch.setattr("sys.stdin", StringIO(f"{stick}\ny\n"))
    done = run_here("keyring", "sign", file, "--key", key, check=False)
    assert done.returncode == 0, done.stderr
    page = done.stdout.partition("RECORD FOR THE BINDER")[2]
    assert "log         entry" in page and "a quorum of witnesses cosigned on" in page
    again = run_here("keyring", "sign", file, "--key", key, "--log", stick, "--yes", "--json")
    assert "log         entry" in again.stdout
    without = run_here("keyring", "sign", file, "--key", private(ceremony.folder, BERT), "--yes")
    assert "log         not compared" in without.stdout, "the binder says so"
