"""ML-DSA-44 (FIPS 204) where the installed `cryptography` has it: signatures that a quantum computer does not forge."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

KEY, SIGNATURE = 1_312, 2_420  # bytes


@functools.cache
def is_offered() -> bool:
    """Whether such signatures can be made and checked here; `cryptography` has them since version 48."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

        MLDSA44PublicKey.from_public_bytes(bytes(KEY))
    except (ImportError, UnsupportedAlgorithm):
        return False
    except ValueError:
        return True
    return True


def generate() -> MLDSA44PrivateKey:
    """A new private key; only where `is_offered`."""
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

    return MLDSA44PrivateKey.generate()


def verify(raw: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the key made this signature; only where `is_offered`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

    try:
        MLDSA44PublicKey.from_public_bytes(raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
