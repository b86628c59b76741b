"""A plugin of pytest for `.ci/test-anywhere`: one case of each test without torch, in an order that a seed shuffles.

What depends on the machine shows in any case of a test; its breadth is `make test`'s. Files are shuffled, and the tests
in each. Where tests share a fixture of their file or folder, one goes on with what another left, and they keep their
order.

Two users run tests, each on other versions of Python and in another order. A file that asks who runs it, or which
Python does, is run by both. Of the other files a quarter is run, each by one user: its name decides. `make
test` runs all.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.first_cases import first_of

TORCH = {"torch", "diffusers", "transformers"}
TESTS = Path(__file__).parents[1]
NEEDS_TORCH = [
    TESTS / name
    for name in ("embhub/diffusion", "bases", "bench", "embhub/test_bad_embeddings.py", "embhub/test_bad_images.py",
                 "test_imports.py")
]  # fmt: skip
"""Beside these, files that import it at their top."""

ASKS = re.compile(
    r"\b(?:get(?:res|e)?[ug]ids?|set(?:res|e)?[ug]ids?|getuser|expanduser|Path\.home|pwd|grp|chmod|l?chown|st_mode|st_[ug]id"
    r"|umask|0o[0-7]+|setpriv|useradd|mount|PermissionError|EACCES|EPERM|W_OK|R_OK|version_info|python_requires)\b"
)
"""Words of a file whose outcome may differ with the user, or with the version of Python."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--shuffle` takes the seed, `--part` which files are run."""
    parser.addoption("--shuffle", type=int, required=True, help="seed of the order of files, and of tests in each")
    parser.addoption(
        "--part", type=int, choices=(0, 1), help="files that ask who runs them, and an eighth of the others"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what cannot run without torch, and the other parts; None lets others decide."""
    part = config.getoption("part")
    is_left_out = collection_path in NEEDS_TORCH or (part is not None and not belongs(collection_path, part))
    return True if is_left_out else None


def belongs(path: Path, part: int) -> bool:
    """Whether a path is collected with this part: folders are, and files that are no tests."""
    if not path.match("test_*.py") or part_of(path) == part:
        return True
    return ASKS.search(path.read_text(encoding="utf-8")) is not None


def part_of(path: Path) -> int:
    """Where a file of tests is run that asks for nothing, the same on every machine; from 2 on in no part."""
    return zlib.crc32(f"{path.parent.name}/{path.name}".encode()) % 8


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A file that imports torch is skipped; any other failed import fails."""
    report = yield
    if report.failed and any(f"No module named '{name}'" in str(report.longrepr) for name in TORCH):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, "Skipped: needs torch")
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """After `-m` has selected: keep the first case of each test, and shuffle."""
    order = random.Random(config.getoption("shuffle"))
    files: dict[Path, list[pytest.Item]] = {}
    for item in first_of(items):
        files.setdefault(item.path, []).append(item)
    items.clear()
    for path in order.sample(sorted(files), len(files)):
        tests = files[path]
        items += tests if any(map(_shares, tests)) else order.sample(tests, len(tests))


def _shares(item: pytest.Item) -> bool:
    """Whether this test uses a fixture that is made once for its file, or once for a folder."""
    found = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else []
    return any(
        fixture.scope == "module" or (fixture.scope == "session" and "/" in fixture.baseid)
        for fixtures in found
        for fixture in fixtures
    )
