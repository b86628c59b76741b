"""The documents say what the code does: links lead somewhere, commands and options exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from embhub.cli import root as embhub_cli
from embhub_registry.cli import root as registry_cli

ROOT = Path(__file__).parents[1]
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]
TOOLS = {"embhub": embhub_cli, "embhub-registry": registry_cli}
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
BLOCK = re.compile(r"```(?:console|sh|bash)\n(.*?)```|((?:^ {4}[^\n]*\n)+)", re.S | re.M)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(page: Path) -> list[str]:
    """Every shell line of a page's console and indented blocks that calls one of our tools; continuations joined."""
    lines = []
    for block in map("".join, BLOCK.findall(page.read_text())):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ").split(" #")[0].split(" | ")[0]
            if line.split(" ")[0] in TOOLS and "[OPTIONS]" not in line:
                lines.append(line)
    return lines


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    dead = [
        t
        for t in LINK.findall(page.read_text())
        if "://" not in t and not t.startswith("mailto:") and not (page.parent / t).exists()
    ]
    assert not dead


def test_every_page_is_two_links_from_the_start() -> None:
    reached = {ROOT / "docs/README.md"}
    for _ in range(2):
        links = {(page.parent / target).resolve() for page in reached for target in LINK.findall(page.read_text())}
        reached |= {path for path in links if path.suffix == ".md" and path.is_file()}
    assert [name(page) for page in PAGES if page not in reached] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_options_exist(page: Path) -> None:
    for line in commands(page):
        words = [w for w in shlex.split(line) if w not in {">", "<", "&"}]
        command: click.Command = TOOLS[words[0]]
        context = click.Context(command)
        rest = words[1:]
        while isinstance(command, click.Group):
            options = {o: p for p in command.params for o in [*p.opts, *p.secondary_opts]}
            while rest and rest[0].startswith("-"):
                flag = rest.pop(0)
                assert flag in options or flag in {"--help", "--version"}, f"{line}: no option {flag}"
                if flag in options and not getattr(options[flag], "is_flag", False):
                    rest.pop(0)
            if not rest:
                break
            found = command.get_command(context, rest[0])
            assert found is not None, f"{line}: no command {rest[0]}"
            command, rest = found, rest[1:]
        known = {o for p in command.params for o in [*p.opts, *p.secondary_opts]} | {"--help"}
        used = {w.split("=")[0] for w in rest if w.startswith("--")}
        assert used <= known, f"{line}: unknown {used - known}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_command_stands_in_a_block_that_is_not_read(page: Path) -> None:
    blocks = re.findall(r"^```(.*)\n((?:(?!```).*\n)*)```", page.read_text(), re.M)
    assert not [
        line
        for language, block in blocks
        for line in block.splitlines()
        if language not in ("console", "sh", "bash") and line.removeprefix("$ ").split(" ")[0] in TOOLS
    ]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_table_begins_after_a_blank_line_with_its_head(page: Path) -> None:
    """Rows without a head are shown as text, and so is a table that a paragraph runs into."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    tables = re.findall(r"(?:\A|^)((?!\|).*)\n(\|.*)\n(.*)", text, re.M)
    assert not [
        head
        for before, head, line in tables
        if not re.fullmatch(r"\|[ :|-]+\|", line) or (before.strip() and not before.startswith("<!--"))
    ]


def test_the_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", (ROOT / "README.md").read_text()))
    assert named and named <= targets


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs/adr/README.md").read_text()
    assert all(page.name in index for page in (ROOT / "docs/adr").glob("[0-9]*.md"))


def test_no_page_and_no_message_calls_anything_anonymous() -> None:
    """No tool can decide that (EDPB Opinion 28/2024)."""
    sources = [
        p
        for folder in ("embhub", "registry")
        for p in (ROOT / folder).rglob("*")
        if p.suffix in {".py", ".html", ".json", ".md"}
    ]
    guilty = [
        name(p)
        for p in sources
        if re.search(r"\b(is|are|fully|guaranteed) anonymous\b|PHI-free", p.read_text(errors="ignore"))
    ]
    assert not guilty
