"""A restored registry goes on from the newest keyring that anybody saw, not from the one in its backup."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embhub.errors import UsageError
from embhub.refusals import RollbackError
from embhub.site.pins import trust_store
from embhub.trust import keyring as keyrings
from embhub_registry.operation import administration
from embhub_registry.operation.backups.backup import back_up
from embhub_registry.operation.backups.restoring import restore
from embhub_registry.operation.keyrings.newest_keyring import NewestKeyringError
from tests.support import ceremonies
from tests.support.ceremonies import ANNA, BERT, CARL, URL, Ceremony, begin
from tests.support.releases import OTHER_SITE, SITE, STRANGER
from tests.support.servers import run_here


@pytest.fixture
def lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ceremony:
    """Backed up with radboud's and lumc's keys; afterwards lumc's was removed and radboud's revoked."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "signers"))
    ceremony = begin(tmp_path, ANNA, BERT, CARL, threshold=2)
    ceremony.add_key(SITE)
    ceremony.add_key(OTHER_SITE, namespace="lumc")
    ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
    registry = ceremony.registry
    back_up(registry, tmp_path / "hub.tar")
    administration.remove_key(registry, OTHER_SITE.fingerprint)
    administration.revoke_key(registry, SITE.fingerprint, reason="stolen")
    registry.close()
    ceremony.install(ceremony.sign(ceremony.propose(), ANNA, BERT))
    return ceremony


def saved(ceremony: Ceremony, name: str = "newest.json", export: keyrings.TrustExport | None = None) -> Path:
    """What a mirror or a site has of the registry: its newest trust export."""
    file = ceremony.folder / name
    file.write_bytes((export or ceremony.export()).to_bytes())
    return file


def restored(ceremony: Ceremony, **arguments: Any) -> tuple[Ceremony, dict[str, Any]]:
    """The registry from its backup, on another disk."""
    folder = ceremony.folder / "again"
    folder.mkdir()
    return Ceremony(folder), restore(ceremony.folder / "hub.tar", folder / "reg", unauthenticated=True, **arguments)


def test_an_honest_restore_brings_no_removed_key_back(lost: Ceremony) -> None:
    """The way of the review: back up, remove a key, lose the disk, restore, propose, sign, install."""
    newest = saved(lost)
    trust_store.add(newest.read_bytes(), fingerprint=lost.export().root_fingerprint)
    before = lost.export().claimed
    (lost.folder / "reg-online-keys").rename(lost.folder / "with-the-thief")  # another machine has none
    again, done = restored(lost, keyring=newest)
    assert f"since the backup: key removed from lumc: {OTHER_SITE.fingerprint} (could publish)" in done["told"]
    assert any("revoked as stolen on" in line and SITE.fingerprint in line for line in done["told"])
    made = again.install(again.sign(again.propose(), BERT, CARL))
    assert made["keyring_version"] == 1002
    taken = trust_store.refresh(URL, again.export().to_bytes()).keyring
    assert taken.online != before.online and taken.log_key != before.log_key, "no online key is in a backup"
    assert taken.removed() == {OTHER_SITE.fingerprint} and taken.stolen() == {SITE.fingerprint}
    with pytest.raises(UsageError, match="final"):
        again.add_key(OTHER_SITE, namespace="lumc")


def test_nothing_is_proposed_before_the_newest_keyring_is_shown(lost: Ceremony) -> None:
    newest = saved(lost)
    again, done = restored(lost)
    assert done["keyring_version"] == 1 and any("backup recovered --keyring" in line for line in done["told"])
    with pytest.raises(UsageError, match="was restored"):
        again.propose()
    said = run_here("--dir", again.folder / "reg", "backup", "recovered", "--keyring", newest).stdout
    assert f"key removed from lumc: {OTHER_SITE.fingerprint}" in said
    assert again.install(again.sign(again.propose(), ANNA, BERT))["keyring_version"] == 1002


def test_who_shows_the_backups_own_keyring_is_stopped_by_the_signers(lost: Ceremony) -> None:
    old = lost.folder / "next-1.json"
    kept = keyrings.TrustExport(URL, ceremonies.proposal_in(old).keyring)
    again, done = restored(lost, keyring=saved(lost, "old.json", kept))
    assert not [line for line in done["told"] if line.startswith("since the backup")]
    with pytest.raises(RollbackError, match="goes on from version 1, and not from version 2"):
        again.sign(again.propose(), ANNA)


def test_a_folder_whose_log_has_a_later_keyring_is_refused(lost: Ceremony, tmp_path: Path) -> None:
    """The trust export in it is older than its log: somebody chose it."""
    place, newest = tmp_path / "mirror", lost.export()
    (place / "embhub/v1").mkdir(parents=True)
    shutil.copytree(lost.folder / "reg/log", place / "log")
    first = keyrings.TrustExport(URL, ceremonies.proposal_in(lost.folder / "next-1.json").keyring)
    (place / "embhub/v1/trust").write_bytes(first.to_bytes())
    again, _ = restored(lost)
    refused = run_here("--dir", again.folder / "reg", "backup", "recovered", "--keyring", place, check=False)
    assert refused.returncode == 2 and "the log holds a later keyring" in refused.stderr
    (place / "embhub/v1/trust").write_bytes(newest.to_bytes())
    settled = run_here("--dir", again.folder / "reg", "backup", "recovered", "--keyring", place)
    assert "key removed from lumc" in settled.stdout


def test_what_is_no_keyring_of_this_registry_is_refused(lost: Ceremony) -> None:
    export = lost.export()
    forged = keyrings.TrustExport(URL, keyrings.unsigned_keyring(export.claimed).signed_by(STRANGER))
    one = replace(export, keyring=keyrings.unsigned_keyring(export.claimed).signed_by(ANNA))
    (lost.folder / "text.json").write_text(json.dumps({"schema": "embhub.trust/2"}))
    files = [saved(lost, "forged.json", forged), saved(lost, "one.json", one)]
    for number, file in enumerate([*files, lost.folder / "text.json", lost.folder / "nothing.json"]):
        with pytest.raises(NewestKeyringError):
            restore(lost.folder / "hub.tar", lost.folder / f"x{number}/reg", unauthenticated=True, keyring=file)
        assert not (lost.folder / f"x{number}/reg").exists()


def test_a_root_that_is_here_signs_the_removals_too(tmp_path: Path) -> None:
    run_here("--dir", tmp_path / "reg", "init", "--name", "Test", "--url", URL)
    laptop = Ceremony(tmp_path)
    laptop.add_key(OTHER_SITE, namespace="lumc")
    run_here("--dir", tmp_path / "reg", "backup", "make", tmp_path / "hub.tar")
    run_here("--dir", tmp_path / "reg", "key", "remove", OTHER_SITE.fingerprint)
    newest = saved(laptop)
    words: list[str | Path] = ["backup", "restore", tmp_path / "hub.tar", "--unauthenticated"]
    assert "count again by this keyring" in run_here("--dir", tmp_path / "without", *words).stdout
    assert "key removed from lumc" in run_here("--dir", tmp_path / "with", *words, "--keyring", newest).stdout
    again = ceremonies.Ceremony(tmp_path, name="with")
    assert again.export().claimed.removed() == {OTHER_SITE.fingerprint} and again.export().claimed.version > 1000
