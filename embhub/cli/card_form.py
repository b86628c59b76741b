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
    """Ask what a draft leaves open; each answer is written as it is given, an empty one leaves a field as it is."""
    from embhub.diffusion.outputs import answer_card

    number = len(drafted.questions) + len(drafted.unconfirmed)
    if not number or not click.confirm(f"{number} answers are open. Answer them now?", default=True, err=True):
        return drafted
    click.echo("Leave an answer empty to give it later, in the file. Ctrl-C keeps what was answered.", err=True)
    for question in drafted.questions:
        name, _, meaning = question.partition(": ")
        drafted = answer_card(drafted, _ask(name, meaning), ())
    for name in drafted.unconfirmed:
        answers, is_confirmed = _confirm(name, drafted)
        drafted = answer_card(drafted, answers, [name] if is_confirmed else [])
    return drafted


def _ask(name: str, meaning: str) -> dict[str, Any]:
    """Ask until the answer is one, or empty; the field with its value, or nothing."""
    from embhub.cards.answers import example, read

    shown = f"  (such as: {example(name)})" if example(name) else ""
    click.echo(f"\n{click.style(name, bold=True)}: {meaning}{shown}", err=True)
    while typed := str(click.prompt("", default="", show_default=False, prompt_suffix="> ", err=True)).strip():
        try:
            return {name: read(name, typed)}
        except ValueError as error:
            click.echo(f"  {error}", err=True)
    return {}


def _confirm(name: str, drafted: Drafted) -> tuple[dict[str, Any], bool]:
    """Show an answer of the site, and take a yes or another answer: what is written instead, and whether it holds."""
    from embhub.cards.card_schema import FIELDS
    from embhub.diffusion.outputs import read_answers

    field = name.partition(".")[0]
    click.echo(
        f"\n{click.style(name, bold=True)}, from the site's defaults: {read_answers(drafted.path)[field]}", err=True
    )
    if click.confirm("Did you check that this holds for this release?", default=False, err=True):
        return {}, True
    other = _ask(field, FIELDS[field])
    return other, bool(other)
