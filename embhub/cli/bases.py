"""`embhub base`: the base models that come along."""

from __future__ import annotations

from dataclasses import asdict

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
    from embhub.diffusion.base import info
    from embhub.fingerprint import digest, take

    facts = asdict(info(base))
    facts["fingerprint"] = digest(take(facts["path"]))
    print_json(facts) if as_json else print_pairs(facts)
