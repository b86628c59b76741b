"""The page on the three papers: each thing they did has a command, a test and a page with figures, and all exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from embhub.cli import root

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/explanation/three-papers.md"
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if "::" in line
]


def test_every_paper_is_there() -> None:
    assert {row[0] for row in ROWS} == {"Budget", "Polyp", "Adapting"} and len(ROWS) >= 12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1]}")
def test_what_a_paper_did_has_a_command_a_test_and_a_page(row: list[str]) -> None:
    _, _, line, test, page = row
    tool, *words = line.split()
    command: click.Command = root
    assert tool == "embhub"
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found
    assert set(words) <= {option for parameter in command.params for option in parameter.opts}, line
    file, function = test.split("::")
    tree = ast.parse((ROOT / file).read_text())
    assert function in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links and all((PAGE.parent / link).exists() for link in links)
