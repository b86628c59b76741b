"""The audit of a privacy claim's code: canaries instead of patients, so that its report may leave the site.

What an attack on patients shows is a release of its own, which no budget covers; made-up vectors are nobody.
"""

from __future__ import annotations

from embhub import fingerprint
from embhub.audit import Attempt, AuditReport, Claimed, Design, Group, build
from embhub.diffusion.dp import selftest
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.embedding import Embedding
from embhub.errors import UsageError
from embhub.privacy import PrivacyClaim


def claimed_mechanism(claim: PrivacyClaim) -> Mechanism:
    """The privatising code with the parameters of a claim."""
    return Mechanism(claim.sampling.q, claim.clip, claim.sigma, claim.denominator)


def audit_mechanism(target: Embedding, *, attempt: Attempt | None = None) -> AuditReport:
    """Send canaries through the mechanism that the embedding claims, and guess which took part.

    No image is read and no seed is taken: noise comes from the operating system, as in training.

    Raises:
        UsageError: the embedding claims no differential privacy.
        BrokenMechanism: noise, clipping or sampling is not what it should be; there is nothing to report on then.
    """
    claim = target.privacy
    if not isinstance(claim, PrivacyClaim):
        raise UsageError(
            "the embedding claims no differential privacy, so there is no mechanism to try",
            "use --suite quick or standard, which attack the embedding",
        )
    mechanism = claimed_mechanism(claim)
    selftest.run(mechanism, steps=claim.steps, epsilon=claim.epsilon, delta=claim.delta)
    inside, outside = selftest.guess_canaries(mechanism, steps=claim.steps)
    return build(
        artifact_digest=target.digest,
        base_digest=fingerprint.digest(target.base) if target.base else None,
        suite="mechanism",
        scores={"mechanism-canaries": (inside.tolist(), outside.tolist())},
        unit="canary",
        members=Group(units=len(inside)),
        nonmembers=Group(units=len(outside)),
        design=Design(split="made up, in or out by a coin each", subject="mechanism"),
        claim=Claimed(epsilon=claim.epsilon, delta=claim.delta),
        attempt=attempt,
    )
