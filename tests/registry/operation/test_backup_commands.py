"""`check --repair`, `backup make` and `backup restore` as a person runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.registry.test_main import ask
from tests.support.servers import run_here
from tests.support.stored_objects import needs_folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands") / "hub"
    ask(folder, "init", "--name", "Consortium", "--url", "https://hub.example.org")
    return folder


@needs_folder
def test_check_names_and_repair_removes(hub: Path) -> None:
    half = hub / "blobs/incoming/half"
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"x")
    done = run_here("--dir", hub, "check", check=False)
    assert done.returncode == 5 and "orphaned  unfinished write" in done.stdout and half.exists()
    done = run_here("--dir", hub, "check", "--repair")
    assert done.returncode == 0 and "removed   unfinished write" in done.stdout and not half.exists()
    assert ask(hub, "check", "--repair")["removed"] == []


def test_what_is_corrupt_is_not_repaired(hub: Path) -> None:
    key = hub / "keys/root.pem"
    kept = key.read_bytes()
    key.write_bytes(kept[:-40])
    done = run_here("--dir", hub, "check", "--repair", check=False)
    assert done.returncode == 5 and "corrupt   keyring" in done.stdout
    key.write_bytes(kept)
    key.chmod(0o600)
    assert run_here("--dir", hub, "check").stdout == "clean\n"


def test_there_and_back(hub: Path, tmp_path: Path) -> None:
    made = ask(hub, "backup", "make", tmp_path / "hub.tar")
    done = run_here(
        "--dir", tmp_path / "again", "backup", "restore", tmp_path / "hub.tar", "--signed-by", made["signed_by"]
    )
    assert "remove and revoke them again" in done.stdout and str(made["root_fingerprint"]) in done.stdout
    assert ask(tmp_path / "again", "key", "list")["keys"] == ask(hub, "key", "list")["keys"]
    words = run_here("--dir", hub, "backup", "make", tmp_path / "words.tar").stdout
    assert "it contains the root key and every access token's digest" in words and "0600" in words
    assert made["root_key"] is True


def test_a_backup_without_the_root_key_does_not_say_that_it_has_it(hub: Path, tmp_path: Path) -> None:
    (hub / "keys/root.pem").rename(tmp_path / "root.pem")  # it is kept elsewhere
    words = run_here("--dir", hub, "backup", "make", tmp_path / "words.tar").stdout
    assert "it contains every access token's digest, not encrypted" in words and "root key" not in words


def test_refusals_have_words_and_a_code(hub: Path, tmp_path: Path) -> None:
    ask(hub, "backup", "make", tmp_path / "hub.tar")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "hub.tar").read_bytes()[:20_000])
    for folder, words, code in (
        (hub, ("backup", "make", tmp_path / "hub.tar"), 2),
        (hub, ("backup", "make", tmp_path / "none/hub.tar"), 2),
        (tmp_path / "none", ("backup", "make", tmp_path / "x.tar"), 7),
        (hub, ("backup", "restore", tmp_path / "hub.tar"), 2),
        (tmp_path / "again", ("backup", "restore", tmp_path / "none.tar", "--unauthenticated"), 2),
        (tmp_path / "again", ("backup", "restore", tmp_path / "cut.tar", "--unauthenticated"), 5),
        (tmp_path / "again", ("backup", "restore", hub / "audit.jsonl", "--unauthenticated"), 5),
    ):
        done = run_here("--dir", folder, *words, check=False)
        assert done.returncode == code and "hint:" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "again").exists()
