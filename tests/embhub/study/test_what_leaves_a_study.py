"""What leaves the sites of a whole study: no vector of one of them, and to colluders no more than the claim counts."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embhub.privacy.studies import StudyNoise
from embhub.study import tasks, wire
from embhub.study.plan import Study
from tests.support.study_runs import ATTEMPTS, NAMES, MadeUp, World, study_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def forms(vector: np.ndarray[Any, Any]) -> list[bytes]:
    """A vector as it might stand in a message or a log: numbers of 32 and 64 bits, floats, base64, text."""
    small = vector.astype(np.int64) & 0xFFFFFFFF
    signed = small.astype(np.uint32).view(np.int32)
    arrays = [small.astype("<u4"), small.astype("<i8"), signed.astype("<f4"), signed.astype("<f8")]
    arrays += [signed.astype(">i4"), (signed / 2**16 * 1e-3).astype("<f8"), (signed / 2**16 * 1e-3).astype("<f4")]
    raw = [array.tobytes() for array in arrays]
    return [
        *(part[at : at + 8] for part in raw for at in range(0, len(part) - 8, 8) if part[at : at + 8].strip(b"\0")),
        *(base64.b64encode(part)[:10] for part in raw),
        *(
            mark.join(map(str, part[at : at + 3])).encode()
            for part in (signed.tolist(), small.tolist())
            for at in range(len(part) - 2)
            for mark in (", ", ",", " ")
        ),
    ]


def unwrapped(data: bytes) -> list[bytes]:
    """A message, and all in it that is base64."""
    found = [data]
    for part in data.replace(b'"', b" ").replace(b",", b" ").split():
        try:
            found.append(base64.b64decode(part, validate=True))
        except ValueError:
            continue
    return found


def test_what_leaves_a_site_and_what_is_logged_holds_no_vector_of_a_single_site(
    world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """With noise or without it, and with its masks off; also where a step is lost and a training fails."""

    def trouble(task: str, site: str, data: bytes) -> bytes | None:
        asked, _ = tasks.unpack(tasks.Answered, data)
        return None if (task, asked.number) == ("show", 2) and site in NAMES[:3] else data

    world.from_site = trouble
    with caplog.at_level(logging.DEBUG):
        world.run()
    printed = capfd.readouterr()
    told = [caplog.text.encode(), printed.out.encode(), printed.err.encode()]
    told += [part for _, _, data in world.left for part in unwrapped(data)]
    told += [path.read_bytes() for path in (world.path / "coordinator").rglob("*") if path.is_file()]
    everything = b"\n".join(told)
    looked = 0
    for site in NAMES:
        learner = world.learner(site)
        assert len(learner.sent) == ATTEMPTS
        for vector in (*learner.sent, *learner.own):
            for form in forms(vector):
                looked += 1
                assert form not in everything
    assert looked > 1000


def test_the_search_finds_what_is_there() -> None:
    vector = np.arange(70_000, 70_008, dtype=np.uint32)
    told = wire.vector_bytes(vector) + repr(vector.tolist()).encode() + vector.astype("<f8").tobytes()
    assert sum(form in told for form in forms(vector)) >= 4 + 6 + 7


def test_colluders_who_take_off_all_they_know_are_left_with_the_noise_that_is_counted(tmp_path: Path) -> None:
    """A canary patient at one site, present by a coin in each of many steps; two sites and the coordinator guess."""
    attempts = 300
    study: Study = study_of(5, dropouts=1, colluders=2, attempts=attempts)
    world = World(tmp_path, study)
    coins = np.random.default_rng().random(attempts) < 0.5

    class Canary(MadeUp):
        """One patient, whose vector has the whole clip in its first number."""

        def contribute(self) -> Any:
            here = self is world.learner(NAMES[4])
            own = np.zeros(self.width, dtype=np.int64)
            own[0] = study.clip_units * int(here and coins[len(self.sent)])
            self.own.append(own)
            self.sent.append(self.grid.protect(own))
            return self.sent[-1]

    world.trainings = {site: lambda _: Canary(study) for site in study.sites}
    left_out = NAMES[2]  # the coordinator drops one honest site, as far as it may
    world.from_site = lambda task, site, data: None if (task, site) == ("begin", left_out) else data
    sums = world.run()
    assert len(sums) == attempts
    known = [world.learner(site).sent for site in NAMES[:2]]
    seen = [
        (total - known[0][step] - known[1][step]).view(np.int32)[0] / study.clip_units
        for step, total in enumerate(sums)
    ]
    noise = StudyNoise(5, 1, 2, study.clip_units, study.share_variance, study.width, 1.0, 1)
    left = np.array(seen) - coins
    assert left.std() == pytest.approx(noise.against_sites.sigma, rel=0.2)
    right = int(((np.array(seen) > 0.5) == coins).sum())
    one = noise.epsilon(noise.against_sites, delta=1e-5)
    # An (epsilon, delta)-private coin is guessed with at most this chance; five standard deviations are generous.
    chance = (np.exp(one) + 1e-5) / (1 + np.exp(one))
    assert right <= attempts * chance + 5 * np.sqrt(attempts) / 2
    assert right >= attempts / 2 - 5 * np.sqrt(attempts) / 2
