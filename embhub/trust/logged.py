"""What of an envelope goes into a transparency log: the digest of what was signed, the signature, and the key. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from embhub.log import leaves
from embhub.log.leaves import Leaf
from embhub.refusals import BadSignatureError
from embhub.trust import dsse, p256
from embhub.trust.multisig import SignedDocument


def leaf_of(envelope: dsse.Envelope, key: p256.PublicKey) -> Leaf:
    """The entry of an envelope that this key signed."""
    return leaves.of_signature(envelope.pae, signature=envelope.signature, key=_der(key))


def leaves_of(document: SignedDocument, keys: Iterable[p256.PublicKey]) -> Iterator[Leaf]:
    """One entry for each of these keys that signed a document: a keyring, by the keys of its root."""
    message = dsse.pae(document.payload_type, document.payload)
    for key in keys:
        for held in document.signatures_of(key):
            yield leaves.of_signature(message, signature=held.value, key=_der(key))


def is_signed(leaf: Leaf, key: p256.PublicKey) -> bool:
    """Whether the signature in an entry is of this key, over what has the entry's digest."""
    try:
        p256.verify_digest(leaf.digest, signature=leaf.signature, key=key)
    except BadSignatureError:
        return False
    return True


def _der(key: p256.PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
