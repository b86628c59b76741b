"""Waiting threads sleep in processes of our own; a program that imports embhub, or calls a command, is left alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from embhub.diffusion.attacks.executors import open_executor

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "HF_HUB_DISABLE_TELEMETRY", "PYDANTIC_DISABLE_PLUGINS")
SETTLED = ["PASSIVE", "0", "1", "__all__"]
SAY = f"import os; print(*[os.environ.get(name) for name in {NAMES!r}], sep='|')"


def said(code: str, **environment: str) -> list[str]:
    """What a fresh process has in its environment after `code`."""
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SAY}"], capture_output=True, text=True, check=True, env=kept | environment
    )
    return done.stdout.splitlines()[-1].split("|")


COMMAND = "import sys\nfrom embhub.__main__ import main\nsys.argv = ['embhub', '--version']\nmain()"


def test_the_command_sets_what_nobody_set() -> None:
    assert said(COMMAND) == SETTLED
    assert said(COMMAND, OMP_WAIT_POLICY="ACTIVE") == ["ACTIVE", "0", "1", "__all__"]


def test_it_is_set_before_torch_is_loaded() -> None:
    watch = (
        "import sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'torch': {SAY}; sys.exit()\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from embhub.__main__ import main\n"
        "sys.argv = ['embhub', 'base', 'fingerprint', 'builtin']\n"
        "main()\n"
        "raise AssertionError('torch was not loaded')"
    )
    assert said(watch) == SETTLED


def test_a_program_that_calls_a_command_is_left_alone() -> None:
    assert said("from embhub.__main__ import main\nmain(['--version'])") == ["None"] * len(NAMES)


@pytest.mark.thorough
def test_workers_are_processes_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    with open_executor(workers=2) as pool:
        assert pool is not None
        assert [pool.submit(os.getenv, name).result() for name in NAMES] == SETTLED
    assert not any(name in os.environ for name in NAMES)


def test_what_is_printed_at_the_end_of_a_command_is_not_lost() -> None:
    code = (
        "import atexit, sys\nfrom embhub.__main__ import run\natexit.register(print, 'at the end')\n"
        "sys.argv = ['embhub', *sys.argv[1:]]\nrun()"
    )
    for words, exit_code in ((["--version"], 0), (["verify", "--unheard-of"], 2)):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert done.returncode == exit_code and done.stdout.endswith("at the end\n"), words


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["--version"], ["base", "list", "--json"], ["base", "list"]])
def test_words_that_cannot_be_written_are_no_success(words: list[str], unbuffered: str) -> None:
    """Also where Python keeps them until its end, as it does unless it is told otherwise."""
    command, around = [sys.executable, "-m", "embhub", *words], {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=around, check=False)
    assert done.returncode == 7 and "the disk is full" in done.stderr
    assert "Exception" not in done.stderr and "Traceback" not in done.stderr
