"""Public keys are read and named as `cryptography` reads and names them, whichever of its readers is used."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.refusals import WrongKeyError
from embhub.trust import p256
from tests.support.releases import make_key

SPKI = PublicFormat.SubjectPublicKeyInfo
KEY = make_key("p256").public


@given(st.text(max_size=20))
@settings(max_examples=50)
def test_a_key_is_written_read_and_named_as_the_library_does(words: str) -> None:
    key = make_key(words).public
    pem = key.public_bytes(Encoding.PEM, SPKI)
    line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    assert p256.public_pem(key) == pem.decode()
    assert p256.read_public(pem) == key == load_pem_public_key(pem)
    assert p256.fingerprint(key) == "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@given(st.integers(0, 177), st.integers(0, 255))
@settings(max_examples=200)
def test_an_edited_file_is_the_key_that_the_library_reads_or_none(place: int, byte: int) -> None:
    whole = p256.public_pem(KEY).encode()
    edited = whole[:place] + bytes([byte]) + whole[place + 1 :]
    try:
        expected = load_pem_public_key(edited)
    except (ValueError, UnsupportedAlgorithm):
        expected = None
    if isinstance(expected, ec.EllipticCurvePublicKey) and edited.count(b"-----BEGIN") == 1:
        assert p256.read_public(edited) == expected
    else:
        with pytest.raises(WrongKeyError):
            p256.read_public(edited)


@pytest.mark.parametrize("form", ["\r\n", " \n"])
def test_other_spellings_are_read_by_the_library(form: str) -> None:
    assert p256.read_public(p256.public_pem(KEY).replace("\n", form)) == KEY


def test_a_compressed_point_is_read_and_another_curve_is_not() -> None:
    point = KEY.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    der = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + point
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n"
    assert p256.read_public(pem) == load_pem_public_key(pem.encode()) == KEY
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(WrongKeyError):
        p256.read_public(other.public_bytes(Encoding.PEM, SPKI))
    assert p256.fingerprint(other).startswith("SHA256:")


def test_a_point_off_the_curve_is_no_key() -> None:
    der = base64.b64decode("".join(p256.public_pem(KEY).split("\n")[1:-2]))
    edited = base64.b64encode(der[:-1] + bytes([der[-1] ^ 1])).decode()
    pem = f"-----BEGIN PUBLIC KEY-----\n{edited[:64]}\n{edited[64:]}\n-----END PUBLIC KEY-----\n"
    with pytest.raises(WrongKeyError):
        p256.read_public(pem)
