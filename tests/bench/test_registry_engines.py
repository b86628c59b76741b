"""The table of the registry's tests on both engines: what pytest reported, and what the page shows of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import registry_engines
from tests.conformance.driver.listed import CALLS

MODULE = """
import pytest

def test_passes(): pass
def test_fails(): assert False
@pytest.mark.skip(reason="for a reason")
def test_skipped(): pass
@pytest.fixture
def broken(): raise OSError
def test_error(broken): pass
"""


def report(folder: Path, name: str) -> Path:
    """What pytest says of a module with one test of each outcome."""
    module = folder / "tests" / name
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(MODULE)
    words = [sys.executable, "-m", "pytest", "-q", "-pno:cacheprovider", "-c/dev/null", f"--rootdir={folder}"]
    subprocess.run([*words, f"--junitxml={folder}/{module.stem}.xml", module], check=False, capture_output=True)
    return folder / f"{module.stem}.xml"


def test_outcomes_are_counted_by_suite(tmp_path: Path) -> None:
    made = [report(tmp_path, name) for name in ("registry/wire/test_one.py", "registry/test_main.py")]
    found = registry_engines.read([*made, made[0]])
    each = {"passed": 1, "failed": 2, "skipped": 1}
    assert found["suites"] == {"wire": each, "the server as a whole": each}
    assert found["skipped"] == {"for a reason": 2} and found["again"] == []
    results = {"day": "2026-01-01", "engines": {"sqlite": found}}
    assert registry_engines.table(results).splitlines()[-3:] == [
        "| all | 2 | 4 | 2 |", "", "Skipped on SQLite and a folder: 2 (for a reason).",
    ]  # fmt: skip


def test_what_passed_alone_is_named(tmp_path: Path) -> None:
    first = report(tmp_path, "registry/wire/test_one.py")
    assert registry_engines.failed([first]) == [
        "tests/registry/wire/test_one.py::test_fails", "tests/registry/wire/test_one.py::test_error",
    ]  # fmt: skip
    again = tmp_path / "again.xml"
    again.write_text(
        '<testsuite><testcase classname="tests.registry.wire.test_one" name="test_fails"/>'
        '<testcase classname="tests.registry.wire.test_one" name="test_error"><error/></testcase></testsuite>'
    )
    found = registry_engines.read([first], again)
    assert found["suites"] == {"wire": {"passed": 2, "failed": 1, "skipped": 1}} and found["again"] == ["test_fails"]
    shown = registry_engines.table({"day": "2026-01-01", "engines": {"sqlite": found}})
    assert "passed alone: `test_fails`." in shown


def test_a_report_without_tests_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "none.xml"
    empty.write_text("<testsuites><testsuite/></testsuites>")
    with pytest.raises(ValueError, match=r"none\.xml has no tests"):
        registry_engines.read([empty])


def test_suites_are_told_by_their_module() -> None:
    assert registry_engines.suite_of("tests.conformance.test_clients") == "stock clients, and the requests beneath"
    assert registry_engines.suite_of("tests.registry.operation.test_crashes") == "servers killed at any point"
    assert registry_engines.suite_of("tests.registry.people.test_auth.TestClass") == "people"


def test_of_the_stock_clients_the_newest_makes_every_call_and_the_others_none() -> None:
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-pno:cacheprovider",
        "--collect-only",
        *registry_engines.NEWEST_CLIENT,
    ]
    done = subprocess.run(
        [*words, *registry_engines.PARTS["clients"]],
        cwd=registry_engines.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    calls = [line for line in done.stdout.splitlines() if "::test_call[" in line]
    assert len(calls) == len(CALLS) and all(line.endswith("-2.x]") for line in calls)
    assert "test_crashes.py::test_fifteen_kills" in done.stdout and "test_wire.py::" in done.stdout


def test_every_part_is_there_to_be_run() -> None:
    for words in (*registry_engines.PARTS.values(), registry_engines.ALL_CASES):
        assert all((registry_engines.ROOT / word).exists() for word in words if word.startswith("tests/"))
