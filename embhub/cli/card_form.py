"""The open questions of a card, asked one after the other: on a terminal only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from embhub.diffusion.outputs import Drafted


def can_ask() -> bool:
    """Whether somebody sits there: a script, a pipe and a job are never asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def fill_in(drafted: Drafted) -> Drafted:
    """Ask what a draft leaves open, and write the answers; an empty answer leaves a field as it is."""
    from embhub.diffusion.outputs import answer_card

    number = len(drafted.questions) + len(drafted.unconfirmed)
    if not number or not click.confirm(f"{number} answers are open. Answer them now?", default=True, err=True):
        return drafted
    click.echo("Leave an answer empty to give it later, in the file.", err=True)
    answers: dict[str, Any] = {}
    confirmed: list[str] = []
    for question in drafted.questions:
        name, _, meaning = question.partition(": ")
        _ask(name, meaning, answers)
    for name in drafted.unconfirmed:
        _confirm(name, drafted, confirmed, answers)
    return answer_card(drafted, answers, confirmed)


def _ask(name: str, meaning: str, answers: dict[str, Any]) -> bool:
    """Ask until the answer is one, or empty; returns whether there is one."""
    from embhub.cards.answers import example, read

    shown = f"  (such as: {example(name)})" if example(name) else ""
    click.echo(f"\n{click.style(name, bold=True)}: {meaning}{shown}", err=True)
    while typed := str(click.prompt("", default="", show_default=False, prompt_suffix="> ", err=True)).strip():
        try:
            answers[name] = read(name, typed)
        except ValueError as error:
            click.echo(f"  {error}", err=True)
        else:
            return True
    return False


def _confirm(name: str, drafted: Drafted, confirmed: list[str], answers: dict[str, Any]) -> None:
    """Show an answer of the site, and take a yes or another answer."""
    from embhub.cards.card_schema import FIELDS
    from embhub.diffusion.outputs import read_answers

    field = name.partition(".")[0]
    click.echo(
        f"\n{click.style(name, bold=True)}, from the site's defaults: {read_answers(drafted.path)[field]}", err=True
    )
    if click.confirm("Did you check that this holds for this release?", default=False, err=True) or _ask(
        field, FIELDS[field], answers
    ):
        confirmed.append(name)
