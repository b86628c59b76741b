"""Embeddings with card and audit report beside them, one for each suite, for tests of the pack."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from embhub.artifact.embedding import Embedding
from embhub.audits.report import AuditReport, Claimed, Design, Group, Suite, build
from embhub.formats import safe_yaml
from embhub.privacy.claim import Claim, PrivacyClaim
from embhub.release import at_the_site
from embhub.release.checks.consistency import base_digest
from tests.support.made_up_scores import make_scores
from tests.support.releases import make_card, make_embedding

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
INSIDE, OUTSIDE, TARGETS = 300, 260, 8


def make_report(artifact: Embedding, suite: Suite, *, shift: float = 0.0) -> AuditReport:
    """A report of the suite on scores drawn from a seed; `shift` is how much more member-like the members score."""
    rng = np.random.default_rng(0)
    digest, base = artifact.digest, base_digest(artifact)
    if suite == "mechanism":
        assert isinstance(artifact.privacy, PrivacyClaim)
        pair = ((rng.normal(size=510) + shift).tolist(), rng.normal(size=490).tolist())
        return build(
            artifact_digest=digest, base_digest=base, suite=suite, scores={"mechanism-canaries": pair}, unit="canary",
            claim=Claimed(epsilon=artifact.privacy.epsilon, delta=artifact.privacy.delta),
            design=Design(split="made up, in or out by a coin each", subject="mechanism"),
        )  # fmt: skip
    shadows = 0 if suite == "quick" else TARGETS
    scores, guesses = make_scores(suite, (INSIDE, OUTSIDE), shadows=shadows, shift=shift)
    return build(
        artifact_digest=digest, base_digest=base, suite=suite, scores=scores,
        guesses=guesses,
        members=Group(units=INSIDE, images=400), nonmembers=Group(units=OUTSIDE, images=340),
        design=Design(draws=16, shadows=shadows,
                      split="by patient, held out before training", subject="algorithm" if shadows else "embedding"),
    )  # fmt: skip


def make_site(folder: Path, suite: Suite, *, claim: Claim = "none", card: bool = True, shift: float = 0.0) -> Path:
    """`prostate-cspca.safetensors` with report and card beside it, as a site has them before it signs."""
    folder.mkdir(parents=True, exist_ok=True)
    artifact = make_embedding(privacy=claim)
    file = folder / "prostate-cspca.safetensors"
    file.write_bytes(artifact.data)
    report = make_report(artifact, suite, shift=shift)
    at_the_site.beside(file, at_the_site.AUDIT).write_bytes(report.to_bytes())
    if card:
        answers = make_card(artifact, report=report, n_patients=INSIDE, n_images=400, max_images_per_patient=3)
        at_the_site.beside(file, at_the_site.CARD).write_bytes(safe_yaml.dump(answers))
    return file
