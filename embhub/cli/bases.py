"""`embhub base`: the base models that come along."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, print_table


@click.group("base", short_help="Look at the base models that come along.")
def command() -> None:
    """Look at the base models that embhub brings.

    \b
    Example:
      embhub base list
      embhub base show builtin
    """


@command.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the base models that embhub brings.

    \b
    Example:
      embhub base list
    """
    from embhub.diffusion.base import shipped

    bases = [
        {"name": base.name, "family": base.family, "licence": base.licence, "pixels": base.resolution}
        for base in shipped()
    ]
    print_json(bases) if as_json else print_table([tuple(map(str, base.values())) for base in bases])


@command.command("show")
@click.argument("base", metavar="NAME|PATH")
@options.as_json
def show(base: str, as_json: bool) -> None:
    """Show what is known of a base: family, licence, what it was taught and what not, what a judge counted.

    \b
    Example:
      embhub base show builtin
    """
    from embhub.diffusion.base.gate import describe

    facts = describe(base)
    if as_json:
        print_json(facts)
        return
    figures, rows = facts.pop("figures"), facts.pop("gate")
    print_pairs(facts | {"figures": "in the card beside the weights, and with --json" if figures else "none yet"})
    print_table([(row["asked"], row["goal"], row["measured"], "met" if row["met"] else "missed") for row in rows])
