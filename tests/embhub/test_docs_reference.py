"""The reference says what the code does: commands, options, error kinds, exit codes and rules, nothing invented."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from embhub import errors, refusals
from embhub.cli import root
from embhub.cli.this_machine.reference import render, walk

ROOT = Path(__file__).parents[2]
ERRORS = (ROOT / "docs/reference/errors.md").read_text()
FAMILIES = [errors.UsageError, errors.ArtifactError, errors.VerificationError, errors.RegistryError]
FAMILIES += [errors.PrivacyError, errors.ConfigError, errors.PolicyError]


def kinds() -> dict[str, list[str]]:
    """Every error class of the package by name, with the names of its bases, read from the sources."""
    classes: dict[str, list[str]] = {}
    for path in (ROOT / "embhub").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).extend(ast.unparse(base).rpartition(".")[2] for base in node.bases)
    found = {"EmbhubError"}
    while more := {name for name, bases in classes.items() if set(bases) & found} - found:
        found |= more
    return {name: classes.get(name, []) for name in found}


def test_the_command_reference_has_every_command_with_its_options() -> None:
    sections = dict(part.split("\n", 1) for part in re.split(r"^#{2,} (?=embhub)", render(), flags=re.M))
    for path, command in walk(root):
        shown = sections[" ".join(path)]
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert re.search(rf"^\| `[^`]*{option.opts[0]}\b", shown, re.M), (path, option.name)


def test_every_kind_of_error_is_documented_and_none_is_invented() -> None:
    known = set(kinds())
    written = set(re.findall(r"`(?:\w+\.)?([A-Z]\w+)`", ERRORS))
    assert known - written - {"ReleaseRefusedError"} == set()
    assert written - known == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_families_have_their_codes(family: type[errors.EmbhubError]) -> None:
    assert f"| {family.exit_code} | `{family.__name__}` |" in ERRORS


def test_rules_are_the_ones_in_reports() -> None:
    rows = dict(re.findall(r"^\| `(?:refusals\.)?(\w+)` \| `([\w-]+)` \|", ERRORS, re.M))
    coded = {
        name: kind.rule
        for name, kind in vars(refusals).items()
        if isinstance(kind, type)
        and issubclass(kind, refusals.ReleaseRefusedError)
        and kind is not refusals.ReleaseRefusedError
    }
    assert rows == coded
