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
    from embhub.cards.card_schema import FIELDS
    from embhub.diffusion.outputs import answer_card

    asked = dict(question.split(": ", 1) for question in drafted.questions)
    asked |= {name: FIELDS[name] for name in drafted.proposed if name not in asked}
    number = len(asked) + len(drafted.unconfirmed)
    if not number or not click.confirm(f"{number} answers are open. Answer them now?", default=True, err=True):
        return drafted
    click.echo("Leave an answer empty to give it later, in the file. Ctrl-C keeps what was answered.", err=True)
    for name, meaning in asked.items():
        drafted = answer_card(drafted, _ask(name, meaning, drafted.proposed.get(name)), ())
    for name in drafted.unconfirmed:
        answers, is_confirmed = _confirm(name, drafted)
        drafted = answer_card(drafted, answers, [name] if is_confirmed else [])
    return drafted


def _ask(name: str, meaning: str, proposed: Any = None) -> dict[str, Any]:
    """Ask until the answer is one, or empty; the field with its value, or nothing."""
    from embhub.cards.answers import example, read, write

    shown = f"  (such as: {example(name)})" if example(name) else ""
    click.echo(f"\n{click.style(name, bold=True)}: {meaning}{shown}", err=True)
    if proposed is not None and click.confirm(f"Caption and base say: {write(name, proposed)}. Is that so?", err=True):
        return {name: proposed}
    while typed := str(click.prompt("", default="", show_default=False, prompt_suffix="> ", err=True)).strip():
        try:
            value = read(name, typed)
        except ValueError as error:
            click.echo(f"  {error}", err=True)
            continue
        if (said := write(name, value)) not in (None, typed):
            click.echo(f"  {said}", err=True)
        return {name: value}
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
