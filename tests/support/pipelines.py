"""Tiny random pipelines of the real classes, saved to folders in diffusers' own format.

Tests load them back through the code path of real checkpoints, so that nothing here stands in for it: tokenizers,
encoders, U-Net, autoencoder and scheduler are diffusers' and transformers' own, only small (8 x 8 latents of 32 x 32
pixels, text width 32) and untrained.
"""

from __future__ import annotations

import shutil
import string
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import BertConfig, BertModel, BertTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

Encoder = Literal["clip", "bert"]
Prediction = Literal["epsilon", "v_prediction"]

RESOLUTION = 32
WIDTH = 32


def write(
    folder: Path, *, encoder: Encoder = "clip", prediction: Prediction = "epsilon", width: int = WIDTH, seed: int = 0
) -> Path:
    """Save a pipeline of one kind in `folder` and return it; the same arguments give the same weights."""
    saved = _saved(encoder, prediction, width, seed)
    shutil.copytree(saved, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
    return folder


@cache
def _saved(encoder: Encoder, prediction: Prediction, width: int, seed: int) -> Path:
    """The pipeline as saved once by this process: a copy of the files takes a twentieth of building them."""
    folder = Path(_room().name) / f"{encoder}-{prediction}-{width}-{seed}"
    build(encoder=encoder, prediction=prediction, width=width, seed=seed).save_pretrained(folder)
    return folder


@cache
def _room() -> tempfile.TemporaryDirectory[str]:
    """Where they are kept until this process ends."""
    return tempfile.TemporaryDirectory(prefix="embhub-tests-", ignore_cleanup_errors=True)


def build(
    *,
    encoder: Encoder = "clip",
    prediction: Prediction = "epsilon",
    width: int = WIDTH,
    seed: int = 0,
    latent_channels: int = 4,
) -> StableDiffusionPipeline:
    """The pipeline itself, in memory. MSDM, the model of "Prompt to Polyp", has a BERT of 64 tokens and 8 channels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer, text_encoder = _clip(width) if encoder == "clip" else _bert(width)
        return StableDiffusionPipeline(
            vae=autoencoder(latent_channels),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=_denoiser(width, latent_channels),
            scheduler=DDIMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                prediction_type=prediction,
                steps_offset=1,
                clip_sample=False,
                set_alpha_to_one=False,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def _clip(width: int) -> tuple[Any, Any]:
    letters = [*string.ascii_lowercase, *string.digits, *"<>_-.,"]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    end = "<|endoftext|>"
    tokenizer = CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=[],
        model_max_length=77,
        unk_token=end,
        bos_token="<|startoftext|>",
        eos_token=end,
        pad_token=end,
    )
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=37,
        projection_dim=width,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=77,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, CLIPTextModel(config).eval()


def _bert(width: int) -> tuple[Any, Any]:
    letters = [*string.ascii_lowercase, *string.digits]
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{letter}" for letter in letters),
        ",",
        "<",
        ">",
    ]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)}, model_max_length=64)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=37,
        max_position_embeddings=64,
    )
    return tokenizer, BertModel(config).eval()


def autoencoder(channels: int, **told: Any) -> AutoencoderKL:
    """The VAE of all tiny pipelines, of `channels` latent channels; `told` goes into its configuration."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=RESOLUTION,
        **told,
    ).eval()


def _denoiser(width: int, channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=RESOLUTION // 4,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        norm_num_groups=8,
        attention_head_dim=4,
    ).eval()
