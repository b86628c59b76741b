"""A site's consent that a file is published as the outcome of a study. Signed with the site's key of that study.

The signature covers a canonical statement (RFC 8785) that the reader writes anew, so it travels without what it signs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import rfc8785

from embhub.trust import dsse, p256

if TYPE_CHECKING:
    from embhub.trust.dsse import Signer

TYPE: Final = "application/vnd.embhub.study-consent+json"
SCHEMA: Final = "embhub.study-consent/1"


def statement(study: str, site: str, embedding: str) -> bytes:
    """The bytes that a consent covers: the study and the embedding's file by SHA-256 (hex), the site by namespace."""
    facts = {"schema": SCHEMA, "study": study, "site": site, "embedding": embedding}
    return dsse.pae(TYPE, rfc8785.dumps(facts))


def sign(study: str, site: str, embedding: str, *, key: Signer) -> bytes:
    """A site's consent, by its key of the study: a DER signature."""
    return key.sign(statement(study, site, embedding))


def check(study: str, site: str, embedding: str, *, signature: bytes, key: p256.PublicKey) -> None:
    """Whether `site` consented to this file.

    Raises:
        BadSignatureError: it did not, with this key.
    """
    p256.verify(statement(study, site, embedding), signature=signature, key=key)
