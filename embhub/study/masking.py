"""Masks that cancel in a sum, and boxes that only one site opens: X25519, HKDF-SHA256, ChaCha20, ChaCha20-Poly1305.

Every key here is used once. So nonces are zero, and what tells uses apart is in the derivation of the key: what for,
in which context, between which two sites, with which public keys. Names and bytes of keys both count, as X25519 has one
secret for several spellings of a key (its top bit, a point of small order added).
"""

from __future__ import annotations

import hashlib

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from embhub.study import shamir
from embhub.study.grid import Residues

Pair = tuple[str, str]
_NONCE = bytes(12)


def derive(secret: bytes, *labels: bytes) -> bytes:
    """32 bytes from a secret, others for other labels, whatever they hold."""
    info = b"embhub.study-step/1" + b"".join(len(label).to_bytes(4, "big") + label for label in labels)
    return HKDF(hashes.SHA256(), 32, None, info).derive(secret)


def commit(seed: int) -> bytes:
    """What binds a site to the seed of its own mask and tells nothing of it: 252 bits nobody can guess."""
    return hashlib.sha256(b"embhub.study-step/1 own mask" + shamir.to_bytes(seed)).digest()


def mask_key(seed: int) -> X25519PrivateKey:
    """The key for pairwise masks that a shared seed stands for."""
    return X25519PrivateKey.from_private_bytes(derive(shamir.to_bytes(seed), b"mask key"))


def public_bytes(key: X25519PrivateKey) -> bytes:
    """The public half, 32 bytes."""
    return key.public_key().public_bytes_raw()


def agree(key: X25519PrivateKey, public: bytes) -> bytes:
    """The secret of two keys (RFC 7748).

    Raises:
        ValueError: a public key of low order, with which there is no secret.
    """
    return key.exchange(X25519PublicKey.from_public_bytes(public))


def own_mask(seed: int, width: int, context: bytes) -> Residues:
    """The mask (width,) that a site lays on its own vector."""
    return expand(derive(shamir.to_bytes(seed), b"own mask", context), width)


def pair_mask(key: X25519PrivateKey, other: bytes, width: int, context: bytes, sites: Pair) -> Residues:
    """The mask (width,) of two sites, the same from either side: in either order of `sites`.

    Raises:
        ValueError: as `agree`.
    """
    ends = sorted((public_bytes(key), other))
    return expand(derive(agree(key, other), b"pair mask", context, *_names(sites), *ends), width)


def expand(key: bytes, width: int) -> Residues:
    """Residues (width,): the key stream of ChaCha20 from block 0 (RFC 8439), read as little-endian numbers."""
    stream = Cipher(ChaCha20(key, bytes(4) + _NONCE), mode=None).encryptor().update(bytes(4 * width))
    return np.frombuffer(stream, dtype="<u4").astype(np.uint32)


def seal(key: X25519PrivateKey, other: bytes, plain: bytes, context: bytes, sites: Pair) -> bytes:
    """A box for the holder of `other` alone, in this direction and context, between these sites in either order.

    Raises:
        ValueError: as `agree`.
    """
    return _box(agree(key, other), (public_bytes(key), other), context, sites).encrypt(_NONCE, plain, context)


def unseal(key: X25519PrivateKey, other: bytes, box: bytes, context: bytes, sites: Pair) -> bytes:
    """What the holder of `other` sealed for this key, between these sites.

    Raises:
        ValueError: as `agree`, or the box was not sealed so.
    """
    try:
        return _box(agree(key, other), (other, public_bytes(key)), context, sites).decrypt(_NONCE, box, context)
    except InvalidTag as error:
        raise ValueError("the box was sealed by another key or for another step") from error


def _box(secret: bytes, direction: tuple[bytes, bytes], context: bytes, sites: Pair) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(secret, b"box", context, *_names(sites), *direction))


def _names(sites: Pair) -> list[bytes]:
    return [site.encode() for site in sorted(sites)]
