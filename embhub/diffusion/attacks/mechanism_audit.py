"""The audit of a privacy claim's code: canaries instead of patients, so that its report may leave the site.

What an attack on patients shows is a release of its own, which no budget covers; made-up vectors and made-up patients
are nobody. It tries the code of the installation that it runs on: at the site that of the site, at a reader's that of
the reader. No record of the training is needed.
"""

from __future__ import annotations

from embhub.artifact import fingerprint
from embhub.artifact.claimed import read_claim
from embhub.artifact.embedding import Embedding
from embhub.audits.attack_figures import MADE_UP_PATIENTS
from embhub.audits.report import Attempt, AuditReport, Claimed, Design, Group, build
from embhub.diffusion.attacks import canary_patients
from embhub.diffusion.dp import selftest
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.privacy.claim import PrivacyClaim
from embhub.privacy.self_test import SelfTest
from embhub.progress import OnProgress

_RECIPE = ResolvedRecipe(steps=50, learning_rate=0.1, warm_up=5)


def claimed_mechanism(claim: PrivacyClaim) -> Mechanism:
    """The privatising code with the parameters of a claim."""
    return Mechanism(claim.sampling.q, claim.clip, claim.sigma, claim.denominator)


def audit_mechanism(
    target: Embedding,
    pipe: Pipeline | None,
    *,
    attempt: Attempt | None = None,
    on_progress: OnProgress | None = None,
) -> AuditReport:
    """Send canaries through the mechanism that the embedding claims, and guess which took part.

    With `pipe`, the embedding's base, made-up patients go through whole trainings too. No patient's image is read and
    no seed is taken: noise comes from the operating system, as in training.

    Raises:
        UsageError: the embedding claims no differential privacy, or the base's loss is not a number.
        BrokenMechanismError: noise, clipping or sampling is not what it should be; there is nothing to report on then.
    """
    claim = read_claim(target)
    mechanism = claimed_mechanism(claim)
    selftest.run(
        mechanism,
        kind=claim.mechanism,
        width=_width(target, claim),
        recipe=_RECIPE,
        steps=claim.steps,
        epsilon=claim.epsilon,
        delta=claim.delta,
    )
    inside, outside = selftest.guess_canaries(mechanism, steps=claim.steps)
    scores = {"mechanism-canaries": (inside.tolist(), outside.tolist())}
    if pipe is not None:
        members, others = canary_patients.guess_patients(target, claim, pipe, on_progress=on_progress)
        scores[MADE_UP_PATIENTS] = (members.tolist(), others.tolist())
    return build(
        artifact_digest=target.digest,
        base_digest=fingerprint.digest(target.base) if target.base else None,
        suite="mechanism",
        scores=scores,
        unit="canary",
        members=Group(units=len(inside)),
        nonmembers=Group(units=len(outside)),
        design=Design(split="made up, in or out by a coin each", subject="mechanism"),
        claim=Claimed(epsilon=claim.epsilon, delta=claim.delta),
        attempt=attempt,
    )


def _width(target: Embedding, claim: PrivacyClaim) -> int:
    """How many numbers the training released a step: as the claim says, else as many as the file holds."""
    if isinstance(claim.self_test, SelfTest):
        return claim.self_test.own_width.dimension
    return sum(values.size for values in target.tensors.values())
