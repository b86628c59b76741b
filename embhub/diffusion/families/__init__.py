"""What differs between kinds of diffusion model, and the loss that they share.

A family is three short functions: images to latents, prompts to a condition, noisy latents to a prediction, one file
each. Everything else (rows, loop, audit) is written once against `Family` and `loss`.
"""

from embhub.diffusion.families.detection import (
    FAMILIES,
    check_configured,
    check_trainable,
    denoiser,
    detect,
    device_of,
    find,
    image_size_arguments,
    of_class,
    resolution,
    room,
)
from embhub.diffusion.families.family import Condition, Encoder, Family, encoders
from embhub.diffusion.families.objective import loss, predict_noise
from embhub.diffusion.families.schedule import (
    add_noise,
    is_flow,
    min_snr_weights,
    noise_levels,
    prediction_type,
    strengths,
    take_noise,
)
from embhub.diffusion.families.sd import SD
from embhub.diffusion.families.sdxl import SDXL

__all__ = [
    "FAMILIES",
    "SD",
    "SDXL",
    "Condition",
    "Encoder",
    "Family",
    "add_noise",
    "check_configured",
    "check_trainable",
    "denoiser",
    "detect",
    "device_of",
    "encoders",
    "find",
    "image_size_arguments",
    "is_flow",
    "loss",
    "min_snr_weights",
    "noise_levels",
    "of_class",
    "predict_noise",
    "prediction_type",
    "resolution",
    "room",
    "strengths",
    "take_noise",
]
