"""What an audit needs to know of an embedding: its privacy claim, and whether it is a port."""

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


def check_derived(target: Embedding, suite: str) -> None:
    """Refuse suites that try the training of the patients' images: a port has had none.

    Raises:
        UsageError: a port, and a suite that trains again or tests a mechanism.
    """
    if target.derived_from is not None and suite != "quick":
        raise UsageError(
            f"the embedding is a port, and the {suite} suite is about the training that it came from",
            f"audit its source, sha256 {target.derived_from.source}; the quick suite attacks the port itself",
        )
