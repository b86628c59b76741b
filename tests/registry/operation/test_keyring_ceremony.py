"""A root that is not on the server: proposed here, signed elsewhere, installed here; and what a thief gets."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from embhub.errors import EmbhubError, UsageError
from embhub.log import leaves
from embhub.refusals import BadSignatureError, MalformedKeyringError, RollbackError, WrongRootError
from embhub.trust import dsse, logged, multisig, proposal, root_keys, timestamp
from embhub.trust import keyring as keyrings
from embhub_registry.database.logs import root_rows
from embhub_registry.operation import administration, initialising
from embhub_registry.operation.backups import checking
from embhub_registry.operation.backups.backup import back_up
from embhub_registry.operation.backups.restoring import restore
from embhub_registry.operation.keyrings import keyring_ceremony
from tests.support import ceremonies
from tests.support.ceremonies import ANNA, BERT, CARL, NEW, URL, Ceremony, begin, private, public
from tests.support.releases import AUDITOR, OTHER_SITE, SITE, STRANGER
from tests.support.servers import RunningRegistry, free_port, run_command, run_here


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signers' machine: here one for all of them."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "signers"))


@pytest.fixture
def ceremony(tmp_path: Path) -> Ceremony:
    return begin(tmp_path, ANNA, BERT, CARL, threshold=2)


def test_no_private_key_is_in_the_folder_or_in_a_backup(ceremony: Ceremony) -> None:
    folder = ceremony.folder / "reg"
    assert run_command("--dir", folder, "check").returncode == 0, "also before the first keyring"
    ceremony.add_key(SITE)
    ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
    assert run_here("--dir", folder, "check").returncode == 0
    run_here("--dir", folder, "backup", "make", ceremony.folder / "hub.tar")
    secrets = [path for path in folder.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert secrets == []
    with tarfile.open(ceremony.folder / "hub.tar") as archive:
        for member in archive.getmembers():
            held = archive.extractfile(member)
            assert not member.name.endswith(".pem") and held is not None and b"PRIVATE KEY" not in held.read()
    online = ceremony.folder / "reg-online-keys"
    assert {path.stem for path in online.glob("*.pem")} == {"advisories", "backup", "log", "log-mldsa", "timestamp"}
    assert online.stat().st_mode & 0o077 == 0


def test_a_restored_registry_waits_for_its_root_and_goes_on(ceremony: Ceremony) -> None:
    ceremony.add_key(SITE)
    root = ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))["root_fingerprint"]
    registry = ceremony.registry
    made = back_up(registry, ceremony.folder / "hub.tar")
    registry.close()
    again = Ceremony(ceremony.folder / "elsewhere")
    again.folder.mkdir()
    newest = ceremony.folder / "newest.json"
    newest.write_bytes(ceremony.export().to_bytes())
    done = restore(ceremony.folder / "hub.tar", again.folder / "reg", signed_by=str(made["signed_by"]), keyring=newest)
    assert done["keyring_version"] == 1 and any("keyring propose" in line for line in done["told"])
    assert not list((again.folder / "reg").rglob("*.pem"))
    assert again.install(again.sign(again.propose(), BERT, CARL))["keyring_version"] == 1001
    opened = keyrings.open_export(again.export(), root_fingerprint=str(root), minimum_version=2)
    assert opened.lookup(SITE.fingerprint) is not None and opened.timestamp is not None


def test_nothing_counts_until_enough_root_keys_signed(ceremony: Ceremony) -> None:
    assert ceremony.add_key(SITE) == {
        "fingerprint": SITE.fingerprint, "namespace": "radboud", "namespace_created": True, "role": "publish",
        "keyring_version": 1, "pending": True,
    }  # fmt: skip
    registry = ceremony.registry
    assert registry.trust().lookup(SITE.fingerprint) is None and not registry.has_keyring
    registry.close()
    file = ceremony.propose()
    with pytest.raises(BadSignatureError, match="signed by 0"):
        ceremony.install(file)
    with pytest.raises(BadSignatureError, match="signed by 1"):
        ceremony.install(ceremony.sign(file, ANNA, ANNA))
    made = ceremony.install(ceremony.sign(file, CARL))
    assert made["keyring_version"] == 1 and made["timestamp"] and not made["pending"]
    opened = keyrings.open_export(ceremony.export(), root_fingerprint=made["root_fingerprint"])
    assert opened.lookup(SITE.fingerprint) is not None and opened.threshold == 2 and opened.timestamp is not None
    registry = ceremony.registry
    assert checking.check(registry).clean
    registry.close()


def test_copies_that_several_people_signed_are_joined(ceremony: Ceremony) -> None:
    first = ceremony.propose()
    second = first.with_name("copy.json")
    second.write_bytes(first.read_bytes())
    ceremony.sign(first, ANNA)
    ceremony.sign(second, BERT)
    assert ceremony.install(first, second)["keyring_version"] == 1
    with pytest.raises(UsageError, match="different proposals"):
        ceremony.install(first, ceremony.propose())


def test_only_a_root_key_signs(ceremony: Ceremony) -> None:
    file = ceremony.propose()
    before = file.read_bytes()
    with pytest.raises(WrongRootError, match="no key of this registry's root"):
        ceremony.sign(file, STRANGER)
    assert file.read_bytes() == before


def test_the_person_who_signs_reads_what_changes(ceremony: Ceremony) -> None:
    ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
    ceremony.add_key(SITE)
    ceremony.add_key(AUDITOR, namespace="nki", role="audit")
    file = ceremony.propose()
    key = private(ceremony.folder, ANNA)
    done = run_here("keyring", "sign", file, "--key", key, check=False)
    assert done.returncode != 0 and "Do you know of each of these changes" in done.stderr, "nobody answered"
    assert f"new key for radboud: {SITE.fingerprint} may publish" in done.stderr
    assert f"new key for nki: {AUDITOR.fingerprint} may audit" in done.stderr
    assert not json.loads(file.read_text())["keyring"]["signatures"]
    said = json.loads(run_here("keyring", "sign", file, "--key", key, "--yes", "--json").stdout)
    assert said["signed_by"] == ANNA.fingerprint and "1 of 2" in said["missing"][0]


def test_an_encrypted_root_key_asks_for_its_passphrase(ceremony: Ceremony) -> None:
    file, key = ceremony.propose(), private(ceremony.folder, ANNA, passphrase="correct horse")
    reviewed = keyring_ceremony.confirm(keyring_ceremony.review(file), "none")
    with pytest.raises(EmbhubError, match="passphrase"):
        keyring_ceremony.sign(file, key, reviewed=reviewed, passphrase=lambda: "wrong")
    assert keyring_ceremony.sign(file, key, reviewed=reviewed, passphrase=lambda: "correct horse")["missing"]


def test_changes_after_a_proposal_wait_for_the_next_one(ceremony: Ceremony) -> None:
    ceremony.add_key(SITE)
    file = ceremony.sign(ceremony.propose(), ANNA, BERT)
    ceremony.add_key(OTHER_SITE, namespace="lumc")
    assert ceremony.install(file)["pending"]
    assert [m.namespace for m in ceremony.export().claimed.members] == ["radboud"]
    ceremony.install(ceremony.sign(ceremony.propose(), BERT, CARL))
    assert [m.namespace for m in ceremony.export().claimed.members] == ["lumc", "radboud"]


def test_an_old_proposal_is_not_installed_again(ceremony: Ceremony) -> None:
    old = ceremony.sign(ceremony.propose(), ANNA, BERT)
    ceremony.install(old)
    ceremony.add_key(SITE)
    ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
    with pytest.raises(RollbackError, match="does not follow"):
        ceremony.install(old)


def test_a_hostile_host_cannot_smuggle_a_change_past_the_signer(ceremony: Ceremony) -> None:
    """It edits the file: the keyring in force that the signer compares with, the root, a revocation."""
    ceremony.add_key(SITE)
    ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
    good = proposal.parse(ceremony.propose().read_bytes())
    keyring = keyrings.parse_keyring(good.keyring.payload)
    forged = keyrings.unsigned_keyring(keyring).signed_by(STRANGER)
    with pytest.raises(BadSignatureError):
        proposal.open_proposal(proposal.Proposal(good.keyring, forged))
    other = keyring.model_copy(update={"root": root_keys.one_key(STRANGER.public)})
    with pytest.raises(WrongRootError):
        proposal.open_proposal(proposal.Proposal(keyrings.unsigned_keyring(other), good.before))
    registry = ceremony.registry
    administration.revoke_key(registry, SITE.fingerprint, reason="stolen")
    registry.close()
    ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
    back = keyring.model_copy(update={"version": 99, "revoked": ()})
    last = proposal.parse(ceremony.propose().read_bytes())
    with pytest.raises(RollbackError, match="revoked or removed"):
        proposal.open_proposal(proposal.Proposal(keyrings.unsigned_keyring(back), last.before))


def test_a_thief_of_the_disk_signs_nothing(ceremony: Ceremony) -> None:
    """He has every byte of the folder and all online keys: no keyring of his is taken, by no site."""
    ceremony.add_key(SITE)
    made = ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
    ceremony.add_key(STRANGER, namespace="radboud")
    file = ceremony.propose()
    registry = ceremony.registry
    held = [key for purpose in ("timestamp", "advisories") if (key := registry.online_key(purpose))]
    registry.close()
    assert len(held) == 2
    forged = keyrings.unsigned_keyring(keyrings.parse_keyring(proposal.parse(file.read_bytes()).keyring.payload))
    for key in held:
        forged = forged.signed_by(key)
    export = keyrings.TrustExport(URL, forged)
    with pytest.raises(BadSignatureError, match="signed by 0 of the root's keys"):
        keyrings.open_export(keyrings.parse_export(export.to_bytes()), root_fingerprint=made["root_fingerprint"])


# ── another root ───────────────────────────────────────────────────────────────────────────────────────────────────


def moved(ceremony: Ceremony) -> tuple[str, str]:
    """The root changes from 2 of 3 keys to one new key; fingerprints of both."""
    old = ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))["root_fingerprint"]
    file = ceremony.propose(root=root_keys.one_key(NEW.public))
    ceremony.sign(file, NEW)
    with pytest.raises(BadSignatureError, match="the change of root is signed by 0"):
        ceremony.install(file)
    return old, str(ceremony.install(ceremony.sign(file, ANNA, CARL))["root_fingerprint"])


def test_a_site_that_pinned_the_old_root_follows_to_the_new_one(ceremony: Ceremony) -> None:
    old, new = moved(ceremony)
    export = ceremony.export()
    assert new == NEW.fingerprint != old
    followed = keyrings.open_export(export, root_fingerprint=old)
    assert (followed.root_fingerprint, followed.passed) == (new, (old,))
    assert keyrings.open_export(export, root_fingerprint=new).passed == ()
    with pytest.raises(WrongRootError):
        keyrings.open_export(export, root_fingerprint=STRANGER.fingerprint)


def test_a_site_that_knows_the_old_root_alone_finds_the_change_in_the_log(ceremony: Ceremony) -> None:
    moved(ceremony)
    registry = ceremony.registry
    try:
        rows = registry.database.connection().execute("SELECT leaf FROM log_entry ORDER BY place").fetchall()
        (change,) = root_rows.root_changes(registry.database.connection())
    finally:
        registry.close()
    signed = [leaves.parse(bytes(row[0])) for row in rows]
    of_change = multisig.parse(change, payload_type=root_keys.ROOT_TYPE)
    wanted = {leaf for key in (ANNA, BERT, CARL, NEW) for leaf in logged.leaves_of(of_change, (key.public,))}
    assert wanted <= set(signed) and {leaf.fingerprint for leaf in wanted} == {
        ANNA.fingerprint, CARL.fingerprint, NEW.fingerprint
    }  # fmt: skip
    first = min(signed.index(leaf) for leaf in wanted)
    by_old = {ANNA.fingerprint, BERT.fingerprint, CARL.fingerprint}
    assert {leaf.fingerprint for leaf in signed[:first]} & by_old == {ANNA.fingerprint, BERT.fingerprint}
    assert signed[-1].fingerprint == NEW.fingerprint and signed[-1] not in wanted, "the new keyring comes after it"


def test_two_changes_in_a_row(ceremony: Ceremony) -> None:
    old, new = moved(ceremony)
    newest = ceremony.install(ceremony.sign(ceremony.propose(root=root_keys.one_key(BERT.public)), NEW, BERT))
    export = ceremony.export()
    assert keyrings.open_export(export, root_fingerprint=old).passed == (old, new)
    assert keyrings.open_export(export, root_fingerprint=newest["root_fingerprint"]).passed == ()
    without = keyrings.TrustExport(export.registry, export.keyring, export.roots[:1])
    with pytest.raises(WrongRootError):
        keyrings.open_export(without, root_fingerprint=old)
    with pytest.raises(MalformedKeyringError, match="do not follow"):
        keyrings.open_export(
            keyrings.TrustExport(export.registry, export.keyring, export.roots[::-1]), root_fingerprint=old
        )


def test_one_stolen_key_of_the_old_root_does_not_move_it(ceremony: Ceremony) -> None:
    """A thief of one of three keys, with a root of his own: two of three must sign the change."""
    old = ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))["root_fingerprint"]
    before = ceremony.export().root
    change = keyrings.RootChange(
        registry=URL, number=1, issued="2026-11-20T00:00:00Z", before=before, after=root_keys.one_key(STRANGER.public)
    )
    step = root_keys.unsigned_change(change).signed_by(ANNA).signed_by(STRANGER)
    his = ceremony.export().claimed.model_copy(update={"root": change.after, "version": 50})
    export = keyrings.TrustExport(URL, keyrings.sign_keyring(his, root_key=STRANGER), (step,))
    with pytest.raises(BadSignatureError, match="signed by 1 of the root's keys, and 2"):
        keyrings.open_export(export, root_fingerprint=old)
    lied = change.model_copy(update={"before": before.model_copy(update={"threshold": 1})})
    step = root_keys.unsigned_change(lied).signed_by(ANNA).signed_by(STRANGER)
    with pytest.raises(WrongRootError):
        keyrings.open_export(keyrings.TrustExport(URL, export.keyring, (step,)), root_fingerprint=old)


def test_a_fast_forward_ends_with_a_new_root(ceremony: Ceremony) -> None:
    """Who stole enough keys signs version 2**53 - 1: nothing is above it, and a new root begins again below."""
    old = ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))["root_fingerprint"]
    highest = ceremony.export().claimed.model_copy(update={"version": 2**53 - 1})
    signed = keyrings.sign_keyring(highest, root_key=ANNA).signed_by(BERT)
    seen = keyrings.open_export(keyrings.TrustExport(URL, signed), root_fingerprint=old).keyring.version
    with pytest.raises(RollbackError):
        keyrings.open_export(ceremony.export(), root_fingerprint=old, minimum_version=seen)
    ceremony.install(ceremony.sign(ceremony.propose(root=root_keys.one_key(NEW.public)), ANNA, BERT, NEW))
    after = keyrings.open_export(ceremony.export(), root_fingerprint=old, minimum_version=seen)
    assert after.keyring.version == 2 and after.root_fingerprint == NEW.fingerprint


def test_a_laptops_root_moves_off_the_server(tmp_path: Path) -> None:
    made = initialising.initialise(tmp_path / "reg", name="Test", url=URL, audit="optional")
    assert made["root_is_here"]
    ceremony = Ceremony(tmp_path)
    root = keyring_ceremony.read_root([public(tmp_path, ANNA), public(tmp_path, BERT)])
    file = ceremony.propose(root=root)
    here = tmp_path / "reg/keys/root.pem"
    ceremonies.sign(file, here)
    ceremony.install(ceremony.sign(file, ANNA, BERT))
    here.unlink()
    assert run_here("--dir", tmp_path / "reg", "check").returncode == 0
    assert ceremony.add_key(SITE)["pending"]
    assert (
        keyrings.open_export(ceremony.export(), root_fingerprint=made["root_key"]).root_fingerprint == root.fingerprint
    )


@pytest.mark.slow
def test_it_serves_before_the_first_keyring_and_the_page_says_how_the_fingerprint_follows(ceremony: Ceremony) -> None:
    served = RunningRegistry(ceremony.folder / "reg", f"http://127.0.0.1:{free_port()}", "", "")
    served.start()
    try:
        assert served.get("/", headers={"Accept": "text/html"}).status == 200
        answer = served.get("/embhub/v1/trust")
        assert answer.status == 422 and "no signed keyring yet" in answer.json()["error"]
        assert "none is signed yet" in served.get("/trust", headers={"Accept": "text/html"}).body.decode()
        made = ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
        assert served.get("/embhub/v1/trust").status == 200, "a running server sees it"
        facts = served.get("/trust?format=json").json()
        printed = subprocess.run(["sh", "-c", facts["with_openssl"]], capture_output=True, text=True, check=True)
        assert printed.stdout.strip().rstrip("=") == made["root_fingerprint"].removeprefix("SHA256:")
        assert (facts["threshold"], len(facts["root_keys"])) == (2, 3)
    finally:
        served.stop()


@pytest.mark.parametrize("threshold", [0, 4])
def test_a_threshold_that_cannot_be_met(tmp_path: Path, threshold: int) -> None:
    with pytest.raises(UsageError):
        begin(tmp_path, ANNA, BERT, CARL, threshold=threshold)
    with pytest.raises(UsageError, match="twice"):
        begin(tmp_path, ANNA, ANNA, threshold=1)
    assert not (tmp_path / "reg").exists()


def test_online_keys_are_not_inside_the_registry(tmp_path: Path) -> None:
    done = run_here("--online-keys", tmp_path / "r/keys", "--dir", tmp_path / "r", "init", check=False)
    assert done.returncode == 2 and "outside --dir" in done.stderr


def test_a_root_key_is_no_members_key(ceremony: Ceremony) -> None:
    with pytest.raises(UsageError, match="root key"):
        ceremony.add_key(ANNA)


def test_the_timestamp_key_signs_no_keyring_and_no_statement() -> None:
    assert len({dsse.INTOTO, keyrings.KEYRING_TYPE, root_keys.ROOT_TYPE, timestamp.TIMESTAMP_TYPE}) == 4
