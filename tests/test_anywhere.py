"""The plugins of `make test-anywhere` and `make test-engines`: one case of each test, and an order of a seed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.anywhere import NEEDS_TORCH

ROOT = Path(__file__).parents[1]
TESTS = """import pytest

@pytest.mark.parametrize("number", range(3))
def test_cases(number):
    pass
""" + "\n".join(f"def test_{letter}():\n    pass\n" for letter in "abcdef")


def collected(folder: Path, *plugin: str) -> list[str]:
    words = ["-q", "--collect-only", "-p", "no:cacheprovider", "-p", *plugin]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, f"--rootdir={folder}", f"--confcutdir={folder}", str(folder)],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if "::" in line]


def shuffled(folder: Path, seed: int) -> list[str]:
    return collected(folder, "tests.support.anywhere", "--shuffle", str(seed))


def test_one_case_of_each_test_in_an_order_of_the_seed(tmp_path: Path) -> None:
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(TESTS)
    first, again, other = shuffled(tmp_path, 1), shuffled(tmp_path, 1), shuffled(tmp_path, 2)
    assert first == again and first != other and sorted(first) == sorted(other)
    assert len(first) == 2 * 7 and sum("test_cases[0]" in name for name in first) == 2
    files = [name.partition("::")[0] for name in first]
    assert files == sorted(files, reverse=files[0] > files[-1]), "what a file shares is made once"


def test_a_file_is_in_one_part_or_in_none_and_in_both_if_it_asks_for_the_user(tmp_path: Path) -> None:
    for number in range(48):
        (tmp_path / f"test_file_{number}.py").write_text("def test_it():\n    pass\n")
    (tmp_path / "test_modes.py").write_text("def test_it(tmp_path):\n    tmp_path.chmod(0o700)\n")
    one, other = (set(collected(tmp_path, "tests.support.anywhere", "--shuffle", "1", "--part", part)) for part in "01")
    assert {name.partition("::")[0] for name in one & other} == {"test_modes.py"}
    assert 6 < len(one | other) < 24 and min(len(one), len(other)) > 3


def test_all_cases_of_some_folders_and_one_of_each_other_test(tmp_path: Path) -> None:
    for folder in ("whole", "in_part"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"test_{folder}.py").write_text(TESTS)
    found = collected(tmp_path, "tests.support.first_cases", "--all-cases", "whole")
    assert len(found) == 9 + 7 and sum("in_part" in name and "[" in name for name in found) == 1


CASES = """import pytest
from tests.support.quick import quick

@pytest.mark.parametrize("kind", quick("ab", thorough="cd", exhaustive="e"))
def test_both(kind):
    pass

@pytest.mark.thorough
@pytest.mark.parametrize("kind", "abc")
def test_thorough(kind):
    pass

@pytest.mark.parametrize("kind", quick("", thorough="ab", exhaustive="c"))
def test_late(kind):
    pass
"""
CONFTEST = """import pytest
from tests.support import quick

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    quick.ALL_CASES = {config.rootpath / "whole"}
    for item in list(quick.further_cases(items)):
        item.add_marker("exhaustive")
"""


def test_of_a_thorough_test_one_case_is_not_exhaustive_and_none_beside_a_quick_one(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for folder in ("whole", "in_part"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"test_{folder}.py").write_text(CASES)

    def cases(which: str) -> list[str]:
        found = collected(tmp_path, "no:cacheprovider", "-W", "ignore", "-m", which)
        return [name.partition("test_in_part.py::")[2] for name in found if "in_part" in name]

    assert cases("not thorough") == ["test_both[a]", "test_both[b]"]
    assert cases("thorough and not exhaustive") == ["test_thorough[a]", "test_late[a]"]
    assert len(cases("exhaustive")) == 3 + 2 + 2
    whole = collected(tmp_path, "no:cacheprovider", "-W", "ignore", "-m", "thorough and not exhaustive")
    assert len(whole) == 2 + (2 + 3 + 2)


def test_what_is_left_out_is_there() -> None:
    assert all(path.exists() for path in NEEDS_TORCH)
