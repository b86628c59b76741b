"""Lying coordinators and sites over a whole study: each is refused with a word, and what leaves tells nothing."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embhub.errors import ConfigError
from embhub.study import folder, tasks
from embhub.study.answering import CANNOT, NO_CONSENT, StudySite
from embhub.study.coordinating import StudyEndedError
from embhub.study.tasks import STEP, TASKS
from embhub.study.wire import StudyStepError
from tests.support.study_runs import ATTEMPTS, FRAME, KEYS, NAMES, MadeUp, World, study_of

SITE = NAMES[0]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def word(world: World, task: str, answer: bytes, number: int = 0) -> str:
    with pytest.raises(StudyStepError) as caught:
        tasks.read_answer(answer, study=world.study.digest, task=task, number=number)
    return str(caught.value)


def held(world: World, stop: str, number: int = 2) -> dict[tuple[str, int], bytes]:
    """What was sent to the first site up to the task `stop` of a number, which it did not get."""
    sent: dict[tuple[str, int], bytes] = {}

    class StoppedError(BaseException):
        pass

    def stopping(task: str, site: str, data: bytes) -> bytes:
        asked, _ = tasks.unpack(tasks.Asked, data)
        if site == SITE:
            sent[task, asked.number] = data
            if (task, asked.number) == (stop, number):
                raise StoppedError
        return data

    world.to_site = stopping
    with pytest.raises(StoppedError):
        world.run()
    world.to_site = lambda _task, _site, data: data
    return sent


@pytest.mark.parametrize("task", STEP)
def test_a_task_that_is_replayed_is_refused(world: World, task: str) -> None:
    sent = held(world, "begin", 3)
    before = len(world.learner(SITE).own)
    answer = world.sites[SITE].answer(task, sent[task, 2])
    said = word(world, task, answer, 2)
    assert "begun or left out" in said if task == "begin" else "was asked for, and step 2" in said
    assert len(world.learner(SITE).own) == before  # and nobody was sampled anew


@pytest.mark.parametrize("task", STEP)
def test_a_task_of_another_step_is_refused(world: World, task: str) -> None:
    sent = held(world, task)
    asked, body = tasks.unpack(tasks.Asked, sent[task, 2])
    for number in (1, 3, ATTEMPTS + 1, 0) if task != "begin" else (1, ATTEMPTS + 1, 0):
        changed = tasks.pack(asked.model_copy(update={"number": number}), body)
        assert word(world, task, world.sites[SITE].answer(task, changed), number)
    answer = world.sites[SITE].answer(task, sent[task, 2])  # which is still answered
    tasks.read_answer(answer, study=world.study.digest, task=task, number=2)


@pytest.mark.parametrize("task", TASKS)
def test_a_changed_study_is_another_study(world: World, task: str) -> None:
    other = world.study.model_copy(update={"clip": 2e-3})
    answer = world.sites[SITE].answer(task, tasks.ask_of(other.digest, task, number=1))
    assert word(world, task, answer) == "the task is of another study"


def test_another_frame_than_the_studys_is_refused(world: World) -> None:
    answer = world.sites[SITE].answer("prepare", tasks.ask_of(world.study.digest, "prepare", b"another"))
    assert word(world, "prepare", answer) == "the frame is not the study's"
    assert not world.learners[SITE]


def test_numbers_that_go_back_are_refused_also_after_a_restart(world: World) -> None:
    held(world, "begin", 4)
    world.restart(SITE)
    for number in (1, 2, 3):
        answer = world.sites[SITE].answer("begin", tasks.ask_of(world.study.digest, "begin", number=number))
        assert "was begun" in word(world, "begin", answer, number)
    assert not world.learner(SITE).sent


def test_unmasking_is_not_done_twice(world: World) -> None:
    sent = held(world, "show")
    site = world.sites[SITE]
    tasks.read_answer(site.answer("show", sent["show", 2]), study=world.study.digest, task="show", number=2)
    assert "was asked for" in word(world, "show", site.answer("show", sent["show", 2]), 2)


def test_survivors_are_not_agreed_to_twice(world: World) -> None:
    sent = held(world, "agree")
    site = world.sites[SITE]
    tasks.read_answer(site.answer("agree", sent["agree", 2]), study=world.study.digest, task="agree", number=2)
    assert "was asked for" in word(world, "agree", site.answer("agree", sent["agree", 2]), 2)


GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "no line": b"\xff\xfe" * 300,
    "deep": b"[" * 5000,
    "huge": b"0" * (tasks.MAX_BYTES + 1),
    "other fields": b'{"study": "x", "more": 1}\n',
    "no object": b"[]\n",
}


@pytest.mark.parametrize("case", GARBAGE)
@pytest.mark.parametrize("task", [*TASKS, "other", "../x"])
def test_garbage_is_refused_and_the_site_goes_on(world: World, case: str, task: str) -> None:
    found, _ = tasks.unpack(tasks.Answered, world.sites[SITE].answer(task, GARBAGE[case]))
    assert found.refused and found.refused != CANNOT
    answer = world.sites[SITE].answer("prepare", tasks.ask_of(world.study.digest, "prepare", FRAME))
    tasks.read_answer(answer, study=world.study.digest, task="prepare")


@pytest.mark.parametrize("task", ["follow", "begin"])
def test_bodies_that_are_no_sums_are_refused(world: World, task: str) -> None:
    held(world, "begin", 3)
    site, digest = world.sites[SITE], world.study.digest
    for body, first, said in (
        (b"abc", 1, "no sums"),
        (bytes(4 * 8), 5, "sums are missing"),
        (bytes(4 * 8), 0, "another one"),
    ):
        answer = site.answer(task, tasks.ask_of(digest, task, body, number=3 if task == "begin" else 0, first=first))
        assert said in word(world, task, answer, 3 if task == "begin" else 0)


def test_more_sums_than_steps_are_refused(world: World) -> None:
    held(world, "begin", 1)
    body = bytes(4 * 8 * (ATTEMPTS + 1))
    assert "more sums" in word(
        world, "follow", world.sites[SITE].answer("follow", tasks.ask_of(world.study.digest, "follow", body))
    )


def test_more_sums_than_steps_do_not_make_a_site_load_its_training_again(world: World) -> None:
    """A training that is made anew has a watch that has seen nothing yet."""
    held(world, "begin", 2)
    digest, learner, one = world.study.digest, world.learner(SITE), [np.zeros(world.study.width, dtype=np.uint32)]
    follow = tasks.ask_of(digest, "follow", tasks.sums_bytes(one * ATTEMPTS))
    tasks.read_answer(world.sites[SITE].answer("follow", follow), study=digest, task="follow")
    for number in (0, 0, ATTEMPTS):
        task = "begin" if number else "follow"
        more = tasks.ask_of(digest, task, tasks.sums_bytes(one), number=number, first=ATTEMPTS)
        said = word(world, task, world.sites[SITE].answer(task, more), number)
        assert said == "more sums than the study has steps" and learner.taken == ATTEMPTS
    prepare = world.sites[SITE].answer("prepare", tasks.ask_of(digest, "prepare", FRAME))
    assert tasks.read_answer(prepare, study=digest, task="prepare")[0].have == ATTEMPTS
    assert world.learners[SITE] == [learner]


@pytest.mark.parametrize("case", [name for name in GARBAGE if name != "huge"])
@pytest.mark.parametrize("task", STEP)
def test_a_site_that_answers_garbage_is_missing_and_the_study_goes_on(tmp_path: Path, task: str, case: str) -> None:
    world = World(tmp_path, study_of(attempts=2))
    world.from_site = lambda name, site, data: GARBAGE[case] if (name, site) == (task, SITE) else data
    assert len(world.run()) == 2


def test_a_site_that_sends_a_huge_vector_is_missing(world: World) -> None:
    def swell(name: str, site: str, data: bytes) -> bytes:
        if (name, site) != ("mask", SITE):
            return data
        answer, body = tasks.unpack(tasks.Answered, data)
        value = json.loads(body)
        value["vector"] = base64.b64encode(bytes(4 * 2**17)).decode()
        return tasks.pack(answer, json.dumps(value).encode())

    world.from_site = swell
    assert len(world.run()) == ATTEMPTS


def test_sites_that_were_shown_different_sums_do_not_go_on(world: World) -> None:
    """Two groups of five, none of which is a quorum."""

    def lie(name: str, site: str, data: bytes) -> bytes:
        asked, body = tasks.unpack(tasks.Asked, data)
        if name == "begin" and asked.number == 3 and site in NAMES[:2]:
            return tasks.pack(asked, body[:-4] + b"\1\2\3\4")
        return data

    world.to_site = lie
    with world.coordinator() as run, pytest.raises(StudyEndedError, match=r"no way on|in a row"):
        if len(run.run()) < ATTEMPTS:
            raise StudyEndedError("no way on")


def test_one_site_that_was_shown_another_sum_is_left_out_and_does_not_sign(world: World) -> None:
    def lie(name: str, site: str, data: bytes) -> bytes:
        asked, body = tasks.unpack(tasks.Asked, data)
        if name == "begin" and asked.number == 3 and site == SITE:
            return tasks.pack(asked, body[:-4] + b"\1\2\3\4")
        return data

    world.to_site = lie
    rows = np.add.reduce(world.run(), dtype=np.uint32)
    with world.coordinator() as run:
        assert set(run.gather_consents(rows.tobytes())) == set(NAMES[1:])
        assert run.words[SITE] == "the file has other rows"


def test_a_coordinator_that_leaves_a_site_out_of_the_roster_gets_no_more_from_it(world: World) -> None:
    sent = held(world, "share")
    asked, body = tasks.unpack(tasks.Asked, sent["share", 2])
    value = json.loads(body)
    value["keys"] = [keys for keys in value["keys"] if keys["site"] != SITE]
    answer = world.sites[SITE].answer("share", tasks.pack(asked, json.dumps(value).encode()))
    assert "without this site" in word(world, "share", answer, 2)
    assert "has ended" in word(world, "mask", world.sites[SITE].answer("mask", tasks.pack(
        asked.model_copy(update={"task": "mask"}), b"{}")), 2)  # fmt: skip


def test_a_site_is_late_or_answers_at_its_time_whoever_was_sampled(world: World) -> None:
    sent = held(world, "mask")
    clock, learner = world.clocks[SITE], world.learner(SITE)
    began = clock.now
    learner.contribute = _slow(learner, clock, 0.7)
    world.sites[SITE].answer("mask", sent["mask", 2])
    assert clock.now == began + world.study.round_seconds
    learner.contribute = _slow(learner, clock, 5.0)
    late: list[str] = []

    def note(task: str, site: str, data: bytes) -> bytes:
        found, _ = tasks.unpack(tasks.Answered, data)
        if (task, site) == ("mask", SITE):
            late.append(found.refused)
        return data

    world.from_site = note
    world.run()
    assert late and all("was not ready within 1 s" in each for each in late[:3])
    assert set(late[3:]) <= {CANNOT}


def test_a_late_site_refuses_after_whole_rounds_and_leaves_at_the_third(world: World) -> None:
    """Else the coordinator would read at each step, from when it is refused, how many patients were sampled."""
    sent = held(world, "mask")
    clock, learner, waited, asked_at = world.clocks[SITE], world.learner(SITE), list[float](), [0.0]
    learner.contribute = _slow(learner, clock, 1.3)

    def note_start(task: str, site: str, data: bytes) -> bytes:
        if (task, site) == ("mask", SITE):
            asked_at[0] = clock.now
        return data

    def note_end(task: str, site: str, data: bytes) -> bytes:
        if (task, site) == ("mask", SITE):
            waited.append(clock.now - asked_at[0])
        return data

    world.to_site, world.from_site = note_start, note_end
    world.run()
    assert waited[:3] == pytest.approx([2.0] * 3) and world.sites[SITE]._folder.left
    world.restart(SITE)
    assert world.sites[SITE]._folder.late == 3, "it is kept over a restart"
    assert word(world, "begin", world.sites[SITE].answer("begin", sent["begin", 2]), 2) == CANNOT


NO_BOXES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "no JSON": lambda _: b"x",
    "no boxes": lambda _: b'{"boxes":{},"kind":"boxes"}',
    "a box that does not open": lambda body: body[:-20] + b"AAAA" + body[-16:],
}


@pytest.mark.parametrize("case", NO_BOXES)
def test_boxes_that_do_not_open_sample_nobody_and_are_refused_at_once(world: World, case: str) -> None:
    """Else each of them would be one more sample of who was late, and nobody counts those."""
    sent = held(world, "mask")
    site, clock = world.sites[SITE], world.clocks[SITE]
    before, began = len(world.learner(SITE).own), clock.now
    asked, body = tasks.unpack(tasks.Asked, sent["mask", 2])
    assert word(world, "mask", site.answer("mask", tasks.pack(asked, NO_BOXES[case](body))), 2) != CANNOT
    for again in (NO_BOXES[case](body), body):  # the step has ended here, also for what was to come
        assert "has ended at" in word(world, "mask", site.answer("mask", tasks.pack(asked, again)), 2)
    assert len(world.learner(SITE).own) == before and clock.now == began


@pytest.mark.parametrize("first", ["answered", "late", "failed"])
def test_patients_are_sampled_once_a_number_whatever_became_of_the_first_time(world: World, first: str) -> None:
    sent = held(world, "mask")
    site, clock, learner = world.sites[SITE], world.clocks[SITE], world.learner(SITE)
    asked_for: list[float] = []

    def contribute() -> Any:
        asked_for.append(clock.now)
        clock.now += 5.0 if first == "late" else 0.5
        if first == "failed":
            raise RuntimeError
        return MadeUp.contribute(learner)

    learner.contribute, began = contribute, clock.now
    site.answer("mask", sent["mask", 2])
    assert clock.now == began + (5.0 if first == "late" else world.study.round_seconds)
    ended = clock.now
    assert word(world, "mask", site.answer("mask", sent["mask", 2]), 2)
    assert len(asked_for) == 1 and clock.now == ended


def _slow(learner: MadeUp, clock: Any, seconds: float) -> Callable[[], Any]:
    def contribute() -> Any:
        clock.now += seconds
        return MadeUp.contribute(learner)

    return contribute


def test_errors_of_a_training_stay_at_the_site(world: World, caplog: pytest.LogCaptureFixture) -> None:
    sent = held(world, "mask")
    world.learner(SITE).contribute = lambda: (_ for _ in ()).throw(RuntimeError("patient 7 has 3.14159"))
    with caplog.at_level(logging.DEBUG):
        answer = world.sites[SITE].answer("mask", sent["mask", 2])
    assert word(world, "mask", answer, 2) == CANNOT
    assert b"3.14" not in answer and "3.14" not in caplog.text
    assert (world.path / SITE / "trouble").read_text() == "RuntimeError"


@pytest.mark.parametrize("again", ["at once", "after a restart", "on a full disk"])
def test_a_site_whose_sum_failed_once_has_left_and_has_one_word_for_all(
    world: World, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """Who was sampled may decide whether a sum fails: each further one would be one more bit on that, without noise."""
    sent = held(world, "mask")
    learner, digest = world.learner(SITE), world.study.digest
    learner.contribute = lambda: (_ for _ in ()).throw(IndexError)
    with monkeypatch.context() as patch:
        if again == "on a full disk":
            patch.setattr("embhub.durable.write_atomic", _raise)
        assert word(world, "mask", world.sites[SITE].answer("mask", sent["mask", 2]), 2) == CANNOT
    if again == "after a restart":
        world.restart(SITE)
    asked, made = {**sent, ("follow", 0): tasks.ask_of(digest, "follow")}, len(world.learners[SITE])
    asked |= {("begin", 3): tasks.ask_of(digest, "begin", number=3), ("finish", 0): tasks.ask_of(digest, "finish")}
    for (task, number), data in asked.items():
        assert word(world, task, world.sites[SITE].answer(task, data), number) == CANNOT
    assert len(world.learners[SITE]) == made
    world.stop(SITE)
    with folder.opened(world.path / SITE, world.study) as memory:
        assert memory.begun == 2 and memory.left == (again != "on a full disk")


def test_nothing_is_answered_that_was_not_charged(world: World) -> None:
    with (
        pytest.raises(StudyStepError, match="not charged"),
        folder.opened(_made(world.path / "other"), world.study) as memory,
    ):
        StudySite(world.study, world.keys, SITE, KEYS[SITE], memory, charged="", prepare=lambda _: MadeUp(world.study))


def _made(path: Path) -> Path:
    folder.create(path)
    return path


def test_a_second_file_is_not_signed(world: World) -> None:
    rows = np.add.reduce(world.run(), dtype=np.uint32)
    with world.coordinator() as run:
        first = run.gather_consents(rows.tobytes())
        assert set(run.gather_consents(rows.tobytes())) == set(first)
        with pytest.raises(StudyEndedError, match="signed another file already"):
            run.gather_consents(rows.tobytes() + b" ")
    answer = world.sites[SITE].answer("begin", tasks.ask_of(world.study.digest, "begin", number=ATTEMPTS))
    assert word(world, "begin", answer, ATTEMPTS)


def test_a_coordinator_that_makes_up_sums_has_one_file_judged_and_no_second(world: World) -> None:
    """Else each made-up sum and its file would ask the patients kept back one question more."""
    study = world.study
    world.sites[SITE].answer("prepare", tasks.ask_of(study.digest, "prepare", FRAME))
    learner = world.learner(SITE)
    learner.good, asked = False, list[bytes]()

    def judge(file: bytes) -> bool:
        asked.append(file)
        return MadeUp.judge(learner, file)

    learner.judge = judge
    world.sites[SITE].answer("begin", tasks.ask_of(study.digest, "begin", number=3))  # or it would judge none of them
    words = []
    for place in range(3):
        made_up = np.full(study.width, place + 1, dtype=np.uint32)
        sent = tasks.ask_of(study.digest, "follow", tasks.sums_bytes([made_up]), first=place)
        assert tasks.read_answer(world.sites[SITE].answer("follow", sent), study=study.digest, task="follow")
        if place == 2:
            world.restart(SITE)
        file = np.full(study.width, (place + 1) * (place + 2) // 2, dtype=np.uint32).tobytes()
        answer = world.sites[SITE].answer("finish", tasks.ask_of(study.digest, "finish", file))
        words.append(word(world, "finish", answer))
    assert words[0] == NO_CONSENT and all("judged another file already" in each for each in words[1:])
    assert len(asked) == 1


@pytest.mark.parametrize("numbers", [(1, 2), (2,)], ids=["each number", "a number skipped"])
def test_a_site_signs_nothing_that_has_more_steps_than_the_highest_number_it_began(
    world: World, numbers: tuple[int, ...]
) -> None:
    """Sums that were made up without any site. A coordinator that asks for number 3 first gets a file of 3 judged."""
    made_up = [np.full(world.study.width, place + 1, dtype=np.uint32) for place in range(3)]
    file, site = np.add.reduce(made_up, dtype=np.uint32).tobytes(), world.sites[SITE]
    asked = tasks.ask_of(world.study.digest, "finish", file)
    site.answer("prepare", tasks.ask_of(world.study.digest, "prepare", FRAME))
    site.answer("follow", tasks.ask_of(world.study.digest, "follow", tasks.sums_bytes(made_up)))
    world.learner(SITE).judge = lambda _: pytest.fail("its patients kept back are not asked")
    for begun in (0, *numbers):
        if begun:
            site.answer("begin", tasks.ask_of(world.study.digest, "begin", number=begun, first=3))
        assert "more sums here than the highest number" in word(world, "finish", site.answer("finish", asked))
    world.restart(SITE)
    assert "more sums here" in word(world, "finish", world.sites[SITE].answer("finish", asked))
    world.stop(SITE)
    with folder.opened(world.path / SITE, world.study) as memory:
        assert (memory.begun, memory.judged, memory.consented) == (2, None, None)


def test_a_file_that_is_not_the_study_s_uses_up_no_judgement(world: World) -> None:
    rows = np.add.reduce(world.run(), dtype=np.uint32)
    for site in world.study.sites:
        answer = world.sites[site].answer("finish", tasks.ask_of(world.study.digest, "finish", b"garbage"))
        assert "other rows" in word(world, "finish", answer)
    with world.coordinator() as run:
        assert len(run.gather_consents(rows.tobytes())) == len(world.study.sites)


@pytest.mark.parametrize("trouble", ["a sum that leads nowhere", "a full disk"])
def test_a_sum_that_cannot_be_followed_or_kept_leaves_the_site_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """The folder starts again, and the training is made anew from it."""
    held(world, "begin", 3)
    digest, site = world.study.digest, world.sites[SITE]
    before = world.learner(SITE).digest()
    sent = tasks.ask_of(digest, "follow", tasks.sums_bytes([np.full(world.study.width, 7, np.uint32)]), first=1)
    with monkeypatch.context() as patch:
        if trouble == "a full disk":
            patch.setattr("embhub.durable.write_atomic", _raise)
        else:
            patch.setattr(MadeUp, "follow", _diverge)
        assert word(world, "follow", site.answer("follow", sent)) == CANNOT
    for again in range(2):
        answer = world.sites[SITE].answer("prepare", tasks.ask_of(digest, "prepare", FRAME))
        assert tasks.read_answer(answer, study=digest, task="prepare")[0].have == 1
        assert world.learner(SITE).digest() == before and len(world.learners[SITE]) == 2 + again
        world.restart(SITE)


def _raise(*_: Any, **__: Any) -> None:
    raise ConfigError("full")


def _diverge(learner: MadeUp, total: Any) -> None:
    learner.rows = learner.rows + total
    if (total == 7).all():
        raise ArithmeticError("rows are infinite")
