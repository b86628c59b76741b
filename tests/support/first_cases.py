"""A plugin of pytest: one case of each test, and every case in the folders that `--all-cases` names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest


def first_of(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The first case of each test."""
    first: dict[str, pytest.Item] = {}
    for item in items:
        first.setdefault(item.nodeid.partition("[")[0], item)
    return list(first.values())


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all-cases` may be given more than once."""
    parser.addoption("--all-cases", type=Path, action="append", default=[], help="a folder whose cases are all run")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """After `-m` has selected; what is left out is counted in pytest's last line."""
    folders, first = [config.rootpath / folder for folder in config.getoption("all_cases")], set(first_of(items))
    left_out = [item for item in items if item not in first and not set(folders) & set(item.path.parents)]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]
