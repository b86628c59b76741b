"""Whole studies in this process: real sites with made-up trainings, a carrier that a test may make lie or fail."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from embhub.privacy.studies import StudyNoise
from embhub.study import folder
from embhub.study.answering import StudySite
from embhub.study.coordinating import StudyRun
from embhub.study.grid import CLIP_UNITS, Grid, Residues
from embhub.study.plan import Study
from embhub.study.wire import StudyStepError
from tests.support.studies import keys_of

FRAME = b"a frame"
KEYS = keys_of(5)
NAMES = list(KEYS)
WIDTH, ATTEMPTS = 8, 6
Change = Callable[[str, str, bytes], bytes | None]
"""What becomes of a message: task, site, bytes; None where it is lost."""


@lru_cache
def study_of(sites: int = 5, *, dropouts: int = 1, colluders: int = 0, attempts: int = ATTEMPTS, width: int = WIDTH,
             **other: Any) -> Study:  # fmt: skip
    numbers = {"clip_units": CLIP_UNITS, "share_variance": 1 << 32, "width": width}
    noise = StudyNoise(sites=sites, dropouts=dropouts, colluders=colluders, q=0.2, steps=attempts, **numbers)
    facts: dict[str, Any] = {
        "repository": f"{NAMES[0]}/finding", "base": "b" * 64, "base_name": "builtin", "caption": "prostate, {}",
        "token": "<a>", "frame": hashlib.sha256(FRAME).hexdigest(), "sites": tuple(NAMES[:sites]),
        "dropouts": dropouts, "colluders": colluders, "n_public": 80, "batch": 16, "attempts": attempts,
        "max_images_per_patient": 8, "noise_draws": 1, "clip": 1e-3, "delta": 1e-5,
        "epsilon": noise.epsilon(noise.against_outsiders, delta=1e-5),
        "epsilon_against_sites": noise.epsilon(noise.against_sites, delta=1e-5),
        "recipe": {}, "preprocessing": {}, "round_seconds": 1, **numbers, **other,
    }  # fmt: skip
    return Study(**facts)


class MadeUp:
    """A training whose rows are the sum of all sums; `sent` are the vectors before a mask, `own` before noise."""

    def __init__(self, study: Study) -> None:
        self.grid = Grid(study.clip, study.clip_units, study.share_variance)
        self.width, self.rows, self.taken = study.width, np.zeros(study.width, dtype=np.uint32), 0
        self.sent: list[Residues] = []
        self.own: list[Any] = []
        self.good = True

    def contribute(self) -> Residues:
        self.own.append(np.random.default_rng().integers(-CLIP_UNITS // 4, CLIP_UNITS // 4, self.width))
        self.sent.append(self.grid.protect(self.own[-1]))
        return self.sent[-1]

    def follow(self, total: Residues) -> None:
        self.rows, self.taken = self.rows + total, self.taken + 1

    def digest(self) -> str:
        return hashlib.sha256(b"%d" % self.taken + self.rows.tobytes()).hexdigest()

    def judge(self, file: bytes) -> bool:
        if file != self.rows.tobytes():
            raise StudyStepError("the file has other rows")
        return self.good


class Clock:
    """Seconds that pass when somebody sleeps, or a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class World:
    """Sites and a coordinator with folders of their own under `path`.

    `trainings` are what prepares each site's own; made-up ones by default. `to_site` and `from_site` may change or lose
    a message; `left` is all that left a site.
    """

    def __init__(self, path: Path, study: Study | None = None, frame: bytes = FRAME, trainings: Any = None) -> None:
        self.path, self.study, self.frame, self.trainings = path, study or study_of(), frame, trainings
        self.keys = {site: KEYS[site].public for site in self.study.sites}
        self.to_site: Change = lambda _task, _site, data: data
        self.from_site: Change = lambda _task, _site, data: data
        self.left: list[tuple[str, str, bytes]] = []
        self.sites: dict[str, StudySite] = {}
        self.learners: dict[str, list[Any]] = {site: [] for site in self.study.sites}
        self.withdrawn: set[str] = set()
        self.clocks = {site: Clock() for site in self.study.sites}
        self._open: dict[str, ExitStack] = {}
        for site in self.study.sites:
            folder.create(path / site)
            self.start(site)
        folder.create(path / "coordinator")

    def start(self, site: str) -> None:
        """A site's process starts, with what lies in its folder."""
        self._open[site] = ExitStack()
        found = self._open[site].enter_context(folder.opened(self.path / site, self.study))

        def prepare(frame: bytes) -> Any:
            self.learners[site].append(self.trainings[site](frame) if self.trainings else MadeUp(self.study))
            return self.learners[site][-1]

        self.sites[site] = StudySite(
            self.study, self.keys, site, KEYS[site], found, charged="run", prepare=prepare,
            withdrawn=lambda: site in self.withdrawn,
            clock=self.clocks[site], sleep=self.clocks[site].sleep,
        )  # fmt: skip

    def stop(self, site: str) -> None:
        """A site's process dies."""
        self._open.pop(site).close()
        del self.sites[site]

    def restart(self, site: str) -> None:
        self.stop(site)
        self.start(site)

    def ask(self, task: str, data: Mapping[str, bytes], seconds: float) -> dict[str, bytes]:
        answers = {}
        for site, sent in data.items():
            got = self.to_site(task, site, sent)
            if got is None or site not in self.sites:
                continue
            answer = self.sites[site].answer(task, got)
            self.left.append((task, site, answer))
            if (changed := self.from_site(task, site, answer)) is not None:
                answers[site] = changed
        return answers

    @contextmanager
    def coordinator(self) -> Iterator[StudyRun]:
        with folder.opened(self.path / "coordinator", self.study) as memory:
            yield StudyRun(self.study, self.keys, self.frame, self.ask, memory)

    def run(self) -> list[Residues]:
        with self.coordinator() as found:
            return found.run()

    def learner(self, site: str) -> Any:
        return self.learners[site][-1]
