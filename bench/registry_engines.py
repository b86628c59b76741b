"""The registry's tests on both engines, and the table of their results: `python -m bench.registry_engines`.

Each engine runs the same tests in two parts: the quick ones of `tests/registry`, and stock clients with what kills
servers. With `--thorough` the slow ones of `tests/registry` are a third part. CI runs `--engine postgresql
--first-cases` beside its other tests, which are on SQLite and a folder: all cases of the tests of database and store,
one case of each other test but those of pages, wire and mirrors, and the newest of the stock clients. `--reports
FOLDER` keeps the reports of pytest (JUnit XML), and does not run again what has one there. On a machine that others
use, `--again` runs each test that failed once more, alone: some measure time or memory. The table names those that
passed then.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from tests.conformance.environments import CLIENTS
from tests.support import postgres, tools

ROOT = Path(__file__).parents[1]
ENGINES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "sqlite": ("SQLite and a folder", {}),
    "postgresql": (
        "PostgreSQL",
        {"EMBHUB_TEST_DATABASE": "postgresql"},
    ),
}
PARTS: Mapping[str, Sequence[str]] = {
    "quick": ("-m", "not thorough", "tests/registry"),
    "clients": (
        "tests/conformance/test_clients.py", "tests/conformance/test_wire.py",
        "tests/registry/operation/test_crashes.py",
    ),
}  # fmt: skip
ALL_CASES = ("tests/registry/database", "tests/registry/storage")
"""Cases of other tests differ in what is asked, not in what asks the engine."""
SAME_QUESTIONS = ("tests/registry/pages", "tests/registry/static", "tests/registry/wire")
"""What they ask of the engine, tests of the other folders ask, too."""
NEWEST_CLIENT = ("-k", f"not test_call or {list(CLIENTS)[-1]}")
"""Major versions of the client differ in what they ask; all of them ask SQLite in `make test-thorough`."""
THOROUGH: Mapping[str, Sequence[str]] = {"thorough": ("-m", "thorough and not exhaustive", "tests/registry")}
OUTCOMES = ("passed", "failed", "skipped")
Suites = dict[str, dict[str, int]]


def run(engine: str, tests: Sequence[str], report: Path, *, workers: int = 2) -> None:
    """These tests on one engine, with what pytest prints.

    Raises:
        ChildProcessError: it ended otherwise than by passing or failing tests.
    """
    words = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HYPOTHESIS_PROFILE": "few", **ENGINES[engine][1]}
    done = subprocess.run([*words, *tests, f"--junitxml={report}"], cwd=ROOT, env=environment, check=False)
    if done.returncode not in (0, 1):
        raise ChildProcessError(f"pytest ended with {done.returncode}")


def suite_of(module: str) -> str:
    """Which row of the table a test belongs to, by its module."""
    parts = module.split(".")
    if parts[1] == "conformance":
        return "stock clients, and the requests beneath"
    if parts[-1] == "test_crashes":
        return "servers killed at any point"
    return parts[2] if len(parts) > 3 else "the server as a whole"


def cases_of(report: Path) -> Iterator[tuple[str, str, str, str]]:
    """The tests of a report: module, name, outcome (an error is a failure), and why it was skipped.

    Raises:
        ValueError: it has no tests.
    """
    cases = list(ElementTree.parse(report).iter("testcase"))
    if not cases:
        raise ValueError(f"{report.name} has no tests")
    for case in cases:
        skipped, kinds = case.find("skipped"), {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "passed" if skipped is None else "skipped"
        reason = "" if skipped is None else skipped.get("message", "")
        yield case.get("classname", ""), case.get("name", ""), outcome, reason


def failed(reports: Sequence[Path]) -> list[str]:
    """The tests that failed, as pytest takes them."""
    return [
        f"{module.replace('.', '/')}.py::{name}"
        for report in reports
        for module, name, outcome, _ in cases_of(report)
        if outcome == "failed"
    ]


def read(reports: Sequence[Path], again: Path | None = None) -> dict[str, Any]:
    """What pytest's reports say; of a test that is in `again`, what that one says.

    Returns:
        `suites` has tests by suite and outcome, `skipped` why tests were skipped, with how many each, and `again` the
        tests that passed at their second run.

    Raises:
        ValueError: a report has no tests.
    """
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for report in reports:  # a test in two parts counts once, as what it did worst
        for module, name, outcome, reason in cases_of(report):
            if found.get((module, name), ("",))[0] != "failed":
                found[module, name] = outcome, reason
    second = {case[:2]: case[2] for case in cases_of(again)} if again else {}
    suites: Suites = {}
    for (module, name), (outcome, _) in found.items():
        row = suites.setdefault(suite_of(module), dict.fromkeys(OUTCOMES, 0))
        row[second.get((module, name), outcome)] += 1
    reasons = Counter(reason for _, reason in found.values() if reason)
    passed = sorted(name for (_, name), outcome in second.items() if outcome == "passed")
    return {"suites": dict(sorted(suites.items())), "skipped": dict(reasons.most_common()), "again": passed}


def table(results: Mapping[str, Any]) -> str:
    """The results as a table: a row for each suite, then why tests were skipped."""
    engines = [name for name in ENGINES if name in results["engines"]]
    suites = {suite: None for name in engines for suite in results["engines"][name]["suites"]}
    heads = [f"{ENGINES[name][0]}: {outcome}" for name in engines for outcome in OUTCOMES]
    lines = [f"| tests on {results['day']} | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for suite in [*suites, "all"]:
        cells = [f"{count:,}" for name in engines for count in _counts(results["engines"][name]["suites"], suite)]
        lines.append(f"| {suite} | {' | '.join(cells)} |")
    for name in engines:
        skipped = results["engines"][name]["skipped"]
        told = "; ".join(f"{count} ({reason})" for reason, count in skipped.items())
        lines += ["", f"Skipped on {ENGINES[name][0]}: {told or 'none'}."]
        if again := results["engines"][name]["again"]:
            lines += ["", f"Failed at first, beside other programs, and passed alone: `{'`, `'.join(again)}`."]
    return "\n".join(lines)


def _counts(suites: Suites, suite: str) -> Iterator[int]:
    for outcome in OUTCOMES:
        if suite == "all":
            yield sum(row[outcome] for row in suites.values())
        else:
            yield suites.get(suite, {}).get(outcome, 0)


def measure(
    engines: Sequence[str], folder: Path, *, parts: Mapping[str, Sequence[str]] = PARTS, twice: bool = False
) -> dict[str, Any]:
    """Run what has no report in the folder yet; what failed runs `twice` if asked.

    Raises:
        ChildProcessError: pytest ended otherwise than by passing or failing tests.
    """
    found = {}
    for engine in engines:
        reports = [folder / f"{engine}-{part}.xml" for part in parts]
        for part, report in zip(parts, reports, strict=True):
            if not report.exists():
                print(f"{part} tests on {ENGINES[engine][0]}", flush=True)
                run(engine, parts[part], report)
        again = folder / f"{engine}-again.xml"
        if twice and not again.exists() and (tests := failed(reports)):
            run(engine, tests, again, workers=0)
        found[engine] = read(reports, again if again.exists() else None)
    return {"day": date.today().isoformat(), "engines": found}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=[*ENGINES, "both"], default="both")
    parser.add_argument("--reports", type=Path)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--thorough", action="store_true", help="the slow tests of the registry, too")
    parser.add_argument("--first-cases", action="store_true", help="one case of each test, where engines matter less")
    chosen = parser.parse_args()
    if chosen.engine != "sqlite" and postgres.programs() is None:
        parser.error(tools.reason("postgresql"))
    parts = {**PARTS, **THOROUGH} if chosen.thorough else dict(PARTS)
    if chosen.first_cases:
        whole = [word for folder in ALL_CASES for word in ("--all-cases", folder)]
        less = [word for folder in SAME_QUESTIONS for word in ("--ignore", folder)]
        parts["quick"] = ("-p", "tests.support.first_cases", *whole, *less, *parts["quick"])
        parts["clients"] = (*NEWEST_CLIENT, *parts["clients"])
    with tempfile.TemporaryDirectory(prefix="embhub-engines-") as made:
        folder = chosen.reports or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        engines = list(ENGINES) if chosen.engine == "both" else [chosen.engine]
        results = measure(engines, folder, parts=parts, twice=chosen.again)
    if chosen.engine == "both":  # of one engine pytest's own last line is enough
        print(table(results))
    return int(any(row["failed"] for name in engines for row in results["engines"][name]["suites"].values()))


if __name__ == "__main__":
    sys.exit(main())
