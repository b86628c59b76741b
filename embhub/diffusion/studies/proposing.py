"""A study from what a coordinator asks for: recipe, noise and frame are chosen here, and stand in the study from then.

Recipe and mechanism are those of a private training on one site, so that a study is that training with its patients at
several sites.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from embhub.artifact.header import check_token
from embhub.diffusion.bases.pipelines import size_rule
from embhub.diffusion.dp import settings
from embhub.diffusion.dp.subspace import lay
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.studies.frames import MAX_BYTES, frame_to_bytes
from embhub.diffusion.training.captions import check_caption
from embhub.errors import UsageError
from embhub.options.fits import Fit
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import PrivacySettings
from embhub.privacy.calibration import calibrate_share
from embhub.privacy.claim import DEFAULT_DELTA
from embhub.privacy.studies import StudyNoise
from embhub.study.grid import CLIP_UNITS
from embhub.study.plan import Study

ROUND_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a coordinator asks for.

    Attributes:
        repository: `namespace/name` of the release.
        base, base_name: digest of the base's fingerprint (hex), and its name.
        caption, token: as in a training; a study has one caption for all images.
        sites: namespaces of those that train.
        n_public: declared number of patients of all sites together, a round number.
        epsilon, delta: for each patient against those who are no site of the study.
        dropouts, colluders: how many sites may be missing in a step, and how many may join with the coordinator.
        steps: how many are begun, lost ones included; by default those of a training on one site.
        fit: how images are fitted into the square.
        round_seconds: how long a site has for its patients in a step: long enough for all of them.
    """

    repository: str
    base: str
    base_name: str
    caption: str
    token: str
    sites: Sequence[str]
    n_public: int
    epsilon: float
    delta: float = DEFAULT_DELTA
    dropouts: int = 0
    colluders: int = 1
    steps: int | None = None
    fit: Fit = "crop"
    round_seconds: int = ROUND_SECONDS


def make_study(asked: StudySettings, pipe: Pipeline) -> tuple[Study, bytes]:
    """The study, and the bytes of the frame that it names.

    Raises:
        UsageError: settings out of their range, a caption without its place for the token, or rows and directions that
            are too many to send.
        PrivacyError: no noise gets to this epsilon, or a caption that looks like a person's.
        BadTokenError: a token that loaders do not take.
        ValueError: numbers that no study has, see `embhub.study.plan.Study` and `embhub.privacy.studies`.
    """
    check_token(asked.token)
    asked = replace(asked, caption=check_caption(asked.caption, asked.token))
    protection = settings.resolve(PrivacySettings(asked.epsilon, n_public=asked.n_public, delta=asked.delta))
    recipe = settings.default_recipe(pipe, protection, asked.n_public)
    if asked.steps is not None:
        recipe = replace(recipe, steps=asked.steps, warm_up=min(recipe.warm_up, asked.steps))
    words = recipe.initializer_text or asked.caption.replace("{}", " ")
    frame = lay(pipe, words, recipe.num_vectors, protection.subspace_dim or None)
    data = frame_to_bytes(frame)
    if len(data) > MAX_BYTES:
        raise UsageError("rows and directions of this base are too many to send", "choose a smaller base")
    rate, sites = recipe.batch_size / asked.n_public, len(asked.sites)
    variance = calibrate_share(
        epsilon=asked.epsilon, delta=asked.delta, q=rate, steps=recipe.steps, sites=sites, dropouts=asked.dropouts,
        clip_units=CLIP_UNITS,
    )  # fmt: skip
    noise = StudyNoise(
        sites=sites, dropouts=asked.dropouts, colluders=asked.colluders, clip_units=CLIP_UNITS,
        share_variance=variance, width=frame.size, q=rate, steps=recipe.steps,
    )  # fmt: skip
    preprocessing = Preprocessing(fit=asked.fit, resolution=size_rule(pipe).choose(None))
    study = Study(
        repository=asked.repository, base=asked.base, base_name=asked.base_name, caption=asked.caption,
        token=asked.token, frame=hashlib.sha256(data).hexdigest(), sites=tuple(sorted(asked.sites)),
        dropouts=asked.dropouts, colluders=asked.colluders, n_public=asked.n_public, batch=recipe.batch_size,
        attempts=recipe.steps, max_images_per_patient=protection.max_images_per_patient,
        noise_draws=protection.noise_draws, clip=protection.max_grad_norm, clip_units=CLIP_UNITS,
        share_variance=variance, width=frame.size, delta=asked.delta,
        epsilon=noise.epsilon(noise.against_outsiders, delta=asked.delta),
        epsilon_against_sites=noise.epsilon(noise.against_sites, delta=asked.delta), recipe=asdict(recipe),
        preprocessing=asdict(preprocessing), round_seconds=asked.round_seconds,
    )  # fmt: skip
    return study, data
