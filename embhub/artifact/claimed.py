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
    """Refuse suites that do not fit the file: a port had no training on patients, and an adapter has no vectors.

    Raises:
        UsageError: a port and another suite than `quick`, or an adapter and `thorough`.
    """
    if target.kind == "adapter" and suite == "thorough":
        raise UsageError(
            "the thorough suite attacks token embeddings by their vectors, and this is a compact adapter",
            "use --suite standard, which trains shadow adapters",
        )
    if target.derived_from is not None and suite != "quick":
        raise UsageError(
            f"the embedding is a port, and the {suite} suite is about the training that it came from",
            f"audit its source, sha256 {target.derived_from.source}; the quick suite attacks the port itself",
        )
