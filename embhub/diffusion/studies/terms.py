"""What a study's numbers say to a training: recipe, preprocessing, mechanism and grid."""

from __future__ import annotations

from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import UsageError
from embhub.options.fields import check_types
from embhub.options.preprocessing import Preprocessing
from embhub.study.grid import Grid
from embhub.study.plan import Study


def recipe_of(study: Study) -> ResolvedRecipe:
    """The recipe that all sites approved.

    Raises:
        UsageError: it is none that this version knows, has a value out of its range or of another type, or contradicts
            the study's numbers. A value that fails at a site only if somebody was sampled would say that somebody was.
    """
    try:
        recipe = ResolvedRecipe(**study.recipe)  # type: ignore[arg-type]  # checked below
    except TypeError as error:
        raise UsageError("the study's recipe has settings that this version of embhub does not know") from error
    check_types(recipe)
    if (recipe.steps, recipe.batch_size) != (study.attempts, study.batch) or recipe.per_layer or recipe.norm != "free":
        raise UsageError("the study's recipe is not one of a study, or contradicts its numbers")
    return recipe


def preprocessing_of(study: Study) -> Preprocessing:
    """How images are fitted.

    Raises:
        UsageError: as `recipe_of`.
    """
    try:
        preprocessing = Preprocessing(**study.preprocessing)  # type: ignore[arg-type]  # checked below
    except TypeError as error:
        raise UsageError("the study's preprocessing is not one that this version of embhub knows") from error
    check_types(preprocessing)
    return preprocessing


def mechanism_of(study: Study) -> Mechanism:
    """The mechanism of all sites together, with the noise that counts against those who are no site."""
    return Mechanism(
        sample_rate=study.batch / study.n_public,
        max_grad_norm=study.clip,
        noise_multiplier=study.noise.against_outsiders.sigma,
        denominator=study.batch,
    )


def share_of(study: Study) -> Grid:
    """The grid with one site's share of the noise."""
    return Grid(study.clip, study.clip_units, study.share_variance)


def whole_of(study: Study) -> Grid:
    """The grid with the noise of all sites that must be there, for a self-test."""
    return Grid(study.clip, study.clip_units, study.quorum * study.share_variance)
