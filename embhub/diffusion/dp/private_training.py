"""A private training from end to end: budget set aside, rows learned, the privatising code tried, a claim made.

No figure of the images is looked at on the way: no loss is shown or kept, nothing is watched on patients kept back,
nothing stops early. Rows start from the caption's words, which are public.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embhub.diffusion.dp import aggregation, second_opinion, selftest, settings
from embhub.diffusion.dp.base_trial import BaseTrial
from embhub.diffusion.dp.candidates import first_candidates
from embhub.diffusion.dp.checkpoints import PrivateCheckpoint, PrivateCheckpointStore
from embhub.diffusion.dp.dpsgd import PrivateDescent
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.dp.patients import Patients, group
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.dp.subspace import EVERY, lay
from embhub.diffusion.dp.votes import Evolution, PatientVoters
from embhub.diffusion.dp.watch import Watch, follow, try_eight_images
from embhub.diffusion.families import resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.checkpoints import TrainingInterruptedError
from embhub.diffusion.training.inversion import DivergedError
from embhub.diffusion.training.latents import Encoded, encode
from embhub.diffusion.training.prompts import prompts_of
from embhub.diffusion.training.recipes import ResolvedRecipe, settings_by_name
from embhub.diffusion.training.remarks import Remarks
from embhub.diffusion.training.result import Task, TrainingResult
from embhub.images.images import ImageSet
from embhub.ledger import budget, forecast
from embhub.ledger.budget import Reservation
from embhub.ledger.publications import Confirm
from embhub.privacy.claim import Build, PrivacyClaim, build_claim
from embhub.privacy.loss_distribution import Mechanism as Parameters
from embhub.privacy.second_opinion import ClaimBelowBoundError
from embhub.privacy.self_test import SelfTest
from embhub.progress import OnProgress, Progress
from embhub.site import builds
from embhub.version import __version__

_ANNOUNCEMENTS = 20
"""Steps are announced to the ledger in at most so many parts: a crash costs what was announced and not taken."""


class PrivateTraining:
    """A private training that writes `out`, from the start or from what an interrupted one left.

    Raises:
        ConfigError: what an interrupted training left is damaged.
    """

    def __init__(
        self, out: Path | None, protection: Protection, *, resume: bool, confirm: Confirm | None = None
    ) -> None:
        self.checkpoint, self.protection = PrivateCheckpointStore(out, resume=resume), protection
        self._n_public, self._confirm = 0, confirm
        self.watch: Watch | None = None
        self.build = Build(**builds.installed()._asdict())  # now: in hours another may be installed

    @property
    def settings(self) -> dict[str, Any]:
        """What the private record keeps of it: no seed, for there is none."""
        chosen = asdict(self.protection)
        if self.protection.mechanism != "votes":  # as an option it is refused elsewhere
            del chosen["num_candidates"]
        return {"protection": chosen}

    def split(self, images: ImageSet, holdout: float) -> tuple[ImageSet, ImageSet]:
        """Members and images kept back, where enough of the right kind are there for what is to be promised.

        Raises:
            UsageError, PrivacyError: as `settings.check_unit` and `settings.check_number`.
        """
        settings.check_unit(self.protection, images)
        members, held_out = settings.split(images, holdout)
        settings.check_unit(self.protection, members)  # all whose patient is unknown may be kept back
        self._n_public = settings.check_number(self.protection, len(set(members.names())))
        return members, held_out

    def default_recipe(self, pipe: Pipeline) -> ResolvedRecipe:
        """What suits a base, and the number of patients."""
        return settings.default_recipe(pipe, self.protection, self._n_public)

    def learn(
        self,
        task: Task,
        members: ImageSet,
        held_out: ImageSet,  # noqa: ARG002 (nothing is looked at)
        remarks: Remarks,
        preview: object,  # noqa: ARG002 (refused before)
        on_progress: OnProgress | None,
    ) -> TrainingResult:
        """Learn rows privately and claim what the ledger and the self-test allow.

        Raises:
            PrivacyError: a cap of the ledger, an epsilon that cannot be reached, a self-test or watch that failed, or a
                total that says next to nothing, which somebody who was asked did not accept.
            ClaimBelowBoundError: a second accountant finds that more is spent than would be claimed.
            UsageError: settings that do not fit, an interrupted training of something else, rows that are no
                numbers, or a base whose latents of a made-up image, or its loss, are none.
            TrainingInterruptedError: a KeyboardInterrupt that resuming can go on from.
            ConfigError: the ledger or the checkpoint cannot be written.
        """
        mechanism, steps = settings.calibrate(self.protection, task.recipe, self._n_public)
        plan = Parameters(mechanism.sample_rate, mechanism.noise_multiplier, steps)
        second_opinion.check_plan(plan, delta=self.protection.delta)
        names = members.names()
        voting = self.protection.mechanism == "votes"
        images = encode(task.pipe, members, on_progress, task.preprocessing, alone=voting)
        task = replace(task, prompts=prompts_of(members, task.caption, task.token))
        loss, definition = prepare_rows(task, self.protection, images.latents, names), self._define(task, images)
        self.checkpoint.check(definition)
        kind, votes = self.protection.mechanism, partial(_prepare_votes, task, self.protection, loss)
        with loss.active():
            trial = BaseTrial(loss, task.preprocessing.resolution or resolution(task.pipe), by_loss=voting)
            trial.check(own_steps=task.recipe.steps if kind == "dp-agg" else 0)
            try_eight_images(loss, mechanism, trial.latent, kind=kind, votes=votes(mechanism) if voting else None)
        asked, saved = self.protection, self.checkpoint.saved
        forecast.tell_total(
            plan, unit=asked.unit, mechanism=asked.mechanism, delta=asked.delta, run=saved.run if saved else "",
            say=remarks.say, warn=remarks.warn, confirm=self._confirm,
        )  # fmt: skip
        self.watch = watch = Watch(mechanism, names)
        loss.patients = watch.patients(loss.patients)
        watch.votes = evolution = votes(watch.mechanism) if voting else None
        remarks.say(settings.forecast(self.protection, mechanism, steps, loss.size))
        watch.refuse()
        with self._reserve(members, mechanism, steps, remarks) as reservation:
            before = reservation.steps
            try:
                with loss.active():
                    if evolution is not None:
                        coordinates = _vote(evolution, steps, reservation.spend, on_progress)
                    elif kind == "dp-sgd":
                        coordinates = self._descend(loss, watch.mechanism, steps, reservation, definition, on_progress)
                    else:
                        coordinates = _aggregate(loss, watch.mechanism, reservation, on_progress)
                    expected = follow(
                        watch, loss, self.checkpoint.saved, votes(mechanism) if voting else None, kind=kind
                    )
                    watch.check(reservation.steps - before, coordinates, expected)
                    remarks.warn(*filter(None, [trial.remark(coordinates)]))
                tested = selftest.run(
                    mechanism,
                    kind=kind,
                    width=self.protection.num_candidates if voting else loss.size,
                    recipe=task.recipe,
                    steps=reservation.steps,
                    epsilon=self.protection.epsilon,
                    delta=self.protection.delta,
                )
            except (DivergedError, selftest.BrokenMechanismError):
                self.checkpoint.remove()  # nothing may be built on what broken code has made
                raise
        claim = self._claim(mechanism, reservation, tested)
        try:
            opinion = second_opinion.check_claim(claim)
        except ClaimBelowBoundError:
            self.checkpoint.remove()
            raise
        return TrainingResult(
            rows=_rows(task, loss, coordinates),
            reservation=reservation,
            claim=claim,
            facts=settings.describe(self.protection),
            second_opinion=opinion,
        )

    def _define(self, task: Task, images: Encoded) -> dict[str, str]:
        """All that an interrupted training must have in common with this one, under names that a person is shown."""
        return {
            "images": images.digest,
            "base": task.base,
            "token": task.token,
            "caption": task.caption,
            "version of embhub": __version__,
            "build of embhub": self.build.digest or self.build.kind,
            **settings_by_name(task.recipe, self.protection, task.preprocessing),
        }

    def _reserve(self, members: ImageSet, mechanism: Mechanism, steps: int, remarks: Remarks) -> Reservation:
        """Budget for all steps, or for those that an interrupted training has not announced yet."""
        names = members.names()
        if (saved := self.checkpoint.saved) is not None:
            # The ledger knows best how many were announced; it wants one at least, also where none is left to take.
            return budget.resume(saved.run, names, steps=max(1, steps - saved.announced))
        return budget.reserve(
            names,
            unit=self.protection.unit,
            mechanism=self.protection.mechanism,
            steps=steps,
            q=mechanism.sample_rate,
            sigma=mechanism.noise_multiplier,
            delta=self.protection.delta,
            pictures=members.pictures(),
            on_note=remarks.warn,
        )

    def _descend(
        self,
        loss: PatientLoss,
        mechanism: Mechanism,
        steps: int,
        reservation: Reservation,
        definition: Mapping[str, str],
        on_progress: OnProgress | None,
    ) -> Tensor:
        """DP-SGD until `steps` steps are announced and taken. Steps that a crash lost count among them."""
        descent, ahead = PrivateDescent(loss, mechanism, loss.recipe), 0
        if (saved := self.checkpoint.saved) is not None:
            descent.restore(saved.state, saved.taken)
        try:
            while ahead or reservation.steps < steps:
                if not ahead:
                    ahead = min(-(-steps // _ANNOUNCEMENTS), steps - reservation.steps)
                    reservation.spend(ahead)  # on disk before any of them is taken
                descent.step()
                ahead -= 1
                self.checkpoint.keep(
                    PrivateCheckpoint(definition, reservation.run, reservation.steps, descent.taken, descent.state())
                )
                _report(on_progress, reservation.steps - ahead, steps)
        except KeyboardInterrupt as error:
            if self.checkpoint.path is None or not descent.taken:
                raise
            raise TrainingInterruptedError(descent.taken, self.checkpoint.path) from error
        return descent.coordinates

    def _claim(self, mechanism: Mechanism, reservation: Reservation, tested: SelfTest) -> PrivacyClaim:
        return build_claim(
            mechanism=self.protection.mechanism,
            unit=self.protection.unit,
            max_images_per_unit=self.protection.max_images_per_patient,
            n_public=self._n_public,
            batch=mechanism.denominator,
            sigma=mechanism.noise_multiplier,
            clip=mechanism.max_grad_norm,
            steps=reservation.steps,
            self_test=tested,
            build=self.build,
            delta=self.protection.delta,
            **reservation.lineage(delta=self.protection.delta),
        )


def prepare_rows(task: Task, protection: Protection, latents: Tensor, names: Sequence[str]) -> PatientLoss:
    """The loss of each patient: `names` say whose each of the latents (N, C, h, w) is."""
    words = task.recipe.initializer_text or task.caption.replace("{}", " ")
    # Votes put no noise on coordinates, so that candidates may lie anywhere; the main directions come first.
    dimensions = EVERY if protection.mechanism == "votes" else protection.subspace_dim or None
    return PatientLoss(
        task.pipe,
        Patients(latents.to(task.pipe.device), group(names, protection.max_images_per_patient)),
        lay(task.pipe, words, task.recipe.num_vectors, dimensions),
        token=task.token,
        caption=task.caption,
        recipe=task.recipe,
        noise_draws=protection.noise_draws,
        prompts=task.prompts,
    )


def fit(
    task: Task,
    protection: Protection,
    latents: Tensor,
    names: Sequence[str],
    mechanism: Mechanism,
    on_progress: OnProgress | None = None,
) -> dict[str, Tensor]:
    """The rows alone, for experiments and shadows on this site: no budget is touched, and nothing may be claimed.

    `mechanism` is what `settings.calibrate` gives, or any other.
    """
    loss = prepare_rows(task, protection, latents, names)
    with loss.active():
        return learn_rows(task, protection, loss, mechanism, on_progress)


def learn_rows(
    task: Task,
    protection: Protection,
    loss: PatientLoss,
    mechanism: Mechanism,
    on_progress: OnProgress | None = None,
) -> dict[str, Tensor]:
    """As `fit`, for a loss that is prepared and active."""
    if protection.mechanism == "dp-sgd":
        descent = PrivateDescent(loss, mechanism, task.recipe)
        for number in range(task.recipe.steps):
            descent.step()
            _report(on_progress, number + 1, task.recipe.steps)
        return _rows(task, loss, descent.coordinates)
    if protection.mechanism == "votes":
        evolution = _prepare_votes(task, protection, loss, mechanism)
        return _rows(task, loss, _vote(evolution, task.recipe.steps, None, on_progress))
    total = aggregation.collect(loss, mechanism, steps=task.recipe.steps, on_step=_counter(on_progress))
    return _rows(task, loss, torch.from_numpy(mechanism.release(total)))


def _aggregate(
    loss: PatientLoss, mechanism: Mechanism, reservation: Reservation, on_progress: OnProgress | None
) -> Tensor:
    """DPAgg-TI. The budget is spent where the noisy sum is made: what is interrupted before has told nobody a thing."""
    total = aggregation.collect(loss, mechanism, steps=loss.recipe.steps, on_step=_counter(on_progress))
    reservation.spend(1)
    return torch.from_numpy(mechanism.release(total))


def _prepare_votes(task: Task, protection: Protection, loss: PatientLoss, mechanism: Mechanism) -> Evolution:
    """The votes of the loss's patients, before the first round."""
    first = first_candidates(task.pipe, loss.frame, protection.num_candidates, protection.subspace_dim)
    return Evolution(PatientVoters(loss), mechanism, first)


def _vote(
    evolution: Evolution, rounds: int, spend: Callable[[int], int] | None, on_progress: OnProgress | None
) -> Tensor:
    """All rounds of votes. The budget of a round is spent where its counts are made, before they leave with noise."""
    for number in range(rounds):
        counts = evolution.tally()
        if spend:
            spend(1)
        evolution.advance(counts)
        _report(on_progress, number + 1, rounds)
    return evolution.candidates.centre


def _rows(task: Task, loss: PatientLoss, coordinates: Tensor) -> dict[str, Tensor]:
    rows = loss.frame.rows(coordinates.float().to(task.pipe.device))
    return {name: part.cpu() for name, part in rows.items()}


def _report(on_progress: OnProgress | None, done: int, total: int) -> None:
    if on_progress:
        on_progress(Progress("training", done, total))


def _counter(on_progress: OnProgress | None) -> Any:
    return (lambda done, total: on_progress(Progress("training", done, total))) if on_progress else None
