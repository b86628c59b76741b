"""The loop that adapts components: accelerate's, so that precision, accumulation and several devices are its business.

Every random number of a step comes from seed and step. So a step gives the same whatever came before it in this
process: resumed, the result is the same bytes on one machine; shared by several processes, the same but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from torch import nn

from embhub.diffusion.adaptation.checkpoint import Checkpoint, Standing
from embhub.diffusion.adaptation.components import learned_weights
from embhub.diffusion.adaptation.examples import Examples
from embhub.diffusion.adaptation.objectives import Objective
from embhub.diffusion.adaptation.plan import Plan
from embhub.diffusion.adaptation.stopping import interrupts_wait
from embhub.diffusion.training.checkpoints import TrainingInterruptedError
from embhub.diffusion.training.inversion import DivergedError
from embhub.diffusion.training.precision import in_bfloat16
from embhub.diffusion.training.schedule import pace
from embhub.errors import UsageError

OnStep = Callable[[int, float, float | None], None]
"""Told of steps done, the loss of the last, and the last held-out loss where images were kept back."""


@dataclass(frozen=True)
class AdaptationResult:
    """The loss of every step, and (step, mean loss) of images kept back, from before the first step to the last."""

    losses: tuple[float, ...]
    points: tuple[tuple[int, float], ...]


def open_accelerator(plan: Plan, device: str) -> Accelerator:
    """Accelerate for this process, be it alone or one of several that `accelerate launch` started.

    Raises:
        UsageError: the batch cannot be shared by so many processes, or the device has not the precision.
    """
    state = process_state(device)
    mixed = in_bfloat16(state.device.type, plan.precision)
    # One process may adapt several components one after another, each in a precision of its own.
    AcceleratorState._reset_state()
    try:
        return Accelerator(
            cpu=device == "cpu",
            mixed_precision="bf16" if mixed else "no",
            gradient_accumulation_steps=plan.accumulation(state.num_processes),
            # The last layer of a text encoder whose last but one is read has no gradient.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters="text-encoder" in plan.components)],
        )
    except ValueError as error:
        raise UsageError(f"no bfloat16 on this {state.device.type}: {error}", "give --precision float32") from error


def process_state(device: str) -> PartialState:
    """Which of how many processes this is, and on which device."""
    return PartialState(cpu=device == "cpu")


def learn(
    accelerator: Accelerator,
    objective: Objective,
    plan: Plan,
    members: Examples,
    held_out: Examples | None,
    *,
    seed: int,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    looks: int = 10,
    on_step: OnStep | None = None,
) -> AdaptationResult:
    """Adapt the components of `objective` in place; the loss of `held_out` is taken `looks` times on the way.

    Raises:
        DivergedError: a loss or a gradient that is not finite; the checkpoint is removed.
        TrainingInterruptedError: SIGINT, after a whole step that `resume` goes on from.
        ConfigError, UsageError: as `Checkpoint`.
    """
    weights = learned_weights(dict(objective.adapted.items()))
    inner = torch.optim.AdamW(weights.values(), lr=plan.learning_rate, weight_decay=1e-2)
    losses: list[float] = []
    points: list[tuple[int, float]] = []
    if checkpoint and resume and checkpoint.path.exists():
        standing = checkpoint.read(weights, inner)
        losses, points = list(standing.losses), list(standing.points)
    prepared, optimizer = accelerator.prepare(objective, inner)
    every = max(1, plan.steps // looks)

    def demand_finite(value: float, what: str) -> None:
        if not math.isfinite(value):
            if checkpoint and accelerator.is_main_process:
                checkpoint.remove()
            raise DivergedError(f"{what} is not a number", "lower the learning rate, or check the base and the images")

    def look() -> None:
        if held_out is not None and (not points or points[-1][0] != len(losses)):
            with accelerator.autocast():
                measured = objective.measure(held_out)
            demand_finite(measured, f"the held-out loss after {len(losses)} steps")
            points.append((len(losses), measured))

    def keep() -> None:
        if checkpoint and accelerator.is_main_process:
            checkpoint.write(weights, inner, Standing(tuple(losses), tuple(points)))

    with interrupts_wait() as stop:
        if not losses:
            look()
        while len(losses) < plan.steps:
            for group in inner.param_groups:
                group["lr"] = plan.learning_rate * pace(len(losses), plan.steps)
            error, norm = _step(accelerator, prepared, objective, optimizer, weights, plan, members, seed, len(losses))
            demand_finite(error, f"the loss at step {len(losses) + 1}")
            # Clipped by an infinite norm a gradient is zero: the loss stays finite, and nothing is learned.
            demand_finite(norm, f"the norm of the gradient at step {len(losses) + 1}")
            losses.append(error)
            if len(losses) % every == 0 or len(losses) == plan.steps:
                look()
            if on_step:
                on_step(len(losses), error, points[-1][1] if points else None)
            if _any(accelerator, stop.asked):
                keep()
                raise TrainingInterruptedError(len(losses), checkpoint.path if checkpoint else None)
            if checkpoint and checkpoint.due and len(losses) < plan.steps:
                keep()
    return AdaptationResult(tuple(losses), tuple(points))


def _step(
    accelerator: Accelerator,
    prepared: nn.Module,
    objective: Objective,
    optimizer: Any,
    weights: dict[str, nn.Parameter],
    plan: Plan,
    members: Examples,
    seed: int,
    step: int,
) -> tuple[float, float]:
    """One step of AdamW on a batch, this process's share of it in as many passes as the plan says.

    Returns:
        The batch's loss, and the norm of its gradient before clipping.
    """
    passes = accelerator.gradient_accumulation_steps
    size = plan.batch_size // (accelerator.num_processes * passes)
    batch = objective.draw(members, torch.Generator().manual_seed((seed * 0x9E3779B97F4A7C15 + step) % 2**63))
    total, norm = torch.zeros((), device=accelerator.device), math.nan
    for number in range(passes):
        first = (accelerator.process_index * passes + number) * size
        with accelerator.accumulate(prepared):
            error = prepared(members, batch.part(slice(first, first + size)))
            accelerator.backward(error)
            if accelerator.sync_gradients:
                norm = float(accelerator.clip_grad_norm_(list(weights.values()), 1.0))
            optimizer.step()
            optimizer.zero_grad()
        total += error.detach().float() / passes
    mean: torch.Tensor = accelerator.reduce(total, reduction="mean")
    return float(mean), norm


def _any(accelerator: Accelerator, asked: bool) -> bool:
    """Whether the first process was asked to stop: all leave after the same step."""
    if accelerator.num_processes == 1:
        return asked
    told: list[bool] = broadcast_object_list([asked])
    return told[0]
