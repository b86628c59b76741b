"""Keys on disk: private, never overwritten, named as OpenSSH names them, of one kind only."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from embhub.errors import ConfigError, UsageError
from embhub.refusals import WrongKeyError
from embhub.site.signing import keys
from embhub.trust import p256
from tests.support import rights, tools


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    return tmp_path / "config/keys"


def write_private(path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    path.chmod(0o600)


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def test_new_key_is_private_and_loads_again(home: Path) -> None:
    made = keys.generate()
    path = home / "default.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    loaded = keys.load()
    assert loaded.fingerprint == made.fingerprint
    assert keys.public_pem() == made.public_pem == (home / "default.pub").read_text()
    p256.verify(b"message", signature=loaded.sign(b"message"), key=made.public)
    assert "PRIVATE" not in repr(made)


def test_fingerprint_is_what_ssh_keygen_prints(home: Path, tmp_path: Path) -> None:
    tools.require("ssh-keygen")
    key = keys.generate()
    form = serialization.PublicFormat.OpenSSH
    (tmp_path / "key.pub").write_bytes(key.public.public_bytes(serialization.Encoding.OpenSSH, form))
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[1] == key.fingerprint == keys.fingerprint(key.public)


def test_openssl_reads_what_is_written(home: Path) -> None:
    tools.require("openssl")
    key = keys.generate("locked", passphrase="correct horse")
    done = subprocess.run(
        ["openssl", "pkey", "-in", str(home / "locked.pem"), "-passin", "pass:correct horse", "-pubout"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == key.public_pem


def test_a_key_is_never_overwritten(home: Path) -> None:
    before = keys.generate("site").fingerprint
    with pytest.raises(ConfigError, match="exists already"):
        keys.generate("site")
    assert keys.load("site").fingerprint == before


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "a b", ".hidden", "a..b", "x" * 65, "a\n"])
def test_names_stay_in_their_folder(home: Path, name: str) -> None:
    for use in (keys.generate, keys.load, keys.public_pem):
        with pytest.raises(UsageError):
            use(name)
    assert not home.exists()


def test_passphrase_is_asked_for_and_checked(home: Path) -> None:
    made = keys.generate("locked", passphrase="correct horse")
    assert b"ENCRYPTED" in (home / "locked.pem").read_bytes()
    with pytest.raises(keys.PassphraseRequiredError, match="is encrypted"):
        keys.load("locked")
    with pytest.raises(keys.PassphraseRequiredError, match="does not open"):
        keys.load("locked", passphrase="wrong")
    assert keys.load("locked", passphrase="correct horse").fingerprint == made.fingerprint
    assert keys.public_pem("locked") == made.public_pem
    with pytest.raises(UsageError):
        keys.generate("other", passphrase="")


def test_list_needs_no_passphrase(home: Path) -> None:
    assert keys.list_keys() == []
    plain, locked = keys.generate("a"), keys.generate("b", passphrase="secret")
    assert [(key.name, key.fingerprint, key.encrypted) for key in keys.list_keys()] == [
        ("a", plain.fingerprint, False),
        ("b", locked.fingerprint, True),
    ]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_key_that_others_can_read_is_refused(home: Path, mode: int) -> None:
    keys.generate()
    (home / "default.pem").chmod(mode)
    with pytest.raises(ConfigError, match="others can read") as caught:
        keys.load()
    assert "chmod 600" in caught.value.hint


def test_missing_key_says_how_to_make_one(home: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        keys.load("absent")
    assert "embhub key new" in caught.value.hint


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa", "p384", "secp256k1", "ed25519"],
)
def test_other_algorithms_are_refused(
    home: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
) -> None:
    write_private(home / "odd.pem", key)
    with pytest.raises(ConfigError, match="P-256"):
        keys.load("odd")
    with pytest.raises(WrongKeyError, match="P-256"):
        p256.read_public(public_pem(key))


def test_exchanged_public_half_is_noticed(home: Path) -> None:
    keys.generate("a", passphrase="secret")
    (home / "a.pub").write_text(keys.generate("b").public_pem)
    with pytest.raises(ConfigError, match="not the public half"):
        keys.load("a", passphrase="secret")


def test_lost_public_half_of_an_encrypted_key(home: Path) -> None:
    keys.generate("a", passphrase="secret")
    (home / "a.pub").unlink()
    with pytest.raises(ConfigError, match=r"a\.pub is missing"):
        keys.public_pem("a")


def test_damaged_key(home: Path) -> None:
    keys.generate()
    (home / "default.pem").write_text("-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match="not a private key"):
        keys.load()


def test_read_only_folder(home: Path) -> None:
    home.mkdir(parents=True, mode=0o500)
    with rights.that_bind(), pytest.raises(ConfigError, match="cannot write"):
        keys.generate()


def test_private_key_is_not_taken_for_a_public_one(home: Path) -> None:
    keys.generate()
    with pytest.raises(WrongKeyError, match="private key"):
        p256.read_public((home / "default.pem").read_bytes())


@pytest.mark.parametrize(
    "text", ["", "hello", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "\udcff"]
)
def test_text_that_is_no_key(text: str) -> None:
    with pytest.raises(WrongKeyError):
        p256.read_public(text)


def test_two_keys_in_one_file_are_refused(home: Path) -> None:
    with pytest.raises(WrongKeyError, match="not one public key"):
        p256.read_public(keys.generate("a").public_pem + keys.generate("b").public_pem)
