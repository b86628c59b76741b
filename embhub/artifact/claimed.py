"""The privacy claim of an embedding, where one is needed."""

from __future__ import annotations

from embhub.artifact.embedding import Embedding
from embhub.errors import UsageError
from embhub.privacy.claim import PrivacyClaim


def read_claim(target: Embedding) -> PrivacyClaim:
    """What the embedding claims.

    Raises:
        UsageError: no differential privacy.
    """
    if not isinstance(target.privacy, PrivacyClaim):
        raise UsageError(
            "the embedding claims no differential privacy, so there is no mechanism to try",
            "use --suite quick or standard, which attack the embedding",
        )
    return target.privacy
