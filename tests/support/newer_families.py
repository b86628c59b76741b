"""Tiny random pipelines of families since 2024: one text encoder each, T5 or a chat model, and transformers.

As in `tests.support.families`, everything is diffusers' and transformers' own, only small and untrained. Images are
32 x 32 pixels. The chat models read real templates, by tokenizers that know their marks as single tokens.
"""

from __future__ import annotations

import inspect
import json
import string
from collections.abc import Callable
from typing import Any

import diffusers
import pytest
from diffusers import (
    AutoencoderDC,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
)
from tokenizers import Tokenizer, decoders, models, normalizers, trainers
from tokenizers.pre_tokenizers import ByteLevel, Split
from transformers import (
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from tests.support import pipelines

GEMMA, QWEN, T5 = 24, 16, 96
"""Widths."""
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""As Qwen3's, of one message."""
KLEIN = getattr(diffusers, "Flux2KleinPipeline", None)
"""Not in diffusers 0.36, the oldest that embhub takes."""


def build_pixart(t5: Callable[[], tuple[Any, Any]], stirred: Callable[[Any], Any]) -> Any:
    """PixArt-Sigma: T5 and a mask; noise and its variance are predicted."""
    tokenizer, text_encoder = t5()
    transformer = PixArtTransformer2DModel(
        sample_size=pipelines.RESOLUTION // 4,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        cross_attention_dim=16,
        caption_channels=T5,
        norm_num_groups=1,
        use_additional_conditions=False,
    ).eval()
    return PixArtSigmaPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=pipelines.autoencoder(4),
        transformer=stirred(transformer),
        scheduler=DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    )


def build_sana(stirred: Callable[[Any], Any]) -> Any:
    """SANA: Gemma 2 behind an instruction, a deep-compression autoencoder, and a flow by DPM-Solver."""
    transformer = SanaTransformer2DModel(
        sample_size=pipelines.RESOLUTION // 4,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=GEMMA,
        timestep_scale=1.0,
    ).eval()
    autoencoder = AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        encoder_layers_per_block=(1, 1, 1),
        decoder_layers_per_block=(1, 1, 1),
        encoder_qkv_multiscales=((), (), (5,)),
        decoder_qkv_multiscales=((), (), (5,)),
        upsample_block_type="interpolate",
        downsample_block_type="conv",
        scaling_factor=0.41407,
    ).eval()
    return SanaPipeline(
        tokenizer=_gemma_tokenizer(),
        text_encoder=Gemma2Model(
            Gemma2Config(
                vocab_size=len(_gemma_tokenizer()),
                hidden_size=GEMMA,
                intermediate_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
                max_position_embeddings=4096,
            )
        ).eval(),
        vae=autoencoder,
        transformer=stirred(transformer),
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero"
        ),
    )


def build_zimage(stirred: Callable[[Any], Any]) -> Any:
    """Z-Image: the last but one layer of Qwen3, as many tokens as there are."""
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=16,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=QWEN,
        axes_dims=[4, 2, 2],
        axes_lens=[512, 16, 16],
    ).eval()
    for pad in (transformer.x_pad_token, transformer.cap_pad_token):
        pad.data.zero_()  # diffusers 0.36 leaves in them what was in memory, a checkpoint's weights replace it
    return diffusers.ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=pipelines.autoencoder(4, shift_factor=0.06, scaling_factor=1.5),
        text_encoder=Qwen3Model(_qwen3(2)).eval(),
        tokenizer=_qwen_tokenizer(),
        transformer=stirred(transformer),
    )


def build_klein(stirred: Callable[[Any], Any]) -> Any:
    """FLUX.2 klein: layers 9, 18 and 27 of Qwen3, latents packed and normalised by a batch norm's figures."""
    if KLEIN is None:
        pytest.skip(f"diffusers {diffusers.__version__} has no FLUX.2 klein")
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * QWEN,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    ).eval()
    autoencoder = diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=pipelines.RESOLUTION,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()
    autoencoder.bn.running_mean.normal_(std=0.2)
    autoencoder.bn.running_var.uniform_(0.5, 2.0)
    return KLEIN(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=autoencoder,
        text_encoder=Qwen3ForCausalLM(_qwen3(28)).eval(),
        tokenizer=_qwen_tokenizer(),
        transformer=_attentive(stirred(transformer)),
    )


def build_qwenimage(stirred: Callable[[Any], Any]) -> Any:
    """Qwen-Image: Qwen2.5-VL behind a system message, an autoencoder of videos, a flow with a shift_terminal."""
    tokenizer = _qwen_tokenizer()
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=QWEN,
        axes_dims_rope=(4, 6, 6),
    ).eval()
    # The class has no word for its size, and keeps what its configuration says beside: see families.qwenimage.
    transformer.register_to_config(sample_size=pipelines.RESOLUTION // 4)
    autoencoder = diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[-0.7, 0.1, 0.4, -0.2],
        latents_std=[2.8, 1.4, 0.9, 1.8],
    ).eval()
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer) + 3,
            "hidden_size": QWEN,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": QWEN,
        },
    )
    return diffusers.QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, shift_terminal=0.02, use_dynamic_shifting=True),
        vae=autoencoder,
        text_encoder=Qwen2_5_VLForConditionalGeneration(config).eval(),
        tokenizer=tokenizer,
        transformer=_attentive(stirred(transformer)),
    )


def _attentive(transformer: Any) -> Any:
    """Random attention to words hardly moves a picture: that of a trained transformer is louder."""
    for name, weight in transformer.named_parameters():
        if any(part in name for part in ("context_embedder", "txt_in", "add_v_proj.weight", "to_out.0.weight")):
            weight.data *= 4
    return transformer


def _qwen3(layers: int) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=len(_qwen_tokenizer()) + 3,
        hidden_size=QWEN,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=2048,
    )


def _qwen_tokenizer() -> Any:
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    words = [*sorted(ByteLevel.alphabet()), *marks]
    tokenizer = Qwen2Tokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=[],
        model_max_length=4096,
        additional_special_tokens=marks[1:],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _gemma_tokenizer() -> Any:
    """Letters, and pairs of them as learned from the pipeline's instruction, which is 1,300 letters long."""
    instruction = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer, learner.decoder = Split("▁", "merged_with_previous"), decoders.BPEDecoder()
    learner.train_from_iterator(
        instruction,
        trainers.BpeTrainer(
            vocab_size=600, initial_alphabet=[*string.ascii_letters, *string.digits, *"▁<>|_-.,:;'\n()"],
            special_tokens=["<pad>", "<eos>", "<bos>", "<unk>"], show_progress=False,
        ),
    )  # fmt: skip
    model = json.loads(learner.to_str())["model"]
    return GemmaTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]], model_max_length=8192)
