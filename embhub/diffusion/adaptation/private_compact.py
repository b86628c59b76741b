"""A compact adapter with a privacy claim: `embhub.diffusion.dp` learns it, as it learns token embeddings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from embhub.diffusion.adaptation.learned_adapter import LearnedAdapter
from embhub.diffusion.dp import adapter_gradients, settings
from embhub.diffusion.dp.private_training import PrivateTraining
from embhub.diffusion.families import device_of
from embhub.diffusion.training.precision import in_bfloat16
from embhub.diffusion.training.recipes import describe
from embhub.diffusion.training.remarks import Remarks
from embhub.diffusion.training.result import Task
from embhub.errors import UsageError
from embhub.images.images import ImageSet
from embhub.options.adapter import AdapterRecipe
from embhub.options.training import PrivacySettings, Recipe
from embhub.progress import OnProgress

_OPTIMIZER = "momentum 0.9, between the leading singular vectors of each weight"
_UNIT = "mean of each weight's leading singular values"


def choose(
    out: Path | None, privacy: PrivacySettings | None, *, seed: int | None, resume: bool, remarks: Remarks
) -> PrivateTraining | None:
    """The private training that was asked for, or None.

    Raises:
        UsageError: options that have no place in it, or `resume` without privacy.
        ConfigError: what an interrupted training left is damaged.
    """
    if privacy is None:
        if resume:
            raise UsageError("only a private training of an adapter can be resumed", "leave out --resume")
        return None
    if resume and out is None:
        raise UsageError("nothing to resume: no file to write was named", "give the same `out` as then")
    settings.check_choices(Recipe(), seed=seed, preview=None)
    of_rows = privacy.mechanism in ("dp-agg", "votes")
    if of_rows or privacy.subspace_dim is not None or privacy.num_candidates is not None:
        raise UsageError(
            "adapters are trained by dp-sgd, and their rank says in how many directions",
            "leave out --mechanism, --subspace-dim and --num-candidates",
        )
    way = PrivateTraining(out, settings.resolve(privacy), resume=resume, prepare=adapter_gradients.prepare)
    if way.checkpoint.replaces:
        remarks.say("discarding an interrupted training of this file; use --resume to continue it")
    return way


def learn(
    way: PrivateTraining, task: Task, chosen: AdapterRecipe, members: ImageSet, kept_back: ImageSet, remarks: Remarks,
    on_progress: OnProgress | None,
) -> LearnedAdapter:  # fmt: skip
    """Learn an adapter privately. Raises as `PrivateTraining.learn`."""
    mixed = in_bfloat16(device_of(task.pipe).type, chosen.precision or "auto")
    recipe = settings.adapter_recipe(way.default_recipe(task.pipe), chosen, mixed=mixed)
    task = replace(task, recipe=recipe)
    learned = way.learn(task, members, kept_back, remarks, None, on_progress)
    facts = describe(task.pipe, task.caption, recipe, task.preprocessing) | {
        "rank": chosen.rank, "optimizer": _OPTIMIZER, "learning_rate_unit": _UNIT,
    }  # fmt: skip
    del facts["vectors"], facts["initial_word"]
    return LearnedAdapter(
        {name: rows.numpy() for name, rows in learned.rows.items()},
        replace(
            chosen, steps=recipe.steps, learning_rate=recipe.learning_rate, batch_size=recipe.batch_size,
            precision="bfloat16" if recipe.mixed_precision else "float32",
        ),
        facts, learned.reservation, claim=learned.claim, second_opinion=learned.second_opinion,
    )  # fmt: skip
