"""A training without privacy from end to end: rows learned, with an eye on where it leads.

The site's ledger counts it as a loss without bound for everybody whose images are learned from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion, memory
from embhub.diffusion.training.checkpoints import CheckpointStore
from embhub.diffusion.training.diagnostics import Lookout, judge_images
from embhub.diffusion.training.eval_loss import losses_with
from embhub.diffusion.training.inversion import Inversion
from embhub.diffusion.training.latents import Encoded, encode
from embhub.diffusion.training.prompts import prompts_of
from embhub.diffusion.training.recipes import ResolvedRecipe, default_recipe, settings_by_name
from embhub.diffusion.training.remarks import Remarks
from embhub.diffusion.training.result import Task, TrainingResult
from embhub.diffusion.training.table_units import token_norms
from embhub.images.holdout import split
from embhub.images.images import ImageSet
from embhub.ledger import budget
from embhub.privacy.claim import Unit
from embhub.progress import OnProgress, Progress
from embhub.version import __version__

Watch = Callable[[Inversion], object]

_KEEP_IT = (
    "the seed is a secret: whoever knows it can train again on a guessed set of images and compare the bytes; keep"
    " it private, or set none, and one that cannot be guessed is generated"
)


class PlainTraining:
    """A training without privacy that writes `out`, from the start or from what an interrupted one left.

    Raises:
        UsageError: no generator takes `seed`.
        ConfigError: what an interrupted training left is damaged.
    """

    def __init__(self, out: Path | None, *, resume: bool, seed: int | None) -> None:
        self.checkpoint = CheckpointStore(out, resume=resume)
        self.seed = self.checkpoint.choose_seed(seed)
        self._named = seed is not None

    @property
    def settings(self) -> dict[str, Any]:
        """What the private record keeps of it."""
        return {"seed": self.seed}

    def split(self, images: ImageSet, holdout: float) -> tuple[ImageSet, ImageSet]:
        """Members and images kept back."""
        return split(images, holdout, self.seed)

    def default_recipe(self, pipe: Pipeline) -> ResolvedRecipe:
        """What suits a base."""
        return default_recipe(pipe)

    def learn(
        self,
        task: Task,
        members: ImageSet,
        held_out: ImageSet,
        remarks: Remarks,
        preview: Watch | None,
        on_progress: OnProgress | None,
    ) -> TrainingResult:
        """Run the loop, with an eye on where it leads.

        Raises:
            BudgetExceededError: a cap holds for somebody among `members`, and a training without privacy has no
            epsilon. UsageError: as `embhub.diffusion.training.inversion.fit`; an interrupted training of something
            else. TrainingInterruptedError: a KeyboardInterrupt that resuming can go on from.
        """
        pipe, token, caption = task.pipe, task.token, task.caption
        if self._named:
            remarks.warn(_KEEP_IT)
        learned_from = encode(pipe, members, on_progress, task.preprocessing)
        others = encode(pipe, held_out, preprocessing=task.preprocessing) if len(held_out) else None
        state = self.checkpoint.define(_define(task, learned_from, others), seed=self.seed)
        remarks.warn(*judge_images(pipe, learned_from.latents, caption))
        prompts, back = prompts_of(members, caption, token), prompts_of(held_out, caption, token)
        lookout = Lookout(
            (others or learned_from).latents, own=others is None, warn=remarks.warn, prompts=back if others else prompts
        )
        watchers: list[Watch] = [memory.Forecast(remarks.say).watch, self.checkpoint.watch, lookout.watch]
        watchers += [preview] if preview else []
        unit: Unit = "patient" if members.has_patients else "image"
        remarks.say_if_few(members.names(), unit)
        with (
            self.checkpoint.held(),
            budget.reserve(
                members.names(),
                unit=unit,
                mechanism="none",
                steps=1,
                pictures=members.pictures(),
                on_note=remarks.warn,
            ) as reservation,
        ):
            reservation.spend(1)
            fit = inversion.fit(
                pipe,
                learned_from.latents,
                token=token,
                caption=caption,
                recipe=task.recipe,
                seed=self.seed,
                resume=state,
                prompts=prompts,
                watch=lambda training: [watch(training) for watch in watchers],
                on_step=_stepper(on_progress, task.recipe, lookout),
            )
        shown = others.latents if others else lookout.latents
        texts = back if others else lookout.prompts
        before, after = (
            losses_with(pipe, shown, token=token, caption=caption, rows=rows, prompts=texts)
            for rows in (None, fit.rows)
        )
        lookout.judge_rows(fit.rows, token_norms(pipe))
        lookout.judge_losses(before, after)
        ends = (float(before.mean()), float(after.mean())) if others else (None, None)
        return TrainingResult(
            fit.rows, reservation, losses=fit.losses, points=tuple(lookout.points), before=ends[0], after=ends[1]
        )


def _define(task: Task, members: Encoded, others: Encoded | None) -> dict[str, str]:
    """All that decides the bytes of the result beside the seed, under names that a person is shown."""
    return {
        "images": members.digest,
        "images kept back": others.digest if others else "",
        "base": task.base,
        "token": task.token,
        "caption": task.caption,
        "device": task.pipe.device.type,
        "version of torch": torch.__version__,
        "version of embhub": __version__,
        **settings_by_name(task.recipe, task.preprocessing),
    }


def _stepper(on_progress: OnProgress | None, recipe: ResolvedRecipe, lookout: Lookout) -> Callable[[int, float], None]:
    """Report each step with a smoothed loss: a single one says little."""
    smooth = math.nan

    def on_step(step: int, loss: float) -> None:
        nonlocal smooth
        smooth = loss if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss
        if on_progress:
            on_progress(Progress("training", step, recipe.steps, f"loss {smooth:.3f}{lookout.note}"))

    return on_step
