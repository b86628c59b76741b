"""Kandinsky 3 (Arkhipkin et al. 2023, arXiv 2312.03511): the encoder of a T5, a U-Net of its own, MoVQ."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from torch import Tensor

from embhub.diffusion.families import movq
from embhub.diffusion.families.family import Condition, Family
from embhub.diffusion.families.pipeline import Pipeline

_SIDE = 1024
"""Pixels; its U-Net's configuration has no word for it."""


def _condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    # diffusers' encode_prompt computes no gradients; what it wraps is the same, with them. The pipeline's call cuts
    # the context to the longest prompt, which moves the mean that the U-Net takes over it.
    encode = inspect.unwrap(type(pipe).encode_prompt)
    hidden, _, mask, _ = encode(
        pipe, list(prompts), do_classifier_free_guidance=False, device=pipe.device, _cut_context=True
    )
    return {"hidden": hidden, "mask": mask}


def _predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    predicted: Tensor = pipe.unet(
        latents.to(pipe.unet.dtype),
        times,
        encoder_hidden_states=condition["hidden"],
        encoder_attention_mask=condition["mask"],
        return_dict=False,
    )[0]
    return predicted


def _resolution(pipe: Pipeline) -> int:
    """A base fine-tuned at another size may say so: `sample_size`, in latents, in its U-Net's configuration."""
    side = pipe.unet.config.get("sample_size")
    return _SIDE if side is None else int(side) * movq.shrinkage(pipe)


KANDINSKY3 = Family(
    name="kandinsky3",
    pipelines=("Kandinsky3Pipeline", "Kandinsky3Img2ImgPipeline"),
    encoders=("text_encoder",),
    layout="t5",
    latents=movq.encode,
    condition=_condition,
    predict=_predict,
    resolution=_resolution,
    longest={"text_encoder": 128},
    guidance=3.0,
    negative=True,
    cuts_context=True,
    steps=25,
    passes_image_size=True,
)
