"""Who can write where backups are kept does not own the registry: a backup is signed, and can be encrypted."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from embhub.errors import UsageError
from embhub.site.signing import keys
from embhub_registry.operation import administration
from embhub_registry.operation.backups.backup import back_up
from embhub_registry.operation.backups.backup_file import BadBackupError
from embhub_registry.operation.backups.restoring import restore
from embhub_registry.operation.opening import open_folder
from embhub_registry.people import auth
from embhub_registry.storage.folder import Registry, create
from tests.registry.test_main import ask
from tests.support.servers import run_here

SECRET = b"emb-registry secret page"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = create(tmp_path / "hub", name="Test", url="https://hub.example.org", audit="optional")
    administration.add_user(made, "anna", namespace="radboud", role="publisher")
    yield made
    made.close()


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]


def pack(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def with_back_door(data: bytes, scratch: Path) -> tuple[bytes, str]:
    """The backup with one more access token of the admin, every digest and count right; and the token."""
    parts, token = members(data), auth.make_token()
    path = scratch / "edit.db"
    path.write_bytes(parts["registry.db"])
    db = sqlite3.connect(path)
    db.execute(
        "INSERT INTO token (id, digest, user_id, created, scope) SELECT ?, ?, id, created, 'admin' FROM user"
        " WHERE name = 'anna'",
        (token.id, token.digest),
    )
    db.execute("UPDATE membership SET role = 'admin'")
    db.commit()
    db.close()
    parts["registry.db"] = path.read_bytes()
    path.unlink()
    document = json.loads(parts["backup.json"])
    for name in document["files"]:
        document["files"][name] = {"size": len(parts[name]), "sha256": hashlib.sha256(parts[name]).hexdigest()}
    parts["backup.json"] = json.dumps(document).encode()
    return pack(parts), token.secret


def test_a_back_door_in_a_backup_is_refused(registry: Registry, tmp_path: Path) -> None:
    made = back_up(registry, tmp_path / "x.tar")
    forged, secret = with_back_door((tmp_path / "x.tar").read_bytes(), tmp_path)
    (tmp_path / "forged.tar").write_bytes(forged)
    with pytest.raises(BadBackupError, match="changed since it was signed"):
        restore(tmp_path / "forged.tar", tmp_path / "again", signed_by=made["signed_by"])
    assert not (tmp_path / "again").exists()
    # the same bytes without the check: the attack works, so the test above shows what stops it
    restore(tmp_path / "forged.tar", tmp_path / "owned", unauthenticated=True, keep_tokens=True)
    opened = open_folder(tmp_path / "owned")
    account = auth.authenticate(opened.database.connection(), f"Bearer {secret}")
    opened.close()
    assert account is not None and account.user == "anna"


def test_a_signature_of_somebody_else_is_refused(registry: Registry, tmp_path: Path) -> None:
    made = back_up(registry, tmp_path / "x.tar")
    other = create(tmp_path / "other", name="Other", url="https://hub.example.org", audit="optional")
    back_up(other, tmp_path / "y.tar")
    other.close()
    with pytest.raises(BadBackupError, match=r"signed by SHA256:.*, not by SHA256:"):
        restore(tmp_path / "y.tar", tmp_path / "again", signed_by=made["signed_by"])
    mixed = members((tmp_path / "x.tar").read_bytes()) | {
        name: data for name, data in members((tmp_path / "y.tar").read_bytes()).items() if name == "backup.sig"
    }
    (tmp_path / "z.tar").write_bytes(pack(mixed))
    for signer in (made["signed_by"], keys.load("backup", folder=other.folder / "keys").fingerprint):
        with pytest.raises(BadBackupError):
            restore(tmp_path / "z.tar", tmp_path / "again", signed_by=signer)


def test_an_object_more_or_another_is_refused(registry: Registry, tmp_path: Path) -> None:
    with registry.database.writing() as db:
        digest = registry.blobs.put(b"one", durable=True)
        db.execute("INSERT INTO blob VALUES (?, 3, ?)", (digest, "0" * 40))
    made = back_up(registry, tmp_path / "x.tar")
    parts = members((tmp_path / "x.tar").read_bytes())
    del parts[f"blobs/{digest[:2]}/{digest}"]
    other = hashlib.sha256(b"two").hexdigest()
    (tmp_path / "y.tar").write_bytes(pack({**parts, f"blobs/{other[:2]}/{other}": b"two"}))
    with pytest.raises(BadBackupError, match="other objects"):
        restore(tmp_path / "y.tar", tmp_path / "again", signed_by=made["signed_by"])


def test_an_unsigned_backup_is_none_and_an_unchecked_one_needs_an_explicit_word(
    registry: Registry, tmp_path: Path
) -> None:
    made = back_up(registry, tmp_path / "x.tar")
    parts = members((tmp_path / "x.tar").read_bytes())
    del parts["backup.sig"]
    (tmp_path / "unsigned.tar").write_bytes(pack(parts))
    for signer in (made["signed_by"], None):
        with pytest.raises(BadBackupError, match=r"backup\.sig is expected"):
            restore(tmp_path / "unsigned.tar", tmp_path / "again", signed_by=signer, unauthenticated=signer is None)
    with pytest.raises(UsageError, match="who signed"):
        restore(tmp_path / "x.tar", tmp_path / "again")
    assert restore(tmp_path / "x.tar", tmp_path / "again", unauthenticated=True)["signed_by"] is None


@pytest.mark.parametrize("version", ["embhub.backup/1", "embhub.backup/3"])
def test_another_format_is_refused(registry: Registry, tmp_path: Path, version: str) -> None:
    back_up(registry, tmp_path / "x.tar")
    parts = members((tmp_path / "x.tar").read_bytes())
    parts["backup.json"] = json.dumps(json.loads(parts["backup.json"]) | {"schema": version}).encode()
    (tmp_path / "other.tar").write_bytes(pack(parts))
    with pytest.raises(BadBackupError, match=r"this program reads embhub\.backup/2"):
        restore(tmp_path / "other.tar", tmp_path / "again", unauthenticated=True)


def test_the_backups_key_is_made_once_and_is_in_no_backup(registry: Registry, tmp_path: Path) -> None:
    first, second = back_up(registry, tmp_path / "x.tar"), back_up(registry, tmp_path / "y.tar")
    assert first["signed_by"] == second["signed_by"] != registry.setting("root_fingerprint")
    assert stat.S_IMODE((registry.folder / "keys/backup.pem").stat().st_mode) == 0o600
    assert not [name for name in members((tmp_path / "y.tar").read_bytes()) if "keys/backup" in name]
    public = registry.folder / "keys/backup.pub"
    assert restore(tmp_path / "y.tar", tmp_path / "a", signed_by=str(public))["signed_by"] == first["signed_by"]


# ── encryption ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def identity(tmp_path: Path) -> tuple[str, Path]:
    """A public key, and the file that `age-keygen` would have written."""
    made = pyrage.x25519.Identity.generate()
    path = tmp_path / "backup.key"
    path.write_text(f"# created: 2026-11-21\n# public key: {made.to_public()}\n{made}\n")
    return str(made.to_public()), path


def test_an_encrypted_backup_can_be_read_by_the_keys_holder_alone(
    registry: Registry, tmp_path: Path, identity: tuple[str, Path]
) -> None:
    with registry.database.writing() as db:
        digest = registry.blobs.put(SECRET * 9000, durable=True)
        db.execute("INSERT INTO blob VALUES (?, ?, ?)", (digest, len(SECRET) * 9000, "0" * 40))
    recipient, key = identity
    made = back_up(registry, tmp_path / "x.age", recipients=[recipient])
    sealed = (tmp_path / "x.age").read_bytes()
    assert sealed.startswith(b"age-encryption.org/v1\n") and made["encrypted"]
    assert SECRET not in sealed and b"PRIVATE KEY" not in sealed and b"SQLite" not in sealed
    assert stat.S_IMODE((tmp_path / "x.age").stat().st_mode) == 0o600
    assert not list(registry.folder.glob(".backup*")) and not list(tmp_path.glob(".x.age*"))
    plain = pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(key.read_text().splitlines()[-1])])
    assert members(plain)["keys/root.pem"].startswith(b"-----BEGIN PRIVATE KEY")  # any age tool opens it
    assert restore(tmp_path / "x.age", tmp_path / "again", signed_by=made["signed_by"], identity=key)["blobs"] == 1
    with pytest.raises(UsageError, match="encrypted"):
        restore(tmp_path / "x.age", tmp_path / "b", signed_by=made["signed_by"])
    other = tmp_path / "other.key"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(BadBackupError, match="another key"):
        restore(tmp_path / "x.age", tmp_path / "b", signed_by=made["signed_by"], identity=other)
    flipped = bytearray(sealed)
    flipped[150_000] ^= 1
    for damaged in (sealed[:-20], sealed[:70_000], bytes(flipped), sealed[:30]):
        (tmp_path / "y.age").write_bytes(damaged)
        with pytest.raises(BadBackupError):
            restore(tmp_path / "y.age", tmp_path / "b", signed_by=made["signed_by"], identity=key)
    assert not (tmp_path / "b").exists() and not list(tmp_path.glob(".b*"))


def test_encryption_alone_is_no_signature(registry: Registry, tmp_path: Path, identity: tuple[str, Path]) -> None:
    """Anybody can encrypt to a public key: what was put together without the signing key is refused all the same."""
    recipient, key = identity
    made = back_up(registry, tmp_path / "x.tar")
    forged, _ = with_back_door((tmp_path / "x.tar").read_bytes(), tmp_path)
    (tmp_path / "x.age").write_bytes(pyrage.encrypt(forged, [pyrage.x25519.Recipient.from_str(recipient)]))
    with pytest.raises(BadBackupError, match="changed since it was signed"):
        restore(tmp_path / "x.age", tmp_path / "again", signed_by=made["signed_by"], identity=key)


@pytest.mark.parametrize("recipient", ["", "age1x", "AGE-SECRET-KEY-1QQQ", "ssh-ed25519 AAAA", "me@example.org"])
def test_what_is_no_public_key_is_refused_before_anything_is_written(
    registry: Registry, tmp_path: Path, recipient: str
) -> None:
    with pytest.raises(UsageError, match="recipient"):
        back_up(registry, tmp_path / "x.age", recipients=[recipient])
    assert not (tmp_path / "x.age").exists()


# ── after a restore ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restore_revokes_every_token_and_raises_the_keyring(registry: Registry, tmp_path: Path) -> None:
    made = back_up(registry, tmp_path / "x.tar")
    got = restore(tmp_path / "x.tar", tmp_path / "again", signed_by=made["signed_by"])
    assert got["tokens_revoked"] == 1 and got["keyring_version"] == made["keyring_version"] + 1000
    again = open_folder(tmp_path / "again")
    assert {row["state"] for row in administration.list_tokens(again)["tokens"]} == {"revoked"}
    assert again.trust().keyring.version == got["keyring_version"]
    events = [json.loads(line) for line in again.audit_log.lines()]
    again.close()
    assert events[-1]["event"] == "restored" and events[-1]["tokens_revoked"] == 1
    kept = restore(tmp_path / "x.tar", tmp_path / "kept", signed_by=made["signed_by"], keep_tokens=True,
                   keep_keyring=True)  # fmt: skip
    assert kept["tokens_revoked"] == 0 and kept["keyring_version"] == made["keyring_version"]


def test_a_root_key_with_a_passphrase_cannot_raise_the_keyring_and_the_restore_says_so(
    registry: Registry, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives import serialization

    path = registry.folder / "keys/root.pem"
    private = registry.root_key().private
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(
        private.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"x"))
    )
    made = back_up(registry, tmp_path / "x.tar")
    got = restore(tmp_path / "x.tar", tmp_path / "again", signed_by=made["signed_by"])
    assert got["keyring_version"] == made["keyring_version"] and got["tokens_revoked"] == 1
    assert any("`keyring propose` waits" in line and "backup recovered --keyring" in line for line in got["told"])


def test_the_keyring_is_raised_by_a_command_too(registry: Registry, tmp_path: Path) -> None:
    assert ask(registry.folder, "key", "raise")["keyring_version"] == 1001
    assert ask(registry.folder, "key", "raise", "--to", "5000")["keyring_version"] == 5000
    done = run_here("--dir", registry.folder, "key", "raise", "--to", "5000", check=False)
    assert done.returncode == 2 and "5000" in done.stderr


def test_as_a_person_runs_them(registry: Registry, tmp_path: Path, identity: tuple[str, Path]) -> None:
    recipient, key = identity
    said = run_here("--dir", registry.folder, "backup", "make", tmp_path / "x.age", "--recipient", recipient).stdout
    signer = keys.load("backup", folder=registry.folder / "keys").fingerprint
    assert signer in said and "--signed-by" in said
    again = ("--dir", tmp_path / "again", "backup", "restore", tmp_path / "x.age")
    assert run_here(*again, check=False).returncode == 2
    done = run_here(*again, "--signed-by", signer, "--identity", key)
    assert "token new admin" in done.stdout and "revoke them again" in done.stdout and "key raise" not in done.stdout
