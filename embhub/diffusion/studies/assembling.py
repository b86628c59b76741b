"""The release file of a study: from public sums to rows, and to the bytes that every site compares with its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from embhub.artifact import embedding as artifact
from embhub.diffusion.bases import live_weights
from embhub.diffusion.dp import selftest, settings
from embhub.diffusion.dp.shared import SharedDescent
from embhub.diffusion.dp.subspace import Frame
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.studies import terms
from embhub.diffusion.train import name_tensors
from embhub.diffusion.training.recipes import ResolvedRecipe, describe
from embhub.privacy.claim import Claim
from embhub.privacy.self_test import SelfTest
from embhub.study.grid import Residues
from embhub.study.plan import Study


class Nobody:
    """Contributions of no patient: what a coordinator has, who follows sums and makes none."""

    patients: Sequence[int] = ()
    at_once = 1

    def __init__(self, size: int, recipe: ResolvedRecipe) -> None:
        self.size, self.recipe = size, recipe

    def gradients(self, chosen: Sequence[int], coordinates: Tensor) -> Tensor:
        """There is nobody to ask."""
        raise NotImplementedError


def coordinates_of(study: Study, sums: Iterable[Residues]) -> Tensor:
    """Coordinates (width,) float64 that public sums lead to, the same as at each site.

    Raises:
        DivergedError: they are no numbers any more.
    """
    recipe = terms.recipe_of(study)
    descent = SharedDescent(Nobody(study.width, recipe), terms.mechanism_of(study), recipe, terms.share_of(study))
    for total in sums:
        descent.follow(total)
    return descent.coordinates


def rows_of(frame: Frame, coordinates: Tensor) -> dict[str, Tensor]:
    """Rows (K, D) for each encoder, rounded from double precision: machines that add in another order agree."""
    exact = Frame(
        {name: rows.double().cpu() for name, rows in frame.start.items()},
        {name: rows.double().cpu() for name, rows in frame.directions.items()},
    )
    return {name: rows.float() for name, rows in exact.rows(coordinates).items()}


def assemble(
    study: Study, pipe: Pipeline, base: Mapping[str, Any], frame: Frame, coordinates: Tensor, claim: Claim
) -> bytes:
    """The file, the same bytes wherever it is made of the same.

    Args:
        base: the base's fingerprint (`embhub.artifact.fingerprint.take`).

    Raises:
        ArtifactError: rows that are no numbers of the file's type.
    """
    recipe, preprocessing = terms.recipe_of(study), terms.preprocessing_of(study)
    asked = settings.Protection(study.epsilon, subspace_dim=dimensions(frame))
    embedding = artifact.build(
        name_tensors(pipe, rows_of(frame, coordinates)),
        token=study.token,
        base=base,
        base_name=study.base_name,
        training=describe(pipe, study.caption, recipe, preprocessing) | settings.describe(asked),
        dtype=recipe.dtype,
        privacy=claim,
        base_weights=live_weights.digest(pipe),
    )
    return embedding.data


def try_code(study: Study) -> SelfTest:
    """The self-test of the code that makes sums, with the noise of the sites that must be there.

    Raises:
        BrokenMechanismError: a test failed.
    """
    return selftest.run(
        terms.mechanism_of(study),
        kind="dp-sgd",
        width=study.width,
        recipe=terms.recipe_of(study),
        steps=study.attempts,
        epsilon=study.epsilon,
        delta=study.delta,
        grid=terms.whole_of(study),
    )


def dimensions(frame: Frame) -> int:
    """How many directions each row has at most."""
    return max(len(along) for along in frame.directions.values())
