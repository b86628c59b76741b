"""The reference says what the code does: commands, options, error kinds, exit codes and rules, nothing invented."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from embhub import errors, refusals
from embhub.cli.reference import render

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


def test_the_command_reference_is_what_the_commands_say() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text()
    assert page == render(), "python -m embhub.cli.reference > docs/reference/cli.md"


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
