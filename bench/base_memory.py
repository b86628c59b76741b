"""What the published bases need of a GPU's memory, computed from their configurations: no weight is loaded or made.

The models are built of fake tensors (torch's FakeTensorMode), which have shapes and no numbers, and one step of
training is walked through by the very code that trains; what autograd keeps is counted as `embhub train` counts it.
Working space of single operations, what CUDA takes for itself, and the fragments between tensors come on top.

    python -m bench.base_memory            prints the table of docs/how-to/base-families.md
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from bench.bases import make_tokenizer
from embhub.diffusion.bases.found import quiet
from embhub.diffusion.bases.pipelines import freeze
from embhub.diffusion.families import Family, denoiser, detect, encoders, loss, resolution
from embhub.diffusion.families.flux import FLUX
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.families.sd import SD
from embhub.diffusion.families.sd3 import SD3
from embhub.diffusion.families.sdxl import SDXL
from embhub.diffusion.training import memory
from embhub.diffusion.training.precision import precision, recomputed

_VOCABULARY, _T5_VOCABULARY = 49_408, 32_128


@dataclass(frozen=True)
class Step:
    """Bytes of activations of a step of `images` at a time."""

    images: int
    checkpointing: bool
    activations: int


@dataclass(frozen=True)
class Size:
    """A base: parameters of its denoiser, text encoders and autoencoder, and bytes of a training on a GPU."""

    name: str
    side: int
    denoiser: int
    encoders: int
    autoencoder: int
    weights: int
    steps: tuple[Step, ...]


def measure(name: str, steps: tuple[tuple[int, bool], ...] = ((1, True), (1, False), (4, False))) -> Size:
    """Build one of BASES and walk through steps of (images, gradient checkpointing)."""
    build, family = BASES[name]
    with _fake(halved=family.half_on_gpu):
        pipe = build()
        freeze(pipe)
        for encoder in encoders(pipe):  # where the rows come in
            encoder.model.get_input_embeddings().register_forward_hook(lambda _m, _a, output: output.requires_grad_())
        parts = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
        text = sum(map(_count, (encoder.model for encoder in encoders(pipe))))
        return Size(
            name=name,
            side=resolution(pipe),
            denoiser=_count(denoiser(pipe)),
            encoders=text,
            autoencoder=_count(pipe.vae),
            weights=sum(p.numel() * p.element_size() for part in parts for p in part.parameters()),
            steps=tuple(Step(images, saving, _activations(pipe, images, saving)) for images, saving in steps),
        )


def table(sizes: list[Size]) -> str:
    """The sizes in Markdown, in GB of 10^9 bytes."""
    head = [
        "base", "pixels", "denoiser", "text encoders", "weights on a GPU",
        "1 image, `--gradient-checkpointing`", "1 image at a time", "4 images at a time",
    ]  # fmt: skip
    rows = [head, ["---"] * len(head)]
    for size in sizes:
        totals = [f"{(size.weights + step.activations) / 1e9:.1f} GB" for step in size.steps]
        held = f"{size.weights / 1e9:.1f} GB, {'bfloat16' if BASES[size.name][1].half_on_gpu else 'float32'}"
        rows.append([size.name, str(size.side), _billions(size.denoiser), _billions(size.encoders), held, *totals])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.base_memory", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(BASES), help="this one; may be given several times")
    print(table([measure(name) for name in parser.parse_args().only or BASES]))


@contextmanager
def _fake(*, halved: bool) -> Iterator[None]:
    usual = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16 if halved else torch.float32)
        with quiet(), FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        torch.set_default_dtype(usual)


def _activations(pipe: Pipeline, images: int, saving: bool) -> int:
    """As `embhub.diffusion.training.memory.estimate`; bfloat16 copies of float32 weights, which autocast makes, are
    in it."""
    usage_counters, side = memory._Tally(pipe), resolution(pipe) // int(pipe.vae_scale_factor)
    latents = torch.zeros(images, int(pipe.vae.config.latent_channels), side, side, dtype=torch.float32)
    with ExitStack() as stack:
        stack.enter_context(recomputed(pipe, saving))
        stack.enter_context(usage_counters.counting(pieces=saving))
        stack.enter_context(precision(pipe, mixed=True))
        condition = detect(pipe).condition(pipe, ["axial mri of the prostate"])
        loss(pipe, detect(pipe), latents, condition, latents, torch.zeros(images, dtype=torch.long))
    return usage_counters.kept + usage_counters.largest


def _count(model: nn.Module) -> int:
    return sum(part.numel() for part in model.parameters())


def _billions(count: int) -> str:
    return f"{count / 1e9:.2f} billion"


def _clip(width: int, layers: int, heads: int, *, projected: bool = False) -> Any:
    config = CLIPTextConfig(
        vocab_size=_VOCABULARY,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
        max_position_embeddings=77,
        bos_token_id=_VOCABULARY - 2,
        eos_token_id=_VOCABULARY - 1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _t5() -> Any:
    return T5EncoderModel(
        T5Config(
            vocab_size=_T5_VOCABULARY,
            d_model=4096,
            d_kv=64,
            d_ff=10240,
            num_layers=24,
            num_heads=64,
            feed_forward_proj="gated-gelu",
        )
    )


def _t5_tokenizer() -> Any:
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0)], model_max_length=512)


def _autoencoder(channels: int, side: int, **more: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=channels,
        sample_size=side,
        **more,
    )


def _flow_autoencoder() -> AutoencoderKL:
    return _autoencoder(16, 1024, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False)


def _flow(**choices: Any) -> FlowMatchEulerDiscreteScheduler:
    with unset_fake_temporarily():  # it looks at its own numbers
        return FlowMatchEulerDiscreteScheduler(shift=3.0, **choices)


def _sd(text: Any, unet: UNet2DConditionModel, side: int) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=_autoencoder(4, side),
        text_encoder=text,
        tokenizer=make_tokenizer(_VOCABULARY),
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sd1() -> StableDiffusionPipeline:
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    return _sd(_clip(768, 12, 12), unet, 512)


def _sd2() -> StableDiffusionPipeline:
    heads = (5, 10, 20, 20)
    unet = UNet2DConditionModel(
        sample_size=96, cross_attention_dim=1024, attention_head_dim=heads, use_linear_projection=True
    )
    return _sd(_clip(1024, 23, 16), unet, 768)


def _sdxl() -> StableDiffusionXLPipeline:
    tokenizer = make_tokenizer(_VOCABULARY)
    unet = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        use_linear_projection=True,
    )
    return StableDiffusionXLPipeline(
        vae=_autoencoder(4, 1024),
        text_encoder=_clip(768, 12, 12),
        text_encoder_2=_clip(1280, 32, 20, projected=True),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        add_watermarker=False,
    )


def _sd3() -> StableDiffusion3Pipeline:
    tokenizer = make_tokenizer(_VOCABULARY)
    transformer = SD3Transformer2DModel(
        sample_size=128,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=24,
        attention_head_dim=64,
        num_attention_heads=24,
        joint_attention_dim=4096,
        caption_projection_dim=1536,
        pooled_projection_dim=2048,
        pos_embed_max_size=192,
    )
    return StableDiffusion3Pipeline(
        vae=_flow_autoencoder(),
        text_encoder=_clip(768, 12, 12, projected=True),
        text_encoder_2=_clip(1280, 32, 20, projected=True),
        text_encoder_3=_t5(),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=_t5_tokenizer(),
        transformer=transformer,
        scheduler=_flow(),
    )


def _flux() -> FluxPipeline:
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=19,
        num_single_layers=38,
        attention_head_dim=128,
        num_attention_heads=24,
        joint_attention_dim=4096,
        pooled_projection_dim=768,
        guidance_embeds=True,
    )
    return FluxPipeline(
        vae=_flow_autoencoder(),
        text_encoder=_clip(768, 12, 12),
        text_encoder_2=_t5(),
        tokenizer=make_tokenizer(_VOCABULARY),
        tokenizer_2=_t5_tokenizer(),
        transformer=transformer,
        scheduler=_flow(use_dynamic_shifting=True),
    )


BASES: dict[str, tuple[Callable[[], Any], Family]] = {
    "Stable Diffusion 1.5": (_sd1, SD),
    "Stable Diffusion 2.1": (_sd2, SD),
    "SDXL 1.0": (_sdxl, SDXL),
    "SD 3 medium": (_sd3, SD3),
    "FLUX.1-dev": (_flux, FLUX),
}

if __name__ == "__main__":
    main()
