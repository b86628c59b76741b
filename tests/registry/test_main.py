"""The operator's commands as a person runs them."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embhub.errors import UsageError
from embhub.site.signing import keys
from embhub.trust import keyring as keyrings
from tests.support import releases
from tests.support.databases import count_rows
from tests.support.servers import environment, run_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli") / "hub"


def ask(folder: Path, *words: str | Path) -> dict[str, Any]:
    answer = json.loads(run_here("--dir", folder, *words, "--json").stdout)
    assert isinstance(answer, dict)
    return answer


def test_the_commands_in_order(folder: Path, tmp_path: Path) -> None:
    made = ask(folder, "init", "--name", "Consortium", "--url", "https://hub.example.org/")
    assert str(made["token"]).startswith("hf_emb_") and made["url"] == "https://hub.example.org"
    assert stat.S_IMODE((folder / "keys" / "root.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    added = ask(folder, "user", "add", "anna", "--namespace", "radboud", "--role", "publisher")
    assert added["namespace_created"] is True
    token = str(added["token"])
    assert count_rows(folder)["user"] == 2
    again = run_here("--dir", folder, "user", "add", "anna", "--namespace", "radboud", "--role", "reader", check=False)
    assert again.returncode == 2 and "exists" in again.stderr and "Traceback" not in again.stderr

    more = ask(folder, "token", "new", "anna", "--expires-days", "30")
    assert more["expires"] and more["token"] != token
    assert ask(folder, "token", "revoke", token)["revoked"] == 1
    states = {row["id"]: row["state"] for row in ask(folder, "token", "list")["tokens"]}
    assert states[added["token_id"]] == "revoked" and states[more["token_id"]] == "good"
    assert [row["name"] for row in ask(folder, "user", "list")["users"]] == ["admin", "anna"]

    public = tmp_path / "site.pem"
    public.write_text(releases.SITE.public_pem)
    added = ask(folder, "key", "add", "--namespace", "radboud", "--role", "publish", "--name", "Radboudumc", public)
    assert added["fingerprint"] == releases.SITE.fingerprint and added["keyring_version"] == 2
    assert ask(folder, "key", "add", public, "--namespace", "radboud", "--role", "withdraw")["keyring_version"] == 3
    for namespace, role in (("radboud", "publish"), ("lumc", "publish"), ("radboud", "audit")):
        words = ("key", "add", public, "--namespace", namespace, "--role", role, "--new-namespace")
        refused = run_here("--dir", folder, *words, check=False)
        assert refused.returncode == 2 and "key of 'radboud' already" in refused.stderr

    export = keyrings.parse_export(run_here("--dir", folder, "trust", "export").stdout.encode())
    opened = keyrings.open_export(export, root_fingerprint=str(made["root_key"]))
    known = opened.lookup(releases.SITE.fingerprint)
    assert known is not None and known.roles == {"publish", "withdraw"} and known.name == "Radboudumc"
    assert opened.registry == "https://hub.example.org" and opened.keyring.version == 3

    assert ask(folder, "key", "remove", releases.SITE.fingerprint)["keyring_version"] == 4
    assert ask(folder, "key", "list")["keys"] == []
    clean = {"clean": True, "corrupt": [], "orphaned": [], "warnings": [], "blobs": 0, "revisions": 0, "purged": 0}
    assert ask(folder, "check") == clean


def test_init_never_overwrites(folder: Path) -> None:
    before = keys.load("root", folder=folder / "keys").fingerprint
    done = run_here("--dir", folder, "init", check=False)
    assert done.returncode == 2 and "nothing was changed" in done.stderr
    assert keys.load("root", folder=folder / "keys").fingerprint == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("user", "add", "x", "--namespace", "api", "--role", "publisher"), 2),
        (("user", "add", "x", "--namespace", "rаdboud", "--role", "publisher"), 2),
        (("user", "add", "X Y", "--namespace", "ok", "--role", "publisher"), 2),
        (("user", "add", "x", "--namespace", "ok", "--role", "king"), 2),
        (("token", "new", "nobody"), 2),
        (("token", "revoke", "nobody"), 2),
        (("key", "add", "/nonexistent", "--namespace", "ok", "--role", "publish"), 2),
        (("key", "remove", "SHA256:x"), 2),
    ],
)
def test_mistakes_have_words_and_a_code(folder: Path, words: tuple[str, ...], code: int) -> None:
    done = run_here("--dir", folder, *words, check=False)
    assert done.returncode == code
    assert done.stderr.strip() and "Traceback" not in done.stderr


def test_only_public_p256_keys_are_taken(folder: Path, tmp_path: Path) -> None:
    keys.generate("mine", folder=tmp_path)
    for text, words in (((tmp_path / "mine.pem").read_text(), "private key"), ("hello", "PEM")):
        file = tmp_path / "key.pem"
        file.write_text(text)
        done = run_here(
            "--dir", folder, "key", "add", file, "--namespace", "registry", "--role", "publish", check=False
        )
        assert done.returncode == 4 and words in done.stderr


def test_a_traceback_only_with_debug(folder: Path) -> None:
    with pytest.raises(UsageError):
        run_here("--dir", folder, "--debug", "token", "new", "nobody")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_words_that_cannot_be_written_are_no_success(unbuffered: str) -> None:
    command = [sys.executable, "-m", "embhub_registry", "--version"]
    around = {**environment(), "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=around, check=False)
    assert done.returncode == 7 and "the disk is full" in done.stderr and "Exception" not in done.stderr
