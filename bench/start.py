"""What the `embhub` command costs before and beyond its work: its help beside a bare click program, and a `verify`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.measurement import Ratio, clocked, ratio
from embhub.client import roots
from embhub.release import verification
from embhub.release.files import Release
from tests.support.claims import make_private_release
from tests.support.releases import NOW, REGISTRY, ROOT, make_export, make_release, make_trust

BARE = """import click

@click.command()
def main():
    '''Nothing.'''

main()
"""
HEAVY = "import sys, scipy.stats, scipy.optimize; from embhub.__main__ import main; sys.argv[0] = 'embhub'; main()"
"""The same command, with the packages imported that audit figures once came from."""
HELP_GOAL = 2.5
VERIFY_GOAL = 0.050  # seconds of CPU time past start
WHOLE_GOAL = 2.5  # a whole verify over help: 200 ms where help takes 80


@dataclass(frozen=True)
class Started:
    """CPU seconds, medians: help, a bare program's help, a verify, and one with all of scipy that audits once imported.

    `python` is an interpreter that does nothing, `private` a verify of a release with a privacy claim.
    `helped` is help over bare, `lighter` verify over that heavy one, `over_help` and `private_over_help` the verifies
    over help, turn by turn;
    `past_start` is what a verify takes beyond help, `decision` what the decision takes once its modules are loaded.
    """

    help: float
    bare: float
    verify: float
    heavy: float
    helped: Ratio
    lighter: Ratio
    past_start: float
    decision: float
    python: float
    private: float
    over_help: Ratio
    private_over_help: Ratio


def measure(*, turns: int) -> Started:
    """Each program `turns` times, one after the other, each a new process; its CPU time, not ours.

    What a verify takes past start is what it takes beyond `embhub --help` of the same turn.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bare, site = root / "bare.py", {**os.environ, "EMBHUB_HOME": str(root / "home"), "EMBHUB_REGISTRY": REGISTRY}
        site["PYTHONPYCACHEPREFIX"] = str(root / "compiled")  # as an installer leaves modules: compiled
        site.pop("PYTHONDONTWRITEBYTECODE", None)
        bare.write_text(BARE)
        make_release().to_folder(root / "release")
        make_private_release().to_folder(root / "private")
        _pin(root)
        programs: dict[str, Sequence[str]] = {
            "bare": [sys.executable, str(bare), "--help"],
            "help": [sys.executable, "-m", "embhub", "--help"],
            "verify": [sys.executable, "-m", "embhub", "verify", str(root / "release")],
            "python": [sys.executable, "-c", "pass"],
            "private": [sys.executable, "-m", "embhub", "verify", str(root / "private")],
            "heavy": [sys.executable, "-c", HEAVY, "verify", str(root / "release")],
        }
        spent: dict[str, list[float]] = {name: [] for name in programs}
        for turn in range(turns + 1):  # the first fills the disk's cache
            for name, words in programs.items():
                seconds = _cpu(words, site)
                if turn:
                    spent[name].append(seconds)
    past = [verify - helped for verify, helped in zip(spent["verify"], spent["help"], strict=True)]
    middle = {name: median(all_) for name, all_ in spent.items()}
    return Started(
        middle["help"], middle["bare"], middle["verify"], middle["heavy"], ratio(spent["help"], spent["bare"]),
        ratio(spent["verify"], spent["heavy"]), median(past), _decide(turns), middle["python"], middle["private"],
        ratio(spent["verify"], spent["help"]), ratio(spent["private"], spent["help"]),
    )  # fmt: skip


def _decide(turns: int) -> float:
    release, trust = make_release(), make_trust()
    turn = clocked(lambda: verification.verify(Release.from_files(release.files), trust=trust, now=NOW))
    turn()
    return median(turn().cpu for _ in range(turns))


def _pin(root: Path) -> None:
    before = os.environ.get("EMBHUB_HOME")
    os.environ["EMBHUB_HOME"] = str(root / "home")
    try:
        export = root / "trust.json"
        export.write_bytes(make_export())
        roots.add_root(str(export), fingerprint=ROOT.fingerprint)
    finally:
        os.environ.pop("EMBHUB_HOME") if before is None else os.environ.update(EMBHUB_HOME=before)


def _cpu(words: Sequence[str], environment: dict[str, str]) -> float:
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words[2:4]} ended with {process.returncode}: {said.decode()[-500:]}")
    return usage.ru_utime + usage.ru_stime
