"""An attack on gradients: which images pulled the embedding to where it is?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from embhub.diffusion import families
from embhub.diffusion.attacks.evidence import BATCH, Evidence, Suspect
from embhub.diffusion.bases.pipelines import trainable_attention
from embhub.diffusion.families import Condition
from embhub.diffusion.training.per_layer import spread
from embhub.diffusion.training.rows import starting_rows


def score_by_gradient(evidence: Evidence) -> Tensor:
    """Cosine between the way that training went and the way that an image pulls, at the caption's own words.

    Both in the space of the text encoder's output, where one backward pass gives every image of a batch its own
    gradient. After the white-box attacks of Nasr et al. 2019, arXiv 1812.00910, and, for diffusion models, Pang et al.
    2023, arXiv 2308.06405.

    Raises:
        ValueError: no embedding to ask.
    """
    suspect = evidence.interrogate()
    start, end = _start(suspect), suspect.condition(suspect.rows)
    way = torch.cat([(end[name] - start[name]).flatten() for name in _learned(start)]).float()
    batches = torch.split(suspect.latents, BATCH)
    pulls = -torch.cat([_gradients(suspect, batch.to(suspect.pipe.device), start) for batch in batches])
    # What every image of the kind pulls towards tells nothing of one.
    return F.cosine_similarity(pulls - pulls.mean(0), way[None], dim=1).double().cpu()


def _start(suspect: Suspect) -> Condition:
    """Where training began, as far as it can be told from outside: every row the mean of the caption's words."""
    words = suspect.caption.replace("{}", " ")
    count = min(rows.shape[-2] for rows in suspect.rows.values())
    rows = starting_rows(suspect.pipe, words, count, generator=torch.Generator().manual_seed(0), spread=0.0)
    per_layer = any(part.ndim == 3 for part in suspect.rows.values())
    return suspect.condition(spread(suspect.pipe, rows) if per_layer else rows)


def _gradients(suspect: Suspect, latents: Tensor, start: Condition) -> Tensor:
    """Gradient of each image's loss, summed over the draws, by its own copy of the condition: (B, F)."""
    family, total = families.detect(suspect.pipe), torch.zeros(())
    for noise, time in zip(suspect.draws.noise, suspect.draws.timesteps, strict=True):
        own = {name: part.expand(len(latents), *part.shape[1:]).clone() for name, part in start.items()}
        learned = [own[name].requires_grad_() for name in _learned(start)]
        times = time.expand(len(latents)).to(latents.device)
        with trainable_attention(suspect.pipe):
            errors = families.loss(
                suspect.pipe, family, latents, own, noise.to(latents.device).expand_as(latents), times
            )
            gradients = torch.autograd.grad(errors.sum(), learned)
        total = total + torch.cat([part.flatten(1).float() for part in gradients], dim=1)
    return total


def _learned(condition: Condition) -> list[str]:
    """Names of the parts that rows have a hand in; a mask is not one of them."""
    return sorted(name for name, part in condition.items() if part.is_floating_point())
