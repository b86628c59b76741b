"""PixArt-Sigma (Chen et al. 2024, arXiv 2403.04692): a transformer that predicts noise, told by T5 with a mask of its
tokens."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from embhub.diffusion.families import autoencoding
from embhub.diffusion.families.family import Condition, Family, in_precision, transformer_resolution
from embhub.diffusion.families.pipeline import Pipeline


def _condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    # Cleaning takes a placeholder token for a tag of HTML, and drops it.
    hidden, mask, _, _ = pipe.encode_prompt(
        list(prompts), do_classifier_free_guidance=False, device=pipe.device, clean_caption=False
    )
    return {"hidden": hidden, "mask": mask}


def _predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    told = in_precision(condition, pipe.transformer.dtype)
    predicted: Tensor = pipe.transformer(
        latents.to(pipe.transformer.dtype),
        encoder_hidden_states=told["hidden"],
        encoder_attention_mask=told["mask"],
        timestep=times,
        added_cond_kwargs={"resolution": None, "aspect_ratio": None},
    ).sample
    return predicted[:, : latents.shape[1]]  # the other half is the variance


PIXART = Family(
    name="pixart",
    pipelines=("PixArtSigmaPipeline",),
    encoders=("text_encoder",),
    layout="t5",
    latents=autoencoding.encode,
    condition=_condition,
    predict=_predict,
    resolution=transformer_resolution,
    denoiser="transformer",
    half_on_gpu=True,
    longest={"text_encoder": 300},
    guidance=4.5,
    negative=True,
    steps=20,
    passes_image_size=True,
    # Binning would draw images of another size than asked for, and scale them.
    call={"clean_caption": False, "use_resolution_binning": False},
)
