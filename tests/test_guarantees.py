"""What the threat model and the page for officers promise can be checked: tests, files, commands, figures exist."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import click
import pytest

from embhub.cli import root as embhub_cli
from embhub.evidence.document import Evidence
from embhub.evidence.sections.guarantee import per_hundred
from embhub.evidence.sections.regulation import AS_OF
from embhub.privacy import rdp, wording
from embhub_registry.cli import root as registry_cli

ROOT = Path(__file__).parents[1]
THREATS = (ROOT / "docs/threat-model.md").read_text()
OFFICERS = (ROOT / "docs/privacy-for-dpos.md").read_text()
PRIVATELY = (ROOT / "docs/how-to/train-with-privacy.md").read_text()
HOSTILE = (ROOT / "docs/reference/hostile-input.md").read_text()
REFERENCE = (ROOT / "docs/reference/evidence-pack.md").read_text()
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in THREATS.split("## Each guarantee")[1].split("## What remains")[0].splitlines()
    if "::" in line
]
COMMANDS = sorted({
    found
    for page in (THREATS, OFFICERS, REFERENCE)
    for found in re.findall(r"`((?:embhub|embhub-registry) [^`]+)`", page)
})  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_guarantee_names_a_mechanism_a_test_and_a_command(row: list[str]) -> None:
    _, mechanism, test, command = row
    assert (ROOT / mechanism).is_file()
    file, function = test.split("::")
    defined = [node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert function in defined
    assert command in COMMANDS


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_and_options_exist(line: str) -> None:
    words = line.split()
    command: click.Command = {"embhub": embhub_cli, "embhub-registry": registry_cli}[words.pop(0)]
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found
    options = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    assert {word for word in words if word.startswith("--")} <= options


TRIED = tomllib.loads((ROOT / "tests/attacks.toml").read_text())
ATTACKS = [(attack, test) for seen in TRIED.values() for named in seen.values() for attack, test in named.items()]


def test_the_page_lists_the_attacks_by_who_sees_them() -> None:
    for section, heading in (("copies", "## Registries and copies"), ("log", "## The transparency log")):
        rows = re.findall(r"^\| (.+) \| (.+) \|$", HOSTILE.split(heading)[1].split("\n## ")[0], re.M)[1:]
        assert rows == [(seen, "; ".join(named)) for seen, named in TRIED[section].items()]


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row[0])
def test_each_attack_on_a_site_or_the_log_names_its_test(row: tuple[str, str]) -> None:
    file, function = row[1].split("::")
    body = ast.parse((ROOT / file).read_text()).body
    assert function in [node.name for node in body if isinstance(node, ast.FunctionDef)]


CLAUSES = (ROOT / "docs/reference/tuf-clauses.md").read_text()


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[^`]+)`", CLAUSES))))
def test_each_clause_of_tuf_names_a_test_that_is_there(named: str) -> None:
    file, function = named.split("::")
    body = ast.parse((ROOT / file).read_text()).body
    assert function in [node.name for node in body if isinstance(node, ast.FunctionDef)]


def test_each_clause_of_tuf_names_code_that_is_there() -> None:
    rows = [line.split(" | ") for line in CLAUSES.splitlines() if "`embhub/" in line]
    assert len(rows) > 20
    assert all((ROOT / row[2].strip("`")).is_file() for row in rows)


def test_every_attack_on_the_log_is_in_the_table() -> None:
    """Those that a registry could try, of the design's list."""
    named = " ".join(row[0] for row in ATTACKS)
    for attack in [
        "split view", "same-size fork", "rewrite", "truncation", "bad inclusion proof", "bad consistency proof",
        "index past the size", "leaf taken for a node", "wrong origin", "cosignature of another size",
        "not canonical", "dropped audit design", "older ledger put back", "withdrawn release on a mirror",
    ]:  # fmt: skip
        assert attack in named, attack


def test_there_are_guarantees_of_every_kind() -> None:
    assert len(ROWS) >= 25
    named = " ".join(row[2] for row in ROWS)
    assert all(
        part in named for part in ("tampering", "embhub/privacy/", "test_budget", "test_what_leaves", "admission")
    )


def test_figures_for_officers_are_the_codes_own() -> None:
    rows = re.findall(r"^\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", OFFICERS, re.M)
    assert [float(row[0]) for row in rows] == [0.5, 1, 2, 4, 8]
    for epsilon, *shares in rows:
        computed = [rdp.largest_tpr(float(epsilon), delta=1e-5, fpr=rate) for rate in (0.001, 0.01, 0.1)]
        assert shares == [per_hundred(share) for share in computed]
    assert "average over the chance in training" in " ".join(OFFICERS.split())


def test_all_pages_call_the_same_epsilon_weak() -> None:
    weak = next(e / 10 for e in range(1, 100) if wording.is_large(e / 10, delta=1e-5))
    assert rdp.largest_tpr(weak, delta=1e-5, fpr=0.01) >= 0.99
    assert f"from about {weak:g} on" in OFFICERS and f"from about {weak:g} on" in PRIVATELY


def test_no_page_nor_command_recommends_a_weak_epsilon() -> None:
    pages = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", *ROOT.glob("embhub/**/*.py"), *ROOT.glob("examples/*.py")]
    advice = re.compile(r"(?:--epsilon[ =]|budget cap |such as |epsilon |or )(\d+(?:\.\d+)?)(?= |`|\"|,|;|$)", re.M)
    told = [
        (page.name, line)
        for page in pages
        for line in page.read_text().splitlines()
        if re.search(r"--epsilon|budget cap|such as|are usual", line)
        for said in (advice.findall(line) if "epsilon" in line or "cap" in line else [])
        if wording.is_large(float(said), delta=1e-5)
    ]
    assert told == []


@pytest.mark.parametrize("page", [THREATS, OFFICERS], ids=["threats", "officers"])
def test_pages_are_dated_advise_nothing_and_promise_nothing(page: str) -> None:
    assert "Not legal advice" in page and AS_OF in page
    assert not re.search(r"PHI-free|\banonymous\b|\banonymi[sz]ed\b|GDPR.compliant", page, re.I)


def test_the_reference_lists_every_member() -> None:
    table = REFERENCE.split("## `evidence.json`")[1].split("\n### ")[0]
    named = {name for cell in re.findall(r"^\| (`[^|]+) \|", table, re.M) for name in re.findall(r"`(\w+)`", cell)}
    assert named == {field.alias or name for name, field in Evidence.model_fields.items()}
