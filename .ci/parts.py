"""The parts of `.ci/run`, each red or green, and a table of them: `python3 .ci/parts.py [PART...]`.

No part is ended by a clock, and a program that a part needs and that cannot be had makes it red. EMBHUB_TOOLS names a
folder in which the part `tools` leaves its programs and later runs of single parts find them; without it they are gone
at the end. Only the standard library is needed: it runs before anything is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LANES: Sequence[Sequence[Sequence[str]]] = (
    (("setup",), ("tools", "versions")),
    (("check", "docs", "test", "test-anywhere"), ("test-engines", "test-thorough", "test-numerical")),
)
"""What runs after what. Each part leaves processors idle when it is alone: its tests wait for servers and clocks.

All that is installed is installed by the first step: a test that runs meanwhile would not find it.
"""

PARTS = [part for step in LANES for lane in step for part in lane]
ENDING = re.compile(r"^(?:=+ )?(?=[^=]*\d+ (?:passed|failed|skipped|error|deselected))[^=]* in \d[\d.]*s\b.*$")
COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?)\b")
SKIPPED = re.compile(r"^SKIPPED \[(\d+)\] \S+: (.*)$")
FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/.*)$")
SETTING = re.compile(r"PYTHON|PYTEST_|EMBHUB_(?!TEST_DATA$)")


@dataclass
class Outcome:
    """What one part did; counts are of pytest's closing lines, seconds also of the processes it started."""

    code: int = -1
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    ending: str = ""

    def read(self, line: str) -> None:
        """Take what pytest says in this line."""
        if ENDING.match(line):
            self.ending = line
            for number, what in COUNT.findall(line):
                self.counts["failed" if what.startswith("error") else what] += int(number)
        elif (match := SKIPPED.match(line)) is not None:
            self.reasons[match[2]] += int(match[1])
        elif (match := FAILED.match(line)) is not None:
            self.failures.append(match[1])


def command(part: str, tools: Path) -> list[str]:
    """What a part runs."""
    scripts = {"tools": [".ci/tools", str(tools)], "setup": ["make", "everything"], "versions": [".ci/versions"]}
    return scripts.get(part, ["make", part])


def environment(tools: Path) -> dict[str, str]:
    """This process's environment without its settings, and where tests find programs; none of these may be absent.

    A caller's PYTHONUNBUFFERED or EMBHUB_HOME hides what a user without them sees; the folder of real images stays.
    Python compiles what is imported when it is; pip would compile all that is installed, one file after the other.
    """
    inherited = {name: value for name, value in os.environ.items() if not SETTING.match(name)}
    return {
        **inherited,
        "PIP_NO_COMPILE": "1",
        "WORKERS": "2",
        "EMBHUB_REQUIRE_TOOLS": "1",
        "EMBHUB_NODE_FOLDER": str(tools / "node"),
        "EMBHUB_MODEL_SIGNING": str(tools / "model-signing"),
        "EMBHUB_ROCRATE_VALIDATOR": str(tools / "rocrate-validator"),
        "EMBHUB_HEALTHDCAT_SENSITIVE_SHAPES": str(tools / "healthdcat/dh_healthdcat/validate/shapes"),
        "EMBHUB_LITEWITNESS": str(tools / "litewitness"),
        "EMBHUB_TILE_READER": str(tools / "tile-reader"),
    }


def run(part: str, tools: Path, outcome: Outcome) -> None:
    """Run one part to its end; its lines are printed after its name as they come."""
    begun = time.monotonic()
    process = subprocess.Popen(
        command(part, tools),
        cwd=ROOT,
        env=environment(tools),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    for line in process.stdout or ():
        outcome.read(line.rstrip())
        sys.stdout.write(f"{part:15}| {line.rstrip()}\n")
        sys.stdout.flush()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = outcome.code = os.waitstatus_to_exitcode(status)
    outcome.seconds, outcome.cpu_seconds = time.monotonic() - begun, used.ru_utime + used.ru_stime


def run_lane(lane: Sequence[str], tools: Path, outcomes: Mapping[str, Outcome]) -> None:
    """One part after the other; one that is red does not keep the next from running."""
    for part in lane:
        run(part, tools, outcomes[part])


def table(outcomes: Mapping[str, Outcome]) -> str:
    """A row for each part; below it why tests were skipped, and which failed."""
    rows = [("part", "", "passed", "failed", "skipped", "seconds", "CPU seconds")]
    for part, outcome in outcomes.items():
        counted = [str(outcome.counts[what]) if outcome.ending else "" for what in ("passed", "failed", "skipped")]
        colour = "green" if outcome.code == 0 else "RED"
        rows.append((part, colour, *counted, f"{outcome.seconds:.0f}", f"{outcome.cpu_seconds:.0f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for part, outcome in outcomes.items():
        lines += [f"skipped in {part}: {count}  {why}" for why, count in sorted(outcome.reasons.items())]
    for part, outcome in outcomes.items():
        lines += [f"failed in {part}: {what}" for what in outcome.failures]
    return "\n".join(lines)


def main(chosen: Sequence[str]) -> int:
    """Run the parts in order; 1 where one is red. Without set-up nothing else is tried."""
    unknown = set(chosen) - set(PARTS)
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}\n")
        return 2
    wanted = [part for part in PARTS if not chosen or part in chosen]
    outcomes: dict[str, Outcome] = {}
    begun, kept = time.monotonic(), os.environ.get("EMBHUB_TOOLS")
    tools = Path(kept or tempfile.mkdtemp(prefix="tools"))
    try:
        for step in LANES:
            lanes = [[part for part in lane if part in wanted] for lane in step]
            outcomes |= {part: Outcome() for lane in lanes for part in lane}
            threads = [threading.Thread(target=run_lane, args=(lane, tools, outcomes)) for lane in lanes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if any(outcomes[part].code for part in ("tools", "setup") if part in outcomes):
                break
    finally:
        if not kept:
            shutil.rmtree(tools, ignore_errors=True)
    sys.stdout.write(f"\n{table(outcomes)}\nin all {time.monotonic() - begun:.0f} seconds\n")
    endings = [outcomes[part].ending for part in ("test", *outcomes) if part in outcomes and outcomes[part].ending]
    if endings:
        sys.stdout.write(f"{endings[0]}\n")
    return int(any(outcome.code for outcome in outcomes.values()))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
