"""A site's training in a study: its patients' sums, watched before they are masked, and its judgement of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embhub import builtin_bases
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.dp import settings
from embhub.diffusion.dp.base_trial import BaseTrial
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.patients import Patients, group
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.dp.shared import SharedDescent
from embhub.diffusion.dp.subspace import Frame
from embhub.diffusion.dp.watch import try_eight_images
from embhub.diffusion.families import device_of, resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.studies import assembling, terms
from embhub.diffusion.studies.frames import frame_from_bytes
from embhub.diffusion.studies.watching import SharedWatch
from embhub.diffusion.training.eval_loss import losses_with
from embhub.diffusion.training.latents import encode
from embhub.diffusion.training.rows import starting_rows
from embhub.errors import ArtifactError, UsageError
from embhub.images.images import ImageSet
from embhub.study import claims
from embhub.study.grid import Residues
from embhub.study.plan import Study, StudyError
from embhub.study.wire import StudyStepError


class SiteLearner:
    """What a site learns in a study, and what it judges by. See `embhub.study.answering.Learner`.

    Args:
        study: as it was approved.
        pipe, base: the base, and its fingerprint.
        latents: of this site's members (N, C, h, w); `names` say whose each is.
        kept_back: latents of patients kept back, or none.
        frame: start rows and directions.

    Raises:
        BrokenMechanismError: a watch or a self-test failed.
        UsageError: the base's loss on a made-up image is no number, or settings that do not fit.
    """

    def __init__(
        self,
        study: Study,
        pipe: Pipeline,
        base: Mapping[str, Any],
        latents: Tensor,
        names: Sequence[str],
        kept_back: Tensor | None,
        frame: Frame,
    ) -> None:
        self._study, self._pipe, self._base, self._frame = study, pipe, base, frame
        self._kept_back, recipe = kept_back, terms.recipe_of(study)
        mechanism = terms.mechanism_of(study)
        self._loss = loss = PatientLoss(
            pipe, Patients(latents.to(device_of(pipe)), group(names, study.max_images_per_patient)), frame,
            token=study.token, caption=study.caption, recipe=recipe, noise_draws=study.noise_draws,
        )  # fmt: skip
        with loss.active():
            trial = BaseTrial(loss, terms.preprocessing_of(study).resolution or resolution(pipe))
            trial.check()
            try_eight_images(loss, mechanism, trial.latent, kind="dp-sgd", votes=None)
        assembling.try_code(study)
        self.watch = SharedWatch(mechanism, names, terms.share_of(study), steps=study.attempts)
        loss.patients = self.watch.patients(loss.patients)
        self.watch.try_grid(study.width)
        self._descent = SharedDescent(loss, self.watch.mechanism, recipe, self.watch.grid)

    def contribute(self) -> Residues:
        """This site's sum (width,) with its share of noise, for a mask and no other use.

        Raises:
            BrokenMechanismError: the code did not do what the claim would say. The sum is not for sending then.
        """
        with self._loss.active():
            found = self._descent.contribute()
        self.watch.refuse()
        return found

    def follow(self, total: Residues) -> None:
        """Take the step that a public sum (width,) leads to.

        Raises:
            DivergedError: the rows are no numbers any more.
        """
        self._descent.follow(total)

    def digest(self) -> str:
        """SHA-256 (hex) of rows and momentum."""
        return self._descent.digest()

    def judge(self, file: bytes) -> bool:
        """Whether patients kept back have a lower loss with the file than with the rows that all started from.

        Where nobody is kept back there is nothing to judge by, and it is true. The losses stay in this object.

        Raises:
            StudyStepError: the file is not, byte for byte, what this site learned, with the study's claim.
        """
        try:
            claim = artifact.parse(file).privacy
            claims.check_claim(claim, self._study)
            coordinates = self._descent.coordinates
            own = assembling.assemble(self._study, self._pipe, self._base, self._frame, coordinates, claim)
        except StudyError as error:
            raise StudyStepError(error.message) from error
        except ArtifactError as error:
            raise StudyStepError("what came is no embedding, or makes none") from error
        if file != own:
            raise StudyStepError("the file is not what this site learned with the others")
        if self._kept_back is None or not len(self._kept_back):
            return True
        return self._held_out(assembling.rows_of(self._frame, coordinates)) < self._held_out(self._frame.start)

    def _held_out(self, rows: Mapping[str, Tensor]) -> float:
        study, device = self._study, device_of(self._pipe)
        placed = {name: part.to(device) for name, part in rows.items()}
        asked = {"token": study.token, "caption": study.caption, "rows": placed}
        return float(losses_with(self._pipe, self._kept_back, **asked).mean())  # type: ignore[arg-type]


def site_training(
    study: Study,
    members: ImageSet,
    held_out: ImageSet,
    *,
    base: str | Path | None = None,
    device: str = "auto",
) -> Callable[[bytes], SiteLearner]:
    """What `embhub.study.answering.StudySite` calls with the frame: it loads the base, encodes and tests.

    `members` and `held_out` are a split by patients (`embhub.diffusion.dp.settings.split`); `base` is where the base
    lies here, as `find_site_base` takes it. What is called raises

        UsageError: another base than the study's, images that do not fit, or no members.
        PrivacyError: images without patients, or a test that failed.
        ArtifactError: a frame that does not fit.
    """

    def prepare(frame: bytes) -> SiteLearner:
        settings.check_unit(Protection(study.epsilon), members)
        if not len(members):
            raise UsageError("no image to learn from", "keep fewer patients back")
        found, identity = find_site_base(study, base)
        pipe = load_pipeline(found, device=device)
        asked = terms.preprocessing_of(study)
        back = encode(pipe, held_out, preprocessing=asked).latents if len(held_out) else None
        return SiteLearner(
            study, pipe, identity, encode(pipe, members, preprocessing=asked).latents, members.names(), back,
            read_frame(study, pipe, frame),
        )  # fmt: skip

    return prepare


def find_site_base(study: Study, base: str | Path | None) -> tuple[FoundBase, dict[str, Any]]:
    """The study's base at a site, and its fingerprint: where this site says it lies, or the built-in one of that name.

    The coordinator chose the name, so that it opens no folder here and fetches nothing.

    Raises:
        UsageError: a name that does not come with embhub, where this site does not say; or another base.
        ConfigError: as `find_base`.
    """
    if not base and study.base_name not in builtin_bases.NAMES:
        raise UsageError(f"the study's base {study.base_name!r} does not come with embhub", "name your own with --base")
    found = find_base(base or study.base_name)
    identity = fingerprint.take(found.folder)
    if fingerprint.digest(identity) != study.base:
        raise UsageError(f"the base {study.base_name} here is not the study's", "install the base that it names")
    return found, identity


def read_frame(study: Study, pipe: Pipeline, data: bytes) -> Frame:
    """The study's frame, checked against the base at hand.

    Raises:
        ArtifactError: as `frame_from_bytes`.
    """
    recipe = terms.recipe_of(study)
    words = recipe.initializer_text or study.caption.replace("{}", " ")
    start = starting_rows(pipe, words, recipe.num_vectors, generator=torch.Generator())
    return frame_from_bytes(data, digest=study.frame, start=start, width=study.width, device=device_of(pipe))
