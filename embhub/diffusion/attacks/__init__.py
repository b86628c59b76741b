"""Membership attacks on an embedding: one function each, one signature, from evidence to a score an image.

| name | function | asks |
|---|---|---|
| `loss`, `loss-difference` | `losses` | losses with and without the embedding |
| `clid` | `losses` | losses with parts of the condition |
| `lira-artifact` | `losses` | losses with reference embeddings |
| `secmi`, `pia` | `predictions` | the denoiser's own noise |
| `gradient-alignment` | `gradients` | one gradient an image |
| `extraction` | `nearest` | drawn images |
"""

from __future__ import annotations

from collections.abc import Mapping

from embhub.diffusion.attacks.evidence import Attack
from embhub.diffusion.attacks.gradients import score_by_gradient
from embhub.diffusion.attacks.losses import score_by_difference, score_by_discrepancy, score_by_loss
from embhub.diffusion.attacks.nearest import score_by_nearest
from embhub.diffusion.attacks.predictions import score_by_proximal_start, score_by_step_error

QUICK: Mapping[str, Attack] = {"loss-difference": score_by_difference, "loss": score_by_loss}
THOROUGH: Mapping[str, Attack] = {
    **QUICK,
    "clid": score_by_discrepancy,
    "secmi": score_by_step_error,
    "pia": score_by_proximal_start,
    "gradient-alignment": score_by_gradient,
    "extraction": score_by_nearest,
}
"""Those that need no reference embeddings."""
