"""The bases that training is measured on: `builtin`, a text table of Stable Diffusion's size, and all of SD 1.5's.

The last two have random weights in the real classes: time and memory do not depend on what a weight says.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from embhub.diffusion.bases.found import quiet
from embhub.diffusion.bases.pipelines import load_pipeline

ROOM = 77
"""Tokens that CLIP's text encoder reads."""


def write_large_table(folder: Path, *, vocabulary: int, width: int) -> Path:
    """Save `builtin` with another text encoder: a table of `vocabulary` x `width`, two layers, 77 tokens.

    Its autoencoder is `builtin`'s; the U-Net has its shape, but for the width of the text, and random weights.
    """
    small = load_pipeline("builtin", device="cpu")
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        tokenizer = make_tokenizer(vocabulary)
        small.register_modules(
            tokenizer=tokenizer,
            text_encoder=_text_encoder(tokenizer, width=width, layers=2, heads=width // 32),
            unet=UNet2DConditionModel.from_config(small.unet.config, cross_attention_dim=width),
        )
        small.save_pretrained(folder)
    return folder


def build_stable_diffusion(device: torch.device) -> Any:
    """A pipeline with the sizes of Stable Diffusion 1.5 (860 M weights in the U-Net, 512 pixels), random weights."""
    with torch.random.fork_rng(devices=[]), quiet(), device:
        torch.manual_seed(0)
        tokenizer = make_tokenizer(49_408)
        pipe = StableDiffusionPipeline(
            vae=AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(128, 256, 512, 512),
                layers_per_block=2,
                latent_channels=4,
                sample_size=512,
            ),
            text_encoder=_text_encoder(tokenizer, width=768, layers=12, heads=12),
            tokenizer=tokenizer,
            unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
            scheduler=DDIMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                clip_sample=False,
                set_alpha_to_one=False,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    return pipe.to(device)


def make_tokenizer(vocabulary: int) -> Any:
    """CLIP's tokenizer with `vocabulary` entries, of which the letters are ever used."""
    letters = [*string.ascii_lowercase, *string.digits, *"<>_-.,|"]
    start, end = "<|startoftext|>", "<|endoftext|>"
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += [f"word{number}</w>" for number in range(vocabulary - len(words) - 2)]
    return CLIPTokenizer(
        vocab={word: number for number, word in enumerate([*words, start, end])},
        merges=[],
        model_max_length=ROOM,
        unk_token=end,
        bos_token=start,
        eos_token=end,
        pad_token=end,
    )


def _text_encoder(tokenizer: Any, *, width: int, layers: int, heads: int) -> Any:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_attention_heads=heads,
            num_hidden_layers=layers,
            max_position_embeddings=ROOM,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()
