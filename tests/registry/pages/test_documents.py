"""The registry's reference says what the program does: every command, option and address."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from embhub.cli.this_machine import reference
from embhub_registry.app import ROUTES
from embhub_registry.cli import root
from embhub_registry.people.roles import ACTIONS, ROLES
from embhub_registry.storage.settings import SETTINGS

REFERENCE = Path(__file__).parents[3] / "docs/reference"
COMMANDS = reference.render(root, "embhub-registry", "")
"""The page of the site, made from the commands."""
SECTIONS = dict(part.split("\n", 1) for part in re.split(r"^#{2,} (?=embhub)", COMMANDS, flags=re.M) if part.strip())


def commands(group: click.Group, prefix: str = "") -> list[tuple[str, click.Command]]:
    found = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        path = f"{prefix}{name}"
        found += commands(command, f"{path} ") if isinstance(command, click.Group) else [(path, command)]
    return found


@pytest.mark.parametrize(("path", "command"), commands(root), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_documented(path: str, command: click.Command) -> None:
    assert f"`{path}" in (REFERENCE / "registry-cli.md").read_text(), "with what it prints by --json"
    assert command.help, "a command says what it does"
    shown = SECTIONS[f"embhub-registry {path}"]
    for parameter in command.params:
        for option in parameter.opts if isinstance(parameter, click.Option) else ():
            assert re.search(rf"^\| `[^`]*{option}\b", shown, re.M), option
            assert isinstance(parameter, click.Option) and parameter.help, option
    assert "--json" in [option for parameter in command.params for option in parameter.opts]


def test_every_address_is_documented() -> None:
    text = (REFERENCE / "registry-api.md").read_text()
    for route in ROUTES:
        path = route.path.replace("{namespace}/{name}", "{id}").replace("{path:path}", "{path}")
        if path.startswith("/static/") or path.endswith("/{rest:path}"):
            continue
        pattern = re.escape(re.sub(r"\{(revision|path)\}", "{*}", path)).replace(r"\{\*\}", r"\{[^}]*\}")
        assert re.search(f"`{pattern}`", text), path


def test_the_table_of_roles_is_the_one_that_is_enforced() -> None:
    rows = re.findall(r"^\| (.+) \| `(\w+)` \| (.+) \|$", (REFERENCE / "registry-cli.md").read_text(), re.M)
    documented = {(words, scope, roles) for several, scope, roles in rows for words in several.split("; ")}
    for action in ACTIONS.values():
        named = [role for role in ROLES if role == "admin" or role in action.roles]
        assert (action.words, action.scope, "all" if named == list(ROLES) else ", ".join(named)) in documented


def test_the_table_of_settings_is_the_one_that_holds() -> None:
    text = (REFERENCE / "registry-cli.md").read_text()
    for name, setting in SETTINGS.items():
        default = f" `{setting.default}` " if setting.default else " "
        assert f"| `{name}` |{default}| {setting.meaning} |" in text
