"""kill -9 at any point: the ledger then counts at least the steps that were taken, and no other process is in the way.

A child takes "steps" and notes each on its own, after the ledger said yes; the parent compares. Steps that were
announced and never taken are the price of not knowing.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.ledger import budget
from embhub.ledger.books import open_books
from embhub.privacy import epsilon as epsilons
from embhub.privacy.mechanisms import Mechanism
from embhub.privacy.rdp import compose, epsilon_of, gaussian_curve
from tests.support.quick import examples

PATIENTS = ["p1", "p2", "p3"]
STEPS, CHUNK = 30, 10


def reserve(steps: int = STEPS) -> budget.Reservation:
    return budget.reserve(PATIENTS, unit="patient", mechanism="dp-sgd", q=0.5, sigma=1.0, steps=steps)


def take_steps(taken: Path) -> None:
    """A training: announce, step, note; settle at the end."""
    with reserve() as run, taken.open("ab", buffering=0) as notes:
        for _ in range(STEPS // CHUNK):
            run.spend(CHUNK)
            for _ in range(CHUNK):
                notes.write(b".")


def die_at_call(number: int, work: Callable[[], None]) -> int:
    """Run `work` in a forked process that is killed at its n-th call into the file system. Returns its exit status."""
    child = os.fork()
    if child == 0:
        calls = 0

        def deadly(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                nonlocal calls
                calls += 1
                if calls == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return call

        for name in ("open", "write", "fsync", "close", "mkdir", "replace", "rename", "unlink", "truncate"):
            setattr(os, name, deadly(getattr(os, name)))
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def counted() -> int:
    with open_books() as books:
        return sum(item.charged for item in books.account().runs.values())


def taken_in(notes: Path) -> int:
    return notes.stat().st_size if notes.exists() else 0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.thorough
def test_killed_at_every_call_into_the_file_system(home: Path) -> None:
    spared = 0
    for number in range(1, 400):
        notes = home / f"taken-{number}"
        os.environ["EMBHUB_HOME"] = str(home / f"home-{number}")
        status = die_at_call(number, partial(take_steps, notes))
        before = counted()
        assert before >= taken_in(notes), "as the crash left it"
        reserve(1).settle()  # settles what is dead
        assert before >= counted() >= taken_in(notes), "after others noticed"
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0 and taken_in(notes) == STEPS
            spared += 1
            break
    assert spared == 1 and number > 30, "the last child was not killed any more, and many before it were"


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_moments_and_resumed_it_never_counts_too_little(home: Path, seed: int) -> None:
    """A real process each time; every attempt takes up where its checkpoint is and replays some steps."""
    notes, generator = home / "taken", random.Random(seed)
    script = f"""
import sys
from pathlib import Path
from embhub.ledger import budget
run = budget.resume(sys.argv[1], {PATIENTS!r}, steps=200) if len(sys.argv) > 1 else budget.reserve(
    {PATIENTS!r}, unit="patient", mechanism="dp-sgd", q=0.5, sigma=1.0, steps=200)
print(run.run, flush=True)
with run, Path({str(notes)!r}).open("ab", buffering=0) as notes:
    for _ in range(40):
        run.spend(5)
        for _ in range(5):
            notes.write(b".")
"""
    name: list[str] = []
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", script, *name], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            name = [child.stdout.readline().strip()]
            time.sleep(generator.random() * 0.1)
            child.kill()
        before = counted()
        assert before >= taken_in(notes) > -1
    run = budget.resume(name[0], PATIENTS, steps=1)
    run.spend(1)
    run.settle()
    assert counted() >= taken_in(notes) + 1
    assert counted() <= 3 * 200 + 1


@settings(max_examples=examples(15))
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40), st.booleans()), min_size=1, max_size=4))
def test_composition_never_counts_less_than_what_was_taken(attempts: list[tuple[int, int, bool]]) -> None:
    import tempfile

    before = os.environ.get("EMBHUB_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EMBHUB_HOME"] = folder
        taken = []
        for planned, wanted, settled in attempts:
            run = reserve(planned)
            steps = min(planned, wanted)
            if steps:
                run.spend(steps)
            taken.append(steps)
            if settled:
                run.settle()
        truth = compose(gaussian_curve(q=0.5, sigma=1.0, steps=steps) for steps in taken)
        lineage = run.lineage()["composition"]
        if any(truth):
            spent = [Mechanism(0.5, 1.0, steps) for steps in taken]
            assert lineage.epsilon is not None and lineage.epsilon >= epsilons.compose(spent, delta=1e-5)
            assert lineage.rdp is not None
            assert all((said or 0) >= value for said, value in zip(lineage.rdp, truth, strict=True))
    if before is not None:
        os.environ["EMBHUB_HOME"] = before


def test_processes_at_once_do_not_pass_a_cap_together(home: Path) -> None:
    """Each alone fits under the cap, two of them do not: the check and the entry are one."""
    one = epsilon_of(gaussian_curve(q=0.5, sigma=1.0, steps=STEPS), delta=1e-5)
    budget.set_cap(one * 1.2)
    children = []
    for _ in range(4):
        if (child := os.fork()) == 0:
            try:
                reserve().spend(STEPS)
                os._exit(0)
            except budget.BudgetExceededError as error:
                os._exit(error.exit_code)
            finally:
                os._exit(1)
        children.append(child)
    codes = sorted(os.WEXITSTATUS(os.waitpid(child, 0)[1]) for child in children)
    assert codes == [0, 6, 6, 6]
    assert counted() == STEPS
