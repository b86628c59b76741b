"""Tiny random pipelines of every family, of the real classes, to be saved to folders as `tests.support.pipelines` does.

CLIP's configurations name 2 as the end of text where those of the real checkpoints do; T5's table has more rows than
its tokenizer has words, as the real one.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from tests.support import newer_families, pipelines

CLIP_L, CLIP_G, T5 = 32, 48, 96
"""Widths."""
SENTINELS, SPARE = 5, 7
"""Words `<extra_id_…>` of T5's tokenizer, and rows of its table that no word has."""


def write(folder: Path, kind: str, *, seed: int = 0) -> Path:
    """Save a pipeline of one kind (a name in BUILDERS) in `folder` and return it."""
    build(kind, seed=seed).save_pretrained(folder)
    return folder


def build(kind: str, *, seed: int = 0) -> Any:
    """The pipeline in memory; the same arguments give the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BUILDERS[kind]()


def _sdxl() -> StableDiffusionXLPipeline:
    first, second = _clip(CLIP_L), _clip(CLIP_G, projection=CLIP_L, old_end=True)
    unet = UNet2DConditionModel(
        sample_size=pipelines.RESOLUTION // 4,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=CLIP_L + CLIP_G,
        norm_num_groups=8,
        attention_head_dim=4,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + CLIP_L,
    ).eval()
    return StableDiffusionXLPipeline(
        vae=pipelines.autoencoder(4),
        text_encoder=first[1],
        text_encoder_2=second[1],
        tokenizer=first[0],
        tokenizer_2=second[0],
        unet=unet,
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            clip_sample=False,
            set_alpha_to_one=False,
        ),
        add_watermarker=False,
    )


def _sd3(**more: Any) -> StableDiffusion3Pipeline:
    first, second = _clip(CLIP_L, projection=CLIP_L, old_end=True), _clip(CLIP_G, projection=CLIP_L, old_end=True)
    third = _t5()
    transformer = SD3Transformer2DModel(
        sample_size=pipelines.RESOLUTION // 4,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=T5,
        pooled_projection_dim=2 * CLIP_L,
        pos_embed_max_size=16,
        **more,
    ).eval()
    return StableDiffusion3Pipeline(
        vae=pipelines.autoencoder(4, **_SHIFTED),
        text_encoder=first[1],
        text_encoder_2=second[1],
        text_encoder_3=third[1],
        tokenizer=first[0],
        tokenizer_2=second[0],
        tokenizer_3=third[0],
        transformer=_stirred(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def _flux(*, guidance: bool = True) -> FluxPipeline:
    first, second = _clip(CLIP_L, old_end=True), _t5()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=T5,
        pooled_projection_dim=CLIP_L,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance,
    ).eval()
    return FluxPipeline(
        vae=pipelines.autoencoder(4, **_SHIFTED),
        text_encoder=first[1],
        text_encoder_2=second[1],
        tokenizer=first[0],
        tokenizer_2=second[0],
        transformer=_stirred(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )


BUILDERS: dict[str, Callable[[], Any]] = {
    "sd1": lambda: _attentive(pipelines.build()),
    "sd2": lambda: _attentive(pipelines.build(prediction="v_prediction", width=48)),
    "bert": lambda: _attentive(pipelines.build(encoder="bert", latent_channels=8)),  # the shape of MSDM
    "sdxl": lambda: _attentive(_sdxl()),
    "sd3": _sd3,
    "flux": _flux,
    "flux-schnell": lambda: _flux(guidance=False),
    # SD 3.5: attention of its own for images in the first layers, keys and queries normalised
    "sd35": lambda: _sd3(dual_attention_layers=(0,), qk_norm="rms_norm"),
    "pixart": lambda: newer_families.build_pixart(_t5, _stirred),
    "sana": lambda: newer_families.build_sana(_stirred),
    "zimage": lambda: newer_families.build_zimage(_stirred),
    "klein": lambda: newer_families.build_klein(_stirred),
    "qwen-image": lambda: newer_families.build_qwenimage(_stirred),
}


NEWER = ("sd35", "pixart", "sana", "zimage", "klein", "qwen-image")
"""Of `tests.support.newer_families`, and SD 3.5."""


def _attentive(pipe: Any) -> Any:
    """Random attention to words hardly moves a picture: that of a trained U-Net is as loud as this."""
    for name, weight in pipe.unet.named_parameters():
        if "attn2.to_v" in name or "attn2.to_out.0.weight" in name:
            weight.data *= 4
    return pipe


def _stirred(model: Any) -> Any:
    """Layers that start at zero answer nothing, whatever they are told: they get numbers as trained ones have."""
    for weight in model.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
    return model


def _clip(width: int, *, projection: int | None = None, old_end: bool = False) -> tuple[Any, Any]:
    tokenizer, _ = pipelines._clip(width)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=37,
        projection_dim=projection or width,
        num_attention_heads=4,
        num_hidden_layers=3,
        max_position_embeddings=77,
        hidden_act="gelu",
        bos_token_id=0 if old_end else tokenizer.bos_token_id,
        eos_token_id=2 if old_end else tokenizer.eos_token_id,
        pad_token_id=1 if old_end else tokenizer.pad_token_id,
    )
    return tokenizer, (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def _t5() -> tuple[Any, Any]:
    letters = [*string.ascii_lowercase, *string.digits, *"<>_-.,|"]
    words = ["<pad>", "</s>", "<unk>", *("▁" + letter for letter in letters), *letters, "▁"]
    pieces = [(word, 0.0 if number < 3 else -float(number)) for number, word in enumerate(words)]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=SENTINELS, model_max_length=512)
    config = T5Config(
        vocab_size=len(tokenizer) + SPARE,
        d_model=T5,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
        pad_token_id=0,
        feed_forward_proj="gated-gelu",
    )
    return tokenizer, T5EncoderModel(config).eval()


_SHIFTED: dict[str, Any] = {
    "shift_factor": 0.06,
    "scaling_factor": 1.5,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
"""As the autoencoders of flows say."""
