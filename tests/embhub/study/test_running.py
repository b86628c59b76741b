"""A whole study: the same at all sites, with sites and coordinators that are killed, late, or come back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embhub import durable
from embhub.errors import ConfigError
from embhub.study import folder, tasks
from embhub.study.coordinating import StudyEndedError
from embhub.study.tasks import STEP
from embhub.study.wire import StudyStepError
from tests.support.study_runs import ATTEMPTS, FRAME, NAMES, World, study_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def numbers_begun(world: World, site: str) -> Iterator[int]:
    for task, sender, data in world.left:
        if task == "begin" and sender == site:
            answer, _ = tasks.unpack(tasks.Answered, data)
            if not answer.refused:
                yield answer.number


def test_all_sites_learn_the_same_and_consent(world: World) -> None:
    sums = world.run()
    assert len(sums) == ATTEMPTS
    with world.coordinator() as run:
        asked = len(world.left)
        assert len(run.run()) == ATTEMPTS and len(world.left) == asked  # nothing is asked of anybody again
        rows = np.add.reduce(sums, dtype=np.uint32)
        found = run.gather_consents(rows.tobytes())
    assert set(found) == set(NAMES)
    assert all((world.learner(site).rows == rows).all() for site in NAMES)


def test_each_sum_is_that_of_the_vectors_that_arrived(world: World) -> None:
    sums = world.run()
    for place, total in enumerate(sums):
        own = [world.learner(site).sent[place] for site in NAMES]
        assert (total == np.add.reduce(own, dtype=np.uint32)).all()


@pytest.mark.parametrize("task", STEP)
def test_a_site_that_is_lost_in_any_round_is_missing_and_the_study_goes_on(world: World, task: str) -> None:
    world.from_site = lambda name, site, data: None if (name, site) == (task, NAMES[2]) else data
    assert len(world.run()) == ATTEMPTS


@pytest.mark.parametrize("task", STEP)
def test_a_step_with_too_few_is_lost_and_its_number_is_used_up(world: World, task: str) -> None:
    def lose(name: str, site: str, data: bytes) -> bytes | None:
        asked, _ = tasks.unpack(tasks.Answered, data)
        return None if (name, asked.number) == (task, 2) and site in NAMES[:2] else data

    world.from_site = lose
    with world.coordinator() as run:
        assert len(run.run()) == ATTEMPTS - 1 and run.lost == 1
    for site in NAMES:
        begun = list(numbers_begun(world, site))
        assert max(Counter(begun).values()) == 1 and begun == sorted(begun)


@pytest.mark.parametrize("task", STEP)
def test_a_site_that_restarts_is_missing_in_that_step_and_takes_part_in_the_next(world: World, task: str) -> None:
    def restart(name: str, site: str, data: bytes) -> bytes:
        asked, _ = tasks.unpack(tasks.Asked, data)
        if (name, site, asked.number) == (task, NAMES[1], 3):
            world.restart(site)
        return data

    world.to_site = restart
    sums = world.run()
    assert len(sums) == ATTEMPTS
    begun = list(numbers_begun(world, NAMES[1]))
    assert begun == sorted(set(begun)) and {4, 5, 6} <= set(begun)
    first, second = world.learners[NAMES[1]]
    assert second.taken >= ATTEMPTS - 1 and len(first.sent) + len(second.sent) >= ATTEMPTS - 1


def test_a_site_that_was_away_for_long_catches_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AT_ONCE", 2 * 4 * 8)  # two sums a message
    world = World(tmp_path, study_of(attempts=12))
    away = {"until": 9}

    def lose(name: str, site: str, data: bytes) -> bytes | None:
        asked, _ = tasks.unpack(tasks.Asked, data)
        if site == NAMES[3] and asked.number >= away["until"]:
            away["until"] = 0
        return None if site == NAMES[3] and 2 <= asked.number < away["until"] else data

    world.to_site = lose
    assert len(world.run()) == 12
    assert world.learner(NAMES[3]).taken >= 11
    assert any(name == "follow" for name, _, _ in world.left)


def test_a_coordinator_that_is_killed_goes_on_with_the_next_number(world: World) -> None:
    class KilledError(BaseException):
        pass

    def kill(name: str, site: str, data: bytes) -> bytes:
        asked, _ = tasks.unpack(tasks.Asked, data)
        if (name, asked.number) == ("agree", 3):
            raise KilledError
        return data

    world.to_site = kill
    with pytest.raises(KilledError):
        world.run()
    world.to_site = lambda _name, _site, data: data
    assert len(world.run()) == ATTEMPTS - 1
    assert list(numbers_begun(world, NAMES[0])) == [1, 2, 3, 4, 5, 6]


def test_with_fewer_than_a_quorum_left_the_study_ends_with_a_word(world: World) -> None:
    def leave(name: str, site: str, data: bytes) -> bytes:
        asked, _ = tasks.unpack(tasks.Asked, data)
        if asked.number == 2:
            world.withdrawn |= set(NAMES[:2])
        return data

    world.to_site = leave
    with pytest.raises(StudyEndedError, match=r"5 steps in a row were lost.*site-01: this site has withdrawn"):
        world.run()


@pytest.mark.parametrize("task", ["prepare", "finish"])
def test_a_site_that_takes_long_to_load_or_to_judge_is_asked_again(world: World, task: str) -> None:
    asked: Counter[str] = Counter()

    def slow(name: str, site: str, data: bytes) -> bytes | None:
        asked[site] += name == task
        return None if name == task and site in NAMES[:3] and asked[site] < 6 else data

    world.from_site = slow
    rows = np.add.reduce(world.run(), dtype=np.uint32)
    with world.coordinator() as run:
        assert len(run.gather_consents(rows.tobytes())) == len(NAMES)


def test_too_few_at_the_start_end_the_study_before_a_number_is_used(world: World) -> None:
    world.to_site = lambda _name, site, data: None if site in NAMES[:2] else data
    with pytest.raises(StudyEndedError, match="3 of 5 sites are ready, and it takes 4; site-01: does not answer"):
        world.run()
    with folder.opened(world.path / "coordinator", world.study) as memory:
        assert memory.begun == 0


def test_fewer_consents_than_a_quorum_publish_nothing(world: World) -> None:
    rows = np.add.reduce(world.run(), dtype=np.uint32)
    world.learner(NAMES[0]).good = False
    world.withdrawn.add(NAMES[1])
    with world.coordinator() as run, pytest.raises(StudyEndedError, match="3 of 5 sites consent") as caught:
        run.gather_consents(rows.tobytes())
    words = [part for part in str(caught.value).split("; ") if "consent to this" in part]
    assert len(words) == 2 and len({word.partition(": ")[2] for word in words}) == 1  # the reason stays at home


def test_a_site_that_missed_the_end_does_not_sign_and_a_quorum_does(world: World) -> None:
    def lose(name: str, site: str, data: bytes) -> bytes | None:
        asked, _ = tasks.unpack(tasks.Asked, data)
        return None if (site, asked.number) == (NAMES[2], ATTEMPTS) else data

    world.to_site = lose
    rows = np.add.reduce(world.run(), dtype=np.uint32)
    with world.coordinator() as run:
        assert set(run.gather_consents(rows.tobytes())) == {*NAMES} - {NAMES[2]}
        assert "more sums here than the highest number" in run.words[NAMES[2]]


def test_a_number_is_on_the_disk_before_anything_of_it_leaves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embhub.durable.write_atomic", lambda *_, **__: (_ for _ in ()).throw(ConfigError("full")))
    site = world.sites[NAMES[0]]
    monkeypatch.setattr(site, "_learner", world.learners[NAMES[0]] or _ready(world, NAMES[0]))
    answer = site.answer("begin", tasks.ask_of(world.study.digest, "begin", number=1))
    with pytest.raises(StudyStepError, match="cannot go on"):
        tasks.read_answer(answer, study=world.study.digest, task="begin", number=1)


def _ready(world: World, site: str) -> object:
    from tests.support.study_runs import MadeUp

    return MadeUp(world.study)


def test_two_processes_do_not_work_for_one_site(world: World) -> None:
    with pytest.raises(ConfigError, match="another process"), folder.opened(world.path / NAMES[0], world.study):
        pass


@pytest.mark.parametrize("text", ["", "x", "-1", "01", "7", "1 "])
def test_a_folder_that_does_not_say_what_was_begun_is_not_used(world: World, text: str) -> None:
    world.stop(NAMES[0])
    (world.path / NAMES[0] / "begun").write_text(text)
    with pytest.raises(ConfigError, match="damaged"):
        world.start(NAMES[0])


def test_a_folder_whose_sums_have_gaps_is_not_used(world: World) -> None:
    world.run()
    world.stop(NAMES[0])
    (world.path / NAMES[0] / "sums" / "000002").unlink()
    with pytest.raises(ConfigError, match="damaged"):
        world.start(NAMES[0])


def test_a_study_nobody_joined_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no study"), folder.opened(tmp_path / "none", study_of()):
        pass
    assert FRAME


def test_a_process_whose_folder_was_let_go_writes_nothing_any_more(tmp_path: Path) -> None:
    """Its tasks may still be at work when another process has the folder, and has begun further numbers."""
    study, there = study_of(), tmp_path / "site"
    folder.create(there)
    with folder.opened(there, study) as stale:
        stale.begin(1)
    with folder.opened(there, study) as memory:
        for number in range(2, ATTEMPTS + 1):
            memory.begin(number)
        before = {path.name: path.read_bytes() for path in there.iterdir()}
        writes: list[Callable[[], object]] = [
            lambda: stale.begin(2),
            lambda: stale.keep(np.zeros(study.width, dtype=np.uint32)),
            lambda: setattr(stale, "frame", FRAME),
            lambda: setattr(stale, "judged", "a" * 64),
            lambda: setattr(stale, "consented", "a" * 64),
        ]
        for write in writes:
            with pytest.raises(ConfigError, match="not open any more"):
                write()
        stale.note("nobody reads this")
        assert {path.name: path.read_bytes() for path in there.iterdir()} == before


@pytest.mark.parametrize("text", ["4", "2", "0", "6", "x"])
def test_what_is_begun_is_read_again_and_never_goes_down(tmp_path: Path, text: str) -> None:
    there = tmp_path / "site"
    folder.create(there)
    with folder.opened(there, study_of()) as memory:
        memory.begin(3)
        (there / "begun").write_text(text)
        with pytest.raises(ConfigError, match="damaged"):
            memory.begin(4)
        assert (there / "begun").read_text() == text


def test_the_folder_is_let_go_only_after_a_write_that_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, study = tmp_path / "site", study_of()
    folder.create(there)
    writing, may_write, write = threading.Event(), threading.Event(), durable.write_atomic

    def slow(*given: Any, **more: Any) -> None:
        writing.set()
        assert may_write.wait(10)
        write(*given, **more)

    monkeypatch.setattr("embhub.durable.write_atomic", slow)
    stack = ExitStack()
    memory = stack.enter_context(folder.opened(there, study))
    threads = [threading.Thread(target=memory.begin, args=(1,)), threading.Thread(target=stack.close)]
    threads[0].start()
    assert writing.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    with pytest.raises(ConfigError, match="another process"), folder.opened(there, study):
        pass
    may_write.set()
    for thread in threads:
        thread.join(10)
    with folder.opened(there, study) as again:
        assert again.begun == 1
