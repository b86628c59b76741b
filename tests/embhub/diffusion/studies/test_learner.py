"""A study of a tiny base: one file for all sites, and code that is broken is noticed before anything leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embhub.artifact import embedding, fingerprint
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.studies import assembling, learner
from embhub.diffusion.studies.learner import SiteLearner
from embhub.diffusion.studies.proposing import StudySettings, make_study
from embhub.errors import ArtifactError, PrivacyError, UsageError
from embhub.images.images import ImageSet, read_images
from embhub.phantoms import write_dataset
from embhub.privacy.claim import PrivacyClaim
from embhub.study import claims, discrete_gaussian, tasks
from embhub.study.answering import CANNOT
from embhub.study.grid import Grid
from embhub.study.plan import Study, read_study
from embhub.study.wire import StudyStepError
from tests.support import pipelines
from tests.support.study_runs import NAMES, World

STEPS = 4


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageSet]:
    folder = tmp_path_factory.mktemp("images")
    return {
        site: read_images(write_dataset(folder / site, "prostate-cspca", images=8, patients=5, seed=number))
        for number, site in enumerate(NAMES[:3])
    }


@pytest.fixture(scope="module")
def proposed(base: Path) -> tuple[Study, bytes]:
    pipe = load_pipeline(find_base(base), device="cpu")
    asked = StudySettings(
        repository="site-01/finding", base=fingerprint.digest(fingerprint.take(base)), base_name="tiny",
        caption="prostate mri, {}", token="<a>", sites=NAMES[:3], n_public=40, epsilon=8.0, dropouts=0, colluders=0,
        steps=STEPS, round_seconds=5,
    )  # fmt: skip
    return make_study(asked, pipe)


def claim_of(study: Study) -> PrivacyClaim:
    return claims.claim_of(study, self_test=assembling.try_code(study))


def trainings(study: Study, images: dict[str, ImageSet], base: Path) -> dict[str, Callable[[bytes], SiteLearner]]:
    found = {}
    for site, own in images.items():
        members, back = own.subset(range(5)), own.subset(range(5, len(own)))
        found[site] = learner.site_training(study, members, back, base=base, device="cpu")
    return found


@pytest.fixture
def world(tmp_path: Path, proposed: tuple[Study, bytes], images: dict[str, ImageSet], base: Path) -> World:
    study, frame = proposed
    return World(tmp_path, study, frame, trainings(study, images, base))


def assemble(world: World, base: Path, claim: PrivacyClaim) -> bytes:
    pipe = load_pipeline(find_base(base), device="cpu")
    frame = learner.read_frame(world.study, pipe, world.frame)
    with world.coordinator() as run:
        coordinates = assembling.coordinates_of(world.study, run.run())
    return assembling.assemble(world.study, pipe, fingerprint.take(base), frame, coordinates, claim)


def test_sites_consent_to_the_one_file_that_they_learned_and_to_no_other(
    world: World, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    claim = claim_of(world.study)
    file = assemble(world, base, claim)
    found = embedding.parse(file)
    assert (found.token, found.privacy) == ("<a>", claim) and found.training["steps"] == STEPS
    learners = [world.learner(site) for site in world.study.sites]
    monkeypatch.setattr(SiteLearner, "_held_out", lambda self, rows: 0.5)
    with world.coordinator() as run:
        run._prepare(world.study.sites, 1.0)
        run._feed(world.study.sites, whole=True)
    assert not learners[0].judge(file)  # no better than the rows that all started from
    better = iter([0.1, 0.2] * 3)
    monkeypatch.setattr(SiteLearner, "_held_out", lambda self, rows: next(better))
    unlike = claims.claim_of(world.study.model_copy(update={"token": "<b>"}), self_test=claim.self_test)
    of_another = assemble(world, base, unlike)
    other = assembling.assemble(
        world.study, learners[0]._pipe, learners[0]._base, learners[0]._frame,
        torch.zeros(world.study.width, dtype=torch.float64), claim,
    )  # fmt: skip
    for bad, word in (
        (of_another, "claim and study differ"),
        (other, "not what this site learned"),
        (file[:-1], "no embedding"),
        (b"", "no embedding"),
    ):
        with pytest.raises(StudyStepError, match=word):
            learners[0].judge(bad)
    with world.coordinator() as run:
        assert len(run.gather_consents(file)) == 3


def test_the_held_out_loss_decides_and_stays_here(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.run()
    found = world.learner(NAMES[0])
    start, final = (
        found._held_out(found._frame.start),
        found._held_out(assembling.rows_of(found._frame, torch.full((world.study.width,), 0.5, dtype=torch.float64))),
    )
    assert 0 < start != final > 0
    told = b"".join(data for _, _, data in world.left) + caplog.text.encode()
    assert f"{start:.4f}"[:6].encode() not in told


def always_all(self: Mechanism, units: int) -> Any:
    return np.arange(units)


def not_rounded(self: Grid, vectors: Any) -> Any:
    return vectors * (self.clip_units / self.clip)


def rounded_away(self: Grid, vectors: Any) -> Any:
    scaled = vectors * (self.clip_units / self.clip)
    return (np.sign(scaled) * np.ceil(np.abs(scaled))).astype(np.int64)


def not_cut(self: Mechanism, vectors: Any) -> Any:
    return np.asarray(vectors, dtype=np.float64)


def seeded(count: int, variance: int) -> Any:
    return np.random.default_rng(1).normal(0, variance**0.5, count).astype(np.int64)


_DRAW: Any = discrete_gaussian.draw
_PROTECT: Any = Grid.protect
BROKEN: dict[str, tuple[Any, str, Any]] = {
    "a sampler that always samples": (Mechanism, "sample", always_all),
    "a grid that does not round": (Grid, "round", not_rounded),
    "a grid that rounds up": (Grid, "round", rounded_away),
    "vectors that are not cut": (Mechanism, "bound", not_cut),
    "no noise": (discrete_gaussian, "draw", lambda count, variance: np.zeros(count, dtype=np.int64)),
    "half the noise": (discrete_gaussian, "draw", lambda count, variance: _DRAW(count, variance // 4)),
    "noise from a seed": (discrete_gaussian, "draw", seeded),
    "a sum counted twice": (Grid, "protect", lambda self, total: _PROTECT(self, total * 2)),
}


def refused(world: World, task: str, answer: bytes, number: int = 0) -> str:
    with pytest.raises(StudyStepError) as caught:
        tasks.read_answer(answer, study=world.study.digest, task=task, number=number)
    return str(caught.value)


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_code_is_noticed_before_anything_leaves(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(*BROKEN[fault])
    answer = world.sites[NAMES[0]].answer("prepare", tasks.ask_of(world.study.digest, "prepare", world.frame))
    assert refused(world, "prepare", answer) == CANNOT
    assert "no privacy claim can be made" in (world.path / NAMES[0] / "trouble").read_text()


@pytest.mark.parametrize("fault", [name for name in BROKEN if "sampler" not in name and "twice" not in name])
def test_code_that_breaks_later_is_noticed_before_its_sum_leaves(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The sampler is tried before: who came is the watch's to count, not to doubt."""
    found = world.trainings[NAMES[0]](world.frame)
    monkeypatch.setattr(Mechanism, "sample", always_all)
    monkeypatch.setattr(*BROKEN[fault])
    with pytest.raises(PrivacyError, match="did not do what it would claim"):
        # From a seed it shows in the second sum. Of 32 numbers, half the noise is missed in two sums in 3 % of cases.
        for _ in range(STEPS if fault == "half the noise" else 2):
            found.contribute()


def test_right_code_is_not_accused(world: World) -> None:
    found = world.trainings[NAMES[0]](world.frame)
    first, second = found.contribute(), found.contribute()
    assert first.shape == (world.study.width,) and (first != second).any()


def test_a_site_with_one_patient_takes_part(world: World, images: dict[str, ImageSet], base: Path) -> None:
    alone = images[NAMES[1]].subset([0])
    world.trainings[NAMES[1]] = learner.site_training(world.study, alone, alone.subset([]), base=base, device="cpu")
    assert len(world.run()) == STEPS


def test_another_base_or_no_patient_is_refused(
    world: World, images: dict[str, ImageSet], tmp_path: Path, base: Path
) -> None:
    own = images[NAMES[0]]
    with pytest.raises(UsageError, match="no image"):
        learner.site_training(world.study, own.subset([]), own, base=base)(world.frame)
    other = world.study.model_copy(update={"base": "0" * 64})
    with pytest.raises(UsageError, match="not the study's"):
        learner.site_training(other, own, own, base=base)(world.frame)


def test_a_study_is_read_as_it_was_written_and_keeps_the_epsilon_asked_for(proposed: tuple[Study, bytes]) -> None:
    study, _ = proposed
    assert read_study(study.to_bytes()) == study
    assert 0.95 * 8.0 < study.epsilon <= 8.0 < study.epsilon_against_sites


FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "another": lambda data: data[:-4] + b"\0\0\0\0",
    "cut": lambda data: data[:-4],
    "nothing": lambda data: b"",
}


@pytest.mark.parametrize("case", FRAMES)
def test_a_frame_that_is_not_the_studys_is_refused(proposed: tuple[Study, bytes], base: Path, case: str) -> None:
    study, data = proposed
    pipe = load_pipeline(find_base(base), device="cpu")
    with pytest.raises(ArtifactError, match="not the study's"):
        learner.read_frame(study, pipe, FRAMES[case](data))


def test_no_log_says_a_thing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="embhub"):
        world.run()
    assert not [record for record in caplog.records if record.name.startswith("embhub")]
