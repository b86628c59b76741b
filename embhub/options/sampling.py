"""How images are sampled: the options that `generate` and `dataset` share; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from embhub.options.fields import check_ranges, option

Scheduler = Literal[
    "ddim", "ddpm", "dpm++", "dpm++-sde", "euler", "euler-ancestral", "heun", "lcm", "lms", "pndm", "unipc"
]
SamplingDtype = Literal["float32", "bfloat16", "float16"]
Quantized = Literal["int8"]
BATCH = 8
"""Images that `generate` computes together by default."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How images are sampled, beside steps and guidance; None is what the base and the command are made for.

    Attributes:
        batch_size: images computed together; each has a generator of its own.
        scheduler: a scheduler of diffusers, with the base's noise schedule.
        dtype: number format of the weights and the computation.
        quantize: integers in which the denoiser's linear layers compute, on a processor.
        unmarked: whether images start from plain noise, without a mark.
        compiled: whether the denoiser goes through torch.compile.

    Raises:
        UsageError: a value out of its range.
    """

    batch_size: int | None = option(
        "Batch size: images computed together, each from its own seed; images are the same up to rounding"
        "  [default: 8; 1 for a data set]",
        low=1,
        high=1024,
    )
    scheduler: Scheduler | None = option("Sampling scheduler  [default: the base's own]")
    dtype: SamplingDtype | None = option(
        "Number format of weights and computation  [default: float32; bfloat16 for large families on a GPU]"
    )
    quantize: Quantized | None = option(
        "Compute the denoiser's linear layers in 8-bit integers, on a CPU: less memory after loading, slightly"
        " different images."
    )
    unmarked: bool = option(
        "Leave out the mark in the first noise, by which `embhub research detect` traces images without metadata.",
        default=False,
        flags=("--no-mark",),
    )
    compiled: bool = option(
        "Compile the denoiser (torch.compile): minutes at the start, faster steps after.",
        default=False,
        flags=("--compile",),
    )

    def __post_init__(self) -> None:
        check_ranges(self)

    def facts(self) -> dict[str, Any]:
        """What was chosen, as a manifest says it."""
        chosen = {
            "batch_size": self.batch_size, "scheduler": self.scheduler, "dtype": self.dtype, "quantize": self.quantize,
        }  # fmt: skip
        said: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
        return {**said, "compiled": True} if self.compiled else said
