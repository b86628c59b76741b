"""Z-Image (Tongyi-MAI 2025, arXiv 2511.22699): a flow, told by the last but one layer of Qwen3, a chat model, with
exactly as many tokens as the prompt has in its template."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from embhub.diffusion.families import autoencoding
from embhub.diffusion.families.chat import template_tokens
from embhub.diffusion.families.family import Condition, Family, autoencoder_resolution, in_precision
from embhub.diffusion.families.pipeline import Pipeline


def _condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    texts, _ = pipe.encode_prompt(list(prompts), device=pipe.device, do_classifier_free_guidance=False)
    lengths = torch.tensor([len(text) for text in texts], device=pipe.device)
    hidden = pad_sequence(list(texts), batch_first=True)
    return {"hidden": hidden, "mask": torch.arange(hidden.shape[1], device=pipe.device) < lengths[:, None]}


def _predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    told = in_precision(condition, pipe.transformer.dtype)
    lengths = told["mask"].sum(1).tolist()
    frames = latents.to(pipe.transformer.dtype).unsqueeze(2)
    predicted: list[Tensor] = pipe.transformer(
        list(frames.unbind(0)),
        (1000 - times) / 1000,
        [text[:length] for text, length in zip(told["hidden"], lengths, strict=True)],
        return_dict=False,
    )[0]
    return -torch.stack(predicted).squeeze(2)  # it predicts the way from noise to image


ZIMAGE = Family(
    name="zimage",
    pipelines=("ZImagePipeline", "ZImageImg2ImgPipeline"),
    encoders=("text_encoder",),
    layout="components",
    latents=autoencoding.encode,
    condition=_condition,
    predict=_predict,
    resolution=autoencoder_resolution,
    denoiser="transformer",
    half_on_gpu=True,
    longest={"text_encoder": 512},
    overhead=lambda pipe: template_tokens(pipe, enable_thinking=True),
    guidance=5.0,
    negative=True,
    steps=50,
    passes_image_size=True,
    cuts_context=True,
)
