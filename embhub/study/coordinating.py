"""The coordinator of a study: number after number, until the attempts are used or too few sites are left.

A number whose step was lost is used up, as the budget of every site is. What ended well is on disk, so that a
coordinator that was killed goes on where it stood, with the next number.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final

from embhub.errors import PrivacyError
from embhub.progress import OnProgress, Progress
from embhub.refusals import BadSignatureError
from embhub.study import consents, tasks, wire
from embhub.study.coordinator import CoordinatorStep
from embhub.study.folder import StudyFolder
from embhub.study.grid import Residues
from embhub.study.plan import Study
from embhub.study.tasks import Ask
from embhub.study.wire import Step, StudyStepError
from embhub.trust import p256

GRACE: Final = 10.0
"""Seconds beyond a study's `round_seconds` for which an answer is waited for."""
INSISTING: Final = 30, 30.0, 4
"""Sites that say nothing while they load or judge are asked so often, for so many seconds each; where a quorum has
answered, no more than the last."""
MOST_LOST: Final = 5
"""Steps lost in a row, after which the study ends."""
_SILENT = "does not answer"
_SPENT = "what was charged stays spent"


class StudyEndedError(PrivacyError):
    """A study cannot go on, or is not consented to; what was charged stays spent."""


class StudyRun:
    """A study as its coordinator runs it.

    Args:
        study: what the sites approved.
        keys: what each site signs this study's messages with.
        frame: the file of start rows and directions.
        ask: brings tasks to sites and their answers back.
        folder: the coordinator's memory, open as long as this object is used.
        on_progress: told of each step.

    Attributes:
        lost: how many numbers of this run led to no sum.
        words: the last refusal of each site, or that it did not answer.
    """

    def __init__(
        self,
        study: Study,
        keys: Mapping[str, p256.PublicKey],
        frame: bytes,
        ask: Ask,
        folder: StudyFolder,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._study, self._keys, self._frame, self._ask, self._folder = study, dict(keys), frame, ask, folder
        self._digest, self._report = study.digest, on_progress or (lambda _: None)
        self._have: dict[str, int] = {}
        self._absent: dict[str, tuple[int, int]] = {}
        self._here: list[str] = []
        self.lost, self.words = 0, dict[str, str]()

    def run(self) -> list[Residues]:
        """All public sums (width,), in order, once the attempts are used.

        Raises:
            StudyEndedError: too few sites are left, or no step ended well.
            ConfigError: the folder cannot be written.
        """
        if self._folder.begun < self._study.attempts:
            self._prepare_all()
            self._expect(self._have, "are ready")
        lost_in_a_row = 0
        while self._folder.begun < self._study.attempts:
            lost_in_a_row = 0 if self._step(self._folder.begun + 1) else lost_in_a_row + 1
            if lost_in_a_row == MOST_LOST:
                raise StudyEndedError(
                    f"{MOST_LOST} steps in a row were lost{self._said()}", "what was charged is spent"
                )
            self._report(Progress("studying", self._folder.begun, self._study.attempts))
        if not self._folder.sums:
            raise StudyEndedError("no step of the study ended well", _SPENT)
        return self._folder.sums

    def gather_consents(self, file: bytes) -> dict[str, bytes]:
        """Each site's signed consent to the release file.

        Raises:
            StudyEndedError: fewer than a quorum consent.
        """
        # The last sum has reached nobody yet; and a site that started afresh loads what it judges by.
        self._prepare_all()
        self._feed(self._study.sites, whole=True)
        found = self._insist("finish", file, list(self._have))
        digest, signed = hashlib.sha256(file).hexdigest(), dict[str, bytes]()
        for site, (_, signature) in found.items():
            try:
                consents.check(self._digest, site, digest, signature=signature, key=self._keys[site])
                signed[site] = signature
            except BadSignatureError:
                self.words[site] = "its consent is not signed by it"
        self._expect(signed, "consent")
        return signed

    def _prepare_all(self) -> None:
        self._have = {
            site: answer.have for site, (answer, _) in self._insist("prepare", self._frame, self._study.sites).items()
        }
        self._feed(self._study.sites)

    def _insist(self, task: str, body: bytes, sites: Collection[str]) -> dict[str, tuple[tasks.Answered, bytes]]:
        """Ask sites what may take them long, and again those that said nothing: both tasks may come twice."""
        found: dict[str, tuple[tasks.Answered, bytes]] = {}
        times, seconds, patient = INSISTING
        for again in range(times):
            left = [
                site for site in sites
                if site not in found and (not again or self.words.get(site) == _SILENT)
            ]  # fmt: skip
            if not left or (again >= patient and len(found) >= self._study.quorum):
                break
            found |= self._gather(task, dict.fromkeys(left, body), seconds)
        return found

    def _prepare(self, sites: Collection[str], seconds: float) -> None:
        for site, (answer, _) in self._gather("prepare", dict.fromkeys(sites, self._frame), seconds).items():
            self._have[site] = answer.have
        self._feed(sites)

    def _feed(self, sites: Collection[str], *, whole: bool = False) -> None:
        """Bring sites so near that the next message holds what they lack, or until they lack nothing."""
        while behind := {site: body for site, body in self._lacking(sites).items() if self._is_behind(site, whole)}:
            answered = self._gather("follow", behind, self._wait, first=self._have)
            for site in behind:
                before = self._have.pop(site)
                if site in answered and answered[site][0].have > before:
                    self._have[site] = answered[site][0].have

    def _lacking(self, sites: Collection[str]) -> dict[str, bytes]:
        return {site: tasks.sums_bytes(self._folder.sums[self._have[site] :]) for site in sites if site in self._have}

    def _is_behind(self, site: str, whole: bool) -> bool:
        carried = 0 if whole else len(self._lacking([site])[site]) // (4 * self._study.width)
        return self._have[site] + carried < len(self._folder.sums)

    def _step(self, number: int) -> bool:
        """One attempt; whether a sum came of it."""
        self._folder.begin(number)
        here = self._who_is_here(number)
        study = self._study
        step = CoordinatorStep(Step(self._digest, number, self._keys, study.dropouts, study.colluders, study.width))
        try:
            self._round("begin", number, self._lacking(here), step.take_keys, first=True)
            rounds: list[tuple[str, Callable[[], Callable[[str], bytes]], Callable[[str, bytes], None]]] = [
                ("share", lambda: _same(step.roster()), step.take_boxes),
                ("mask", lambda: step.boxes_for, step.take_masked),
                ("agree", lambda: _same(step.survivors()), step.take_agreement),
                ("show", lambda: _same(step.agreement()), step.take_shown),
            ]
            for name, make, take in rounds:
                message = make()
                self._round(name, number, {site: message(site) for site in self._here}, take)
            self._folder.keep(step.total())
        except StudyStepError as error:
            self.lost += 1
            self.words["the step"] = str(error)
            return False
        return True

    def _round(
        self,
        name: str,
        number: int,
        data: Mapping[str, bytes],
        take: Callable[[str, bytes], None],
        *,
        first: bool = False,
    ) -> None:
        answered = self._gather(name, data, self._wait, number=number, first=self._have if first else {})
        bodies = {site: body for site, (_, body) in answered.items()}
        if first:
            self._note_absent(number, data, bodies)
            bodies = self._agreeing(bodies)
        self._here = []
        for site, body in sorted(bodies.items()):
            try:
                take(site, body)
                self._here.append(site)
            except StudyStepError as error:
                self.words[site] = str(error)

    def _agreeing(self, bodies: Mapping[str, bytes]) -> dict[str, bytes]:
        """Leave out sites that stand elsewhere than most: one of them would end the step for all."""
        states: dict[str, str] = {}
        for site, body in bodies.items():
            try:
                states[site] = wire.read(wire.Keys, body).state
            except StudyStepError as error:
                self.words[site] = str(error)
        most = Counter(states.values()).most_common(1)[0][0] if states else ""
        for site, state in states.items():
            if state != most:
                self.words[site] = "stands elsewhere than the other sites"
        return {site: bodies[site] for site, state in states.items() if state == most}

    def _who_is_here(self, number: int) -> list[str]:
        """Sites to ask. Who was missing is asked after 1, 2, 4, 8 ... numbers, and made ready first."""
        due = [site for site in self._study.sites if self._absent.get(site, (0, 0))[0] < number]
        self._prepare([site for site in due if site not in self._have], self._wait)
        for site in due:
            if site not in self._have:
                self._miss(site, number)
        self._feed([site for site in due if site in self._have])
        return [site for site in due if site in self._have]

    def _note_absent(self, number: int, asked: Collection[str], came: Collection[str]) -> None:
        for site in asked:
            if site in came:
                self._absent.pop(site, None)
                self._have[site] = len(self._folder.sums)
            else:
                self._have.pop(site, None)
                self._miss(site, number)

    def _miss(self, site: str, number: int) -> None:
        times = self._absent.get(site, (0, 0))[1]
        self._absent[site] = (number + 2**times - 1, min(times + 1, 6))

    def _gather(
        self,
        task: str,
        data: Mapping[str, bytes],
        seconds: float,
        *,
        number: int = 0,
        first: Mapping[str, int] | None = None,
    ) -> dict[str, tuple[tasks.Answered, bytes]]:
        """Ask, and take what is an answer; who refuses or says nothing is noted."""
        first = first or {}
        sent = {
            site: tasks.ask_of(self._digest, task, body, number=number, first=first.get(site, 0))
            for site, body in data.items()
        }
        answers, found = (self._ask(task, sent, seconds) if sent else {}), {}
        for site in sent:
            self.words[site] = _SILENT
            if site in answers:
                try:
                    found[site] = tasks.read_answer(answers[site], study=self._digest, task=task, number=number)
                    del self.words[site]
                except StudyStepError as error:
                    self.words[site] = str(error)
        return found

    def _expect(self, sites: Collection[str], do: str) -> None:
        if len(sites) < self._study.quorum:
            raise StudyEndedError(
                f"{len(sites)} of {len(self._study.sites)} sites {do}, and it takes {self._study.quorum}{self._said()}"
            )

    def _said(self) -> str:
        return "".join(f"; {who}: {word}" for who, word in sorted(self.words.items()))

    @property
    def _wait(self) -> float:
        return self._study.round_seconds + GRACE


def _same(message: bytes) -> Callable[[str], bytes]:
    return lambda _site: message
