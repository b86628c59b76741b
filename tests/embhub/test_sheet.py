"""What a training names at its end: a command of ours that shows what was learned, without and with it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from embhub.cli.generate import sheet
from embhub.cli.generate.generating import command


@pytest.mark.parametrize(
    ("caption", "without"), [("axial mri, {}", "axial mri"), ("{} on a film", "on a film"), ("mri, {}, t2", "mri, t2")]
)
def test_the_command_can_be_typed(caption: str, without: str, capsys: pytest.CaptureFixture[str]) -> None:
    sheet.name_it(caption, "<a b>", Path("my files/a.safetensors"))
    program, verb, *typed = shlex.split(capsys.readouterr().err.partition("see it: ")[2])
    assert (program, verb) == ("embhub", "generate")
    chosen = command.make_context("generate", typed).params
    assert chosen["prompt"] == without and chosen["interpolate_to"] == caption.replace("{}", "<a b>")
    assert str(chosen["out"]) == "my files/a-sheet" and chosen["n"] == int(sheet.ROWS)


def test_a_caption_of_the_token_alone_has_no_image_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    sheet.name_it("{}", "<a>", Path("a.safetensors"))
    assert capsys.readouterr().err == ""
