"""`--help`: every command under a heading, and no sentence cut off."""

from __future__ import annotations

import click
import pytest

from embhub.cli import COMMANDS, SECTIONS, root
from embhub.cli.reference import walk

GROUPS = [(" ".join(path), group) for path, group in walk(root) if isinstance(group, click.Group)]


@pytest.mark.parametrize(("path", "group"), GROUPS)
@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_short_help_is_cut(path: str, group: click.Group, width: int) -> None:
    text = group.get_help(click.Context(group, info_name=path, terminal_width=width))
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        said = command.get_short_help_str(limit=300)
        assert said and not said.endswith("...")
        assert " ".join(said.split()) in " ".join(text.split())


def test_every_command_has_one_heading() -> None:
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(COMMANDS)
    text = root.get_help(click.Context(root, info_name="embhub"))
    assert all(f"{heading}:" in text for heading in SECTIONS) and "Other commands" not in text
