"""Tiny random Kandinsky pipelines of the real classes, saved to folders in diffusers' own format.

As in `tests.support.pipelines`: everything is diffusers' and transformers' own, only small and untrained, and is
loaded back through the code path of real checkpoints. Images are 64 x 64 pixels, latents 8 x 8.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    Kandinsky3Pipeline,
    Kandinsky3UNet,
    KandinskyV22CombinedPipeline,
    KandinskyV22Pipeline,
    KandinskyV22PriorPipeline,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from tests.support.pipelines import WIDTH, _clip

RESOLUTION = 64
SHRINK = 8
"""Pixels a latent is wide."""


def write_kandinsky3(folder: Path, *, seed: int = 0, width: int = WIDTH) -> Path:
    """Save a Kandinsky 3 in `folder` and return it; the same arguments give the same weights."""
    kandinsky3(seed=seed, width=width).save_pretrained(folder)
    return folder


def kandinsky3(*, seed: int = 0, width: int = WIDTH) -> Kandinsky3Pipeline:
    """T5 encoder, U-Net and MoVQ of Kandinsky 3."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer, text_encoder = _t5(width)
        unet = Kandinsky3UNet(
            in_channels=4,
            time_embedding_dim=8,
            groups=2,
            attention_head_dim=4,
            layers_per_block=2,
            block_out_channels=(8, 16),
            cross_attention_dim=8,
            encoder_hid_dim=width,
        ).eval()
        _stir(unet)
        # The class has no word for its size, and keeps what its configuration says beside: see families.kandinsky3.
        unet.register_to_config(sample_size=RESOLUTION // SHRINK)
        return Kandinsky3Pipeline(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            unet=unet,
            scheduler=DDPMScheduler(
                beta_schedule="squaredcos_cap_v2", clip_sample=False, thresholding=False, prediction_type="epsilon"
            ),
            movq=_movq(),
        )


def write_prior(folder: Path, *, seed: int = 0) -> Path:
    """Save the prior of a Kandinsky 2.2 in `folder` and return it."""
    prior(seed=seed).save_pretrained(folder)
    return folder


def prior(*, seed: int = 0) -> KandinskyV22PriorPipeline:
    """The part that makes image embeddings of words."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KandinskyV22PriorPipeline(**_prior_parts())


def write_decoder(folder: Path, *, seed: int = 0) -> Path:
    """Save the decoder of a Kandinsky 2.2 in `folder` and return it."""
    decoder(seed=seed).save_pretrained(folder)
    return folder


def decoder(*, seed: int = 0) -> KandinskyV22Pipeline:
    """The part that draws image embeddings."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return KandinskyV22Pipeline(**_decoder_parts())


def write_combined(folder: Path, *, seed: int = 0) -> Path:
    """Save both parts as one pipeline, of the very weights of `prior` and `decoder`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = {f"prior_{name}": part for name, part in _prior_parts().items()}
        torch.manual_seed(seed + 1)
        KandinskyV22CombinedPipeline(**first, **_decoder_parts()).save_pretrained(folder)
    return folder


def _prior_parts() -> dict[str, Any]:
    tokenizer, text_encoder = _clip(WIDTH)
    config: CLIPTextConfig = text_encoder.config
    model = PriorTransformer(num_attention_heads=2, attention_head_dim=12, embedding_dim=WIDTH, num_layers=1).eval()
    model.clip_mean.data.normal_(std=0.1)
    model.clip_std.data.uniform_(0.5, 1.5)
    seen = CLIPVisionConfig(
        hidden_size=WIDTH,
        image_size=32,
        projection_dim=WIDTH,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        patch_size=16,
    )
    return {
        "prior": model,
        "image_encoder": CLIPVisionModelWithProjection(seen).eval(),
        "text_encoder": CLIPTextModelWithProjection(config).eval(),
        "tokenizer": tokenizer,
        "scheduler": UnCLIPScheduler(
            variance_type="fixed_small_log",
            prediction_type="sample",
            num_train_timesteps=1000,
            clip_sample=True,
            clip_sample_range=10.0,
        ),
        "image_processor": CLIPImageProcessor(crop_size=32, size={"shortest_edge": 32}),
    }


def _decoder_parts() -> dict[str, Any]:
    unet = UNet2DConditionModel(
        sample_size=RESOLUTION // SHRINK,
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
    ).eval()
    scheduler = DDIMScheduler(
        beta_schedule="linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
        thresholding=False,
    )
    return {"unet": unet, "scheduler": scheduler, "movq": _movq()}


def _t5(width: int) -> tuple[Any, Any]:
    letters = [*string.ascii_lowercase, *string.digits, *"<>_-.,"]
    words = ["<pad>", "</s>", "<unk>", *("▁" + letter for letter in letters), *letters, "▁"]
    tokenizer = T5Tokenizer(
        vocab=[(word, -float(number)) for number, word in enumerate(words)], extra_ids=0, model_max_length=512
    )
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4, pad_token_id=0
    )
    return tokenizer, T5EncoderModel(config).eval()


def _movq() -> VQModel:
    return VQModel(
        block_out_channels=(32,) * 4,  # the least that its norm takes
        down_block_types=("DownEncoderBlock2D",) * 3 + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 3,
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    ).eval()


def _stir(unet: torch.nn.Module) -> None:
    """Kandinsky 3 begins its training with time and pooled text switched off; a trained one has them on."""
    for name, part in unet.named_parameters():
        if "context_mlp" in name:
            torch.nn.init.normal_(part, std=0.2)
