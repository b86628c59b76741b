"""`--help`: a short first screen, every command under a heading in `help all`, and no sentence cut off."""

from __future__ import annotations

import json
import re

import click
import pytest

from embhub.__main__ import main
from embhub.cli import COMMANDS, FIRST, SECTIONS, root
from embhub.cli.this_machine.reference import walk
from embhub.cli.whole_help import WholeHelpGroup

GROUPS = [(" ".join(path), group) for path, group in walk(root) if isinstance(group, click.Group)]


@pytest.mark.parametrize(("path", "group"), GROUPS)
@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_short_help_is_cut(path: str, group: click.Group, width: int) -> None:
    assert isinstance(group, WholeHelpGroup)
    text = group.whole().get_help(click.Context(group, info_name=path, terminal_width=width))
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        said = command.get_short_help_str(limit=300)
        assert said and not said.endswith("...")
        assert " ".join(said.split()) in " ".join(text.split())


def test_every_command_has_one_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(COMMANDS)
    assert main(["help", "all"]) == 0
    text = capsys.readouterr().out
    assert listed(text) == [name for names in SECTIONS.values() for name in names]
    assert all(f"{heading}:" in text for heading in SECTIONS) and "Other commands" not in text


def test_there_are_few_commands() -> None:
    """docs/adr/0001: more are not read."""
    assert len(COMMANDS) <= 30


VERBS = ["start", "inspect", "train", "audit", "card", "push", "search", "pull", "verify", "show", "generate"]
VERBS += ["login", "doctor"]
"""What most people need, in the order of the work."""


def listed(text: str) -> list[str]:
    """The commands of a help, from its first list on."""
    return [name for name in re.findall(r"^  ([a-z-]+)  ", text, re.M) if name in COMMANDS]


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], []])
def test_the_first_screen_has_what_most_people_need(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(words)
    said = capsys.readouterr()
    text = said.out or said.err  # without a word it is what a usage error shows
    assert code == (0 if words else 2)
    assert listed(text) == VERBS == [name for names in FIRST.values() for name in names]
    assert all(f"{heading}:" in text for heading in FIRST)
    assert "embhub help all" in text.strip().splitlines()[-1]


FEW = ["--placeholder-token", "--caption", "--base", "--manifest", "--holdout", "--epsilon", "--n-public", "--out"]


def test_train_lists_eight_options_first_and_each_option_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    lists = {heading: re.findall(r"^  (?:-h, )?(--[a-z-]+)", rows, re.M) for heading, rows in parts(text)}
    assert list(lists) == ["Options", "Images", "Privacy", "Recipe", "Other options"]
    assert lists["Options"] == FEW
    train = root.get_command(click.Context(root), "train")
    assert train is not None
    known = [option.opts[0] for option in train.params if isinstance(option, click.Option)]
    assert sorted(name for names in lists.values() for name in names) == sorted([*known, "--help"])


def test_generate_lists_what_redraws_in_a_group_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--help"]) == 0
    lists = {heading: re.findall(r"^  (--[a-z-]+)", rows, re.M) for heading, rows in parts(capsys.readouterr().out)}
    mine = ["--from", "--mask", "--box", "--grow", "--border", "--strength", "--fit"]
    assert lists["Redraw images of yours"] == mine


def parts(text: str) -> list[tuple[str, str]]:
    """Each heading of a help, with what stands under it."""
    found = re.split(r"^([A-Z][a-z ]+):\n", text, flags=re.M)[1:]
    return list(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("path", ["train", "card", "card init", "research reader-study"])
def test_help_of_a_command_is_what_its_own_option_shows(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path.split(), "--help"]) == 0
    own = capsys.readouterr().out
    assert main(["help", *path.split()]) == 0
    assert capsys.readouterr().out == own and f"Usage: embhub {path} " in own
    assert main(["help", *path.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"command": path, "help": own.rstrip("\n")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "'train'"),
        (["card", "chek"], "'check'"),
        (["upload"], "Here it is `embhub push`."),
        (["whoami"], "Here it is `embhub login --show`."),
        (["yank"], "Here it is `embhub curate yank`."),
        (["inpaint"], "Here it is `embhub generate --from`."),
        (["curate", "status"], "No such command 'status'.\n"),
        (["train", "images"], "'embhub train' has no commands below it."),
    ],
)
def test_help_of_no_command_names_the_nearest(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", *words]) == 2
    assert said in capsys.readouterr().err
