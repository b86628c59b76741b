"""A site of a study: what it answers to whom the carrier brings, from joining to its consent.

`StudySite.answer` never raises and says nothing that depends on a patient: it answers, or refuses with a word on the
protocol. What goes wrong in the training itself is one word for all, and stands in the study's folder for this site.
After a sum that failed it has that word for every task, for good: who was sampled may have decided that it failed.

**When** a site answers tells nothing either: to `mask`, the one task that takes longer the more patients were sampled,
it answers `round_seconds` after it was asked, whatever came of it. If it was not ready by then it refuses, after whole
rounds, and leaves at its third time. Choose them long enough for a site that samples all its patients, or who came can
show in who is missing. They are sampled once a number at most, for boxes that open: what is refused before that is
refused at once.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from embhub.errors import EmbhubError
from embhub.study import consents, tasks
from embhub.study.folder import StudyFolder
from embhub.study.grid import Residues
from embhub.study.plan import Study
from embhub.study.site import SiteStep
from embhub.study.tasks import Answered, Asked
from embhub.study.wire import Step, StudyStepError
from embhub.trust import p256
from embhub.trust.dsse import Signer

CANNOT: Final = "this site cannot go on: its own people find the reason in its folder of the study"
NO_CONSENT: Final = "this site does not consent to this publication"
MOST_LATE: Final = 3  # answers of one site in one study


class Learner(Protocol):
    """A site's training, as `embhub.diffusion.studies` has it."""

    def contribute(self) -> Residues:
        """The sum (width,) over this site's sampled patients, with its share of noise. For a mask, and no other use."""
        ...

    def follow(self, total: Residues) -> None:
        """Take the step that a public sum (width,) leads to."""
        ...

    def digest(self) -> str:
        """Of what was learned so far, in hex."""
        ...

    def judge(self, file: bytes) -> bool:
        """Whether the file serves this site's patients kept back. StudyStepError where it is not what was learned."""
        ...


class StudySite:
    """This site in a study.

    Args:
        study: as its officer approved it.
        keys: what each site signs this study's messages with.
        site, key: this site's namespace and key.
        folder: its memory, open as long as this object is used.
        charged: the ledger's run that was charged for all attempts. Nothing is answered without.
        prepare: makes the training from the frame's bytes, whose digest was checked. It raises where a self-test fails.
        consent: told of the file, before this site signs it; it may raise.
        withdrawn: whether this site has withdrawn from the study.
        clock, sleep: seconds that pass.

    Raises:
        StudyStepError: nothing was charged, or another study's sites.
    """

    def __init__(
        self,
        study: Study,
        keys: Mapping[str, p256.PublicKey],
        site: str,
        key: Signer,
        folder: StudyFolder,
        *,
        charged: str | None,
        prepare: Callable[[bytes], Learner],
        consent: Callable[[bytes], None] = lambda _: None,
        withdrawn: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not charged:
            raise StudyStepError("the ledger was not charged for this study")
        if sorted(keys) != list(study.sites) or site not in keys:
            raise StudyStepError("the keys are those of other sites than the study's")
        self.study, self.site, self._keys, self._key, self._folder = study, site, dict(keys), key, folder
        self._prepare, self._withdrawn, self._consent = prepare, withdrawn, consent
        self._clock, self._sleep, self._lock = clock, sleep, threading.Lock()
        self._learner: Learner | None = None
        self._step: SiteStep | None = None
        self._number, self._digest = 0, study.digest

    def answer(self, task: str, data: bytes) -> bytes:
        """The answer to a task, or a refusal; both are bytes for the coordinator."""
        number = 0
        with self._lock:
            try:
                asked, body = tasks.read_asked(data, study=self._digest, task=task)
                number = asked.number
                found = self._do(asked, body)
            except StudyStepError as error:
                return self._refuse(task, number, str(error))
            except Exception as error:  # noqa: BLE001 (its words may hold what may not leave)
                self._step = None
                self._folder.note(str(error) if isinstance(error, EmbhubError) else type(error).__name__)
                return self._refuse(task, number, CANNOT)
            have = len(self._folder.sums)
            return tasks.pack(Answered(study=self._digest, task=task, number=number, have=have), found)

    def _refuse(self, task: str, number: int, word: str) -> bytes:
        known = task if task in tasks.TASKS else ""
        return tasks.pack(Answered(study=self._digest, task=known, number=number, refused=word[:500] or "refused"))

    def _do(self, asked: Asked, body: bytes) -> bytes:
        if self._folder.left:
            raise StudyStepError(CANNOT)
        if asked.task == "prepare":
            self._make_ready(body)
        elif asked.task == "follow":
            self._catch_up(self._ready(), asked.first, body)
        elif asked.task == "begin":
            return self._begin(asked, body)
        elif asked.task == "finish":
            return self._finish(body)
        else:
            return self._go_on(asked, body)
        return b""

    def _make_ready(self, frame: bytes) -> Learner:
        if hashlib.sha256(frame).hexdigest() != self.study.frame:
            raise StudyStepError("the frame is not the study's")
        if self._learner is None:
            if self._folder.frame is None:
                self._folder.frame = frame
            learner = self._prepare(frame)
            for total in self._folder.sums:
                learner.follow(total)
            self._learner = learner
        return self._learner

    def _ready(self) -> Learner:
        """The training; after a restart it is made again, from what lies in the folder."""
        if self._learner is not None:
            return self._learner
        if (frame := self._folder.frame) is None:
            raise StudyStepError("this site has no frame yet")
        return self._make_ready(frame)

    def _catch_up(self, learner: Learner, first: int, body: bytes) -> None:
        """Follow public sums; those that are here already must be the same."""
        have = self._folder.sums
        if first > len(have):
            raise StudyStepError(f"sums are missing: {len(have)} are here, and those from {first} on came")
        sums = tasks.read_sums(body, self.study.width)
        if first + len(sums) > self.study.attempts:  # before one is followed: a training beyond is made anew
            raise StudyStepError("more sums than the study has steps")
        for place, total in enumerate(sums, start=first):
            if place < len(have):
                if (have[place] != total).any():
                    raise StudyStepError("a sum that is here came again, and is another one")
                continue
            try:
                learner.follow(total)  # first: a folder that keeps a sum which leads nowhere would start no more
                self._folder.keep(total)
            except Exception:
                self._learner = None  # it may stand beyond the folder, from which it is made again
                raise

    def _begin(self, asked: Asked, body: bytes) -> bytes:
        if self._withdrawn():
            raise StudyStepError("this site has withdrawn from the study")
        if self._folder.consented is not None:
            raise StudyStepError("the study has ended: this site signed what was learned")
        learner, self._step = self._ready(), None
        self._catch_up(learner, asked.first, body)
        study = self.study
        step = Step(self._digest, asked.number, self._keys, study.dropouts, study.colluders, study.width)
        begun = SiteStep(step, self.site, self._key, state=learner.digest())
        self._folder.begin(asked.number)  # on disk before anything of it leaves
        self._number, self._step = asked.number, begun
        return begun.begin()

    def _go_on(self, asked: Asked, body: bytes) -> bytes:
        asked_at = self._clock()
        if self._step is None or asked.number != self._number:
            raise StudyStepError(f"number {asked.number} is not the step that this site is in")
        if asked.task == "share":
            return self._step.share(body)
        if asked.task == "agree":
            return self._step.agree(body)
        if asked.task == "show":
            return self._step.show(body)
        # Once a number, and before patients are sampled: each sample may be late, which would be one more bit on them.
        self._step.open(body)
        try:
            return self._step.mask(self._contribute())
        finally:
            self._wait_since(asked_at)

    def _contribute(self) -> Residues:
        learner = self._ready()
        try:
            return learner.contribute()
        except Exception:
            self._folder.leave()  # why it failed may depend on who was sampled, so that a second time would tell more
            raise

    def _wait_since(self, asked_at: float) -> None:
        """Wait until the end of the round, a late site until that of the round in which it is ready.

        A site leaves at its third late answer. Else whoever chose the seconds could read at every step, in rounds, how
        many patients were sampled.
        """
        seconds = self.study.round_seconds
        rounds = max(1, math.ceil((self._clock() - asked_at) / seconds))
        self._sleep(max(0.0, asked_at + rounds * seconds - self._clock()))
        if rounds > 1:
            self._step = None
            self._folder.late += 1
            if self._folder.late >= MOST_LATE:
                self._folder.leave()
            raise StudyStepError(f"this site was not ready within {seconds} s")

    def _finish(self, file: bytes) -> bytes:
        if not self._folder.sums:
            raise StudyStepError("nothing was learned yet")
        # A site that missed the last steps keeps its name back as well. It stops no liar by itself: numbers may be left
        # out, so that one `begin` with the last makes room for any sums. What remains is the held-out loss in `judge`.
        if len(self._folder.sums) > self._folder.begun:
            raise StudyStepError("there are more sums here than the highest number that this site began")
        learner, digest = self._ready(), hashlib.sha256(file).hexdigest()
        if self._folder.consented not in (None, digest):
            raise StudyStepError("this site signed another file already")
        if self._folder.judged not in (None, digest):  # rows that a liar chose would each ask one question more
            raise StudyStepError("this site judged another file already")
        good = learner.judge(file)
        self._folder.judged = digest  # on disk before the verdict leaves
        # One word for both: why a site keeps its name back is its own affair.
        if not good or self._withdrawn():
            raise StudyStepError(NO_CONSENT)
        self._consent(file)
        self._folder.consented = digest
        self._step = None
        return consents.sign(self._digest, self.site, digest, key=self._key)
