"""Membership attacks on an embedding: one function each, one signature, from evidence to a score an image.

| name | function | asks |
|---|---|---|
| `loss`, `loss-difference` | `losses` | losses with and without the embedding |
| `clid` | `losses` | losses with parts of the condition |
| `lira` | `losses` | losses with reference embeddings |
| `rmia`, `lira-online`, `dataset-inference` | `references` | losses with reference embeddings |
| `secmi`, `pia` | `predictions` | the denoiser's own noise |
| `fcre` | `frequencies` | images that noise was laid on and taken off |
| `gradient-alignment` | `gradients` | one gradient an image |
| `extraction` | `nearest` | drawn images |
| `re-identification` | `reidentification` | drawn images, with a net that knows the patients |
"""

from __future__ import annotations

from collections.abc import Mapping

from embhub.diffusion.attacks.evidence import Attack
from embhub.diffusion.attacks.frequencies import score_by_frequencies
from embhub.diffusion.attacks.gradients import score_by_gradient
from embhub.diffusion.attacks.losses import score_by_difference, score_by_discrepancy, score_by_loss
from embhub.diffusion.attacks.nearest import score_by_nearest
from embhub.diffusion.attacks.predictions import score_by_proximal_start, score_by_step_error
from embhub.diffusion.attacks.references import (
    score_by_dataset_inference,
    score_by_online_lira,
    score_by_relative_likelihood,
)
from embhub.diffusion.attacks.reidentification import score_by_reidentification

QUICK: Mapping[str, Attack] = {"loss-difference": score_by_difference, "loss": score_by_loss}
THOROUGH: Mapping[str, Attack] = {
    **QUICK,
    "clid": score_by_discrepancy,
    "secmi": score_by_step_error,
    "pia": score_by_proximal_start,
    "gradient-alignment": score_by_gradient,
    "fcre": score_by_frequencies,
    "extraction": score_by_nearest,
    "re-identification": score_by_reidentification,
}
"""Those that need no reference embeddings."""
WITH_REFERENCES: Mapping[str, Attack] = {
    "rmia": score_by_relative_likelihood,
    "lira-online": score_by_online_lira,
    "dataset-inference": score_by_dataset_inference,
}
"""Those that ask references of which some saw an image and others did not."""
