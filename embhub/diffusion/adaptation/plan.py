"""How components are adapted: which, for how long, how fast; and what suits a base of a given size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from embhub.diffusion.families import resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.precision import in_bfloat16
from embhub.errors import UsageError
from embhub.options.component import Component, ComponentRecipe
from embhub.options.fields import check_ranges, given
from embhub.options.precision import Precision


@dataclass(frozen=True)
class Plan:
    """Settings of an adaptation with everything filled in; its options are described at `ComponentRecipe`.

    `learning_rate` is AdamW's after a twentieth of the steps, falling on half a cosine to a twentieth. `dropout` is the
    share of captions left empty, without which guidance is lost. `high_noise` of each batch is drawn from the noisiest
    30 % of the schedule, the rest evenly; `snr_gamma` evens out timesteps (min-SNR), None weighs them alike.

    Raises:
        UsageError: values that cannot be, or components that do not go together.
    """

    components: tuple[Component, ...]
    steps: int
    learning_rate: float
    batch_size: int
    dropout: float = 0.1
    high_noise: float = 0.0
    snr_gamma: float | None = None
    micro_batch_size: int | None = None
    lora_rank: int | None = None
    gradient_checkpointing: bool = False
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        check_ranges(self, ComponentRecipe)
        if not 0 <= self.dropout < 1:
            raise UsageError(f"{self.dropout} of the captions left empty", "choose a share under 1, such as 0.1")
        self._check_components()

    @property
    def at_once(self) -> int:
        """How many images a process computes at a time, if one process has the whole batch."""
        return self.batch_size if self.micro_batch_size is None else min(self.micro_batch_size, self.batch_size)

    @property
    def trains_decoder(self) -> bool:
        """Whether the autoencoder's decoder is adapted, and so pictures, not noise, are what is compared."""
        return "vae-decoder" in self.components

    def accumulation(self, processes: int) -> int:
        """Passes that make one step, where `processes` share a batch.

        Raises:
            UsageError: the batch cannot be shared out evenly.
        """
        share = self.batch_size // processes
        micro = share if self.micro_batch_size is None else min(self.micro_batch_size, share)
        if share * processes != self.batch_size or micro == 0 or share % micro:
            at_once = self.micro_batch_size or share
            raise UsageError(
                f"a batch of {self.batch_size} cannot be shared by {processes} processes, {at_once} images at a time",
                "choose a batch size that is a multiple of processes times --micro-batch-size",
            )
        return share // micro

    def _check_components(self) -> None:
        if not self.components or len(set(self.components)) != len(self.components):
            raise UsageError("no component, or one twice", f"choose among {', '.join(get_args(Component))}")
        if unknown := [name for name in self.components if name not in get_args(Component)]:
            raise UsageError(f"no component called {unknown[0]}", f"choose among {', '.join(get_args(Component))}")
        if self.trains_decoder and len(self.components) > 1:
            raise UsageError(
                "the decoder learns from pictures, the other components from noise",
                "adapt the others first, then the decoder of the base that comes out",
            )
        if self.trains_decoder and self.lora_rank is not None:
            raise UsageError("a LoRA of the decoder", "LoRA files know denoiser and text encoders: leave out the rank")


def default_plan(pipe: Pipeline, components: Sequence[Component], *, lora_rank: int | None = None) -> Plan:
    """What suits a base of this size: fast and short for the built-in ones, careful for Stable Diffusion's.

    Raises:
        UsageError: as `Plan`.
    """
    chosen = tuple(components)
    if resolution(pipe) <= 128:
        rate = 1e-3 if lora_rank else 5e-4
        return Plan(chosen, 600, rate, 16, high_noise=0.3, lora_rank=lora_rank)
    rate = 1e-4 if lora_rank else 1e-5
    return Plan(chosen, 2000, rate, 8, snr_gamma=5.0, lora_rank=lora_rank)


def resolve(recipe: ComponentRecipe, default: Plan) -> Plan:
    """The settings that a person chose, with what suits the base where nothing was chosen."""
    return replace(default, **given(recipe))


def settle_precision(plan: Plan, device: str) -> Plan:
    """The plan with the precision that is really used on a device: what is written into the base's description."""
    return replace(plan, precision="bfloat16" if in_bfloat16(device, plan.precision) else "float32")
