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
    """Refuse suites that train again: a port had no training on patients, and adapters are trained otherwise.

    Raises:
        UsageError: a port or an adapter, and another suite than `quick`.
    """
    if target.kind == "adapter" and suite not in ("quick", "mechanism"):
        raise UsageError(
            f"the {suite} suite trains embeddings again, and this is a compact adapter",
            "use --suite quick, which attacks the adapter itself and can find a leak, but not rule one out; or, with a"
            " privacy claim, --suite mechanism",
        )
    if target.derived_from is not None and suite != "quick":
        raise UsageError(
            f"the embedding is a port, and the {suite} suite is about the training that it came from",
            f"audit its source, sha256 {target.derived_from.source}; the quick suite attacks the port itself",
        )
