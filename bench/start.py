"""What the `embhub` command costs before and beyond its work: `python -m bench.start`.

CPU time of its help beside a bare click program, and of a `verify`; each a new process, its modules compiled as an
installer does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import machine
from bench.measurement import Ratio, clocked, ratio
from embhub.client.trusted import roots
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
HELP_GOAL = 2.5
VERIFY_GOAL = 0.050  # seconds of CPU time, its modules loaded
TURNS = 7


@dataclass(frozen=True)
class Started:
    """CPU seconds, medians: help, a bare program's help, a verify, one of a release with a privacy claim.

    `helped` is help over bare, turn by turn; `decision` is what a verify takes once its modules are loaded.
    """

    help: float
    bare: float
    verify: float
    private: float
    decision: float
    helped: Ratio


def measure(*, turns: int = TURNS) -> Started:
    """Each program `turns` times, one after the other, each a new process; its CPU time, not ours."""
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
            "private": [sys.executable, "-m", "embhub", "verify", str(root / "private")],
        }
        spent: dict[str, list[float]] = {name: [] for name in programs}
        for turn in range(turns + 1):  # the first fills the disk's cache
            for name, words in programs.items():
                seconds = _cpu(words, site)
                if turn:
                    spent[name].append(seconds)
    middle = {name: median(all_) for name, all_ in spent.items()}
    return Started(**middle, decision=_decide(turns), helped=ratio(spent["help"], spent["bare"]))


def render(found: Started) -> str:
    """The table; misses are called misses."""
    helped = "met" if found.helped.median <= HELP_GOAL else "**missed**"
    decided = "met" if found.decision <= VERIFY_GOAL else "**missed**"
    rows = (
        ("a bare click program's help", found.bare, ""),
        ("`embhub --help`", found.help, f"{HELP_GOAL:g} times the bare one: {found.helped}, {helped}"),
        ("`embhub verify` of a folder", found.verify, ""),
        ("the same with a privacy claim", found.private, ""),
        ("a verify once its modules are loaded", found.decision, f"{VERIFY_GOAL * 1000:.0f} ms: {decided}"),
    )
    lines = ["| measured | CPU time | goal |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {spent * 1000:.1f} ms | {goal} |" for what, spent, goal in rows), ""])


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(prog="python -m bench.start", description=__doc__).parse_args()
    print(machine.table())
    print(render(measure()))


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


if __name__ == "__main__":
    main()
