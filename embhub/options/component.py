"""The options of a component's fine-tuning, written once for library and command line; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from embhub.options.fields import check_ranges, option
from embhub.options.precision import MEANING, Precision

Component = Literal["unet", "text-encoder", "vae-decoder"]

_BY_BASE = "[default: depends on the base]"


@dataclass(frozen=True, kw_only=True)
class ComponentRecipe:
    """How a component is fine-tuned; a field that is None takes what suits the base.

    Attributes:
        lora_rank: rank of a LoRA (Hu et al. 2021, arXiv 2106.09685); None trains the weights themselves.
        steps: optimization steps.
        learning_rate: peak learning rate of AdamW.
        batch_size: images of a step, over all processes.
        micro_batch_size: images that a process computes at a time.
        gradient_checkpointing: recompute activations in the backward pass to save memory.
        precision: number format of the computation; weights stay float32. `auto` by default.

    Raises:
        UsageError: a value out of its range.
    """

    lora_rank: int | None = option("LoRA rank: train a LoRA instead of the weights.", low=1, high=1024, metavar="R")
    steps: int | None = option(f"Optimization steps  {_BY_BASE}", low=1, high=10**7)
    learning_rate: float | None = option(f"Peak learning rate of AdamW  {_BY_BASE}", above=0, high=1)
    batch_size: int | None = option(f"Batch size: images per step, over all processes  {_BY_BASE}", low=1, high=65536)
    micro_batch_size: int | None = option(
        "Microbatch size: images computed at a time in each process; lower it if you run out of memory"
        "  [default: whole batch]",
        low=1,
        high=65536,
    )
    gradient_checkpointing: bool = option("Enable gradient checkpointing (slower, less memory).", default=False)
    precision: Precision | None = option(
        f"Mixed precision of the computation; weights stay float32; {MEANING}  [default: auto]"
    )

    def __post_init__(self) -> None:
        check_ranges(self)
