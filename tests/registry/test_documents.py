"""The registry's reference says what the program does: every command, option and address."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from embhub_registry.__main__ import cli
from embhub_registry.app import ROUTES

REFERENCE = Path(__file__).parents[2] / "docs/reference"


def commands(group: click.Group, prefix: str = "") -> list[tuple[str, click.Command]]:
    found = []
    for name, command in group.commands.items():
        path = f"{prefix}{name}"
        found += commands(command, f"{path} ") if isinstance(command, click.Group) else [(path, command)]
    return found


@pytest.mark.parametrize(("path", "command"), commands(cli), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_documented(path: str, command: click.Command) -> None:
    text = (REFERENCE / "registry-cli.md").read_text()
    assert f"`{path}" in text
    assert command.help, "a command says what it does"
    for parameter in command.params:
        for option in parameter.opts if isinstance(parameter, click.Option) else ():
            assert f"`{option}" in text, option
    assert "--json" in [option for parameter in command.params for option in parameter.opts]


def test_every_address_is_documented() -> None:
    text = (REFERENCE / "registry-api.md").read_text()
    for route in ROUTES:
        path = route.path.replace("{namespace}/{name}", "{id}").replace("{path:path}", "{path}")
        if path.startswith("/static/") or path == "/api/{rest:path}":
            continue
        pattern = re.escape(re.sub(r"\{(revision|path)\}", "{*}", path)).replace(r"\{\*\}", r"\{[^}]*\}")
        assert re.search(f"`{pattern}`", text), path
