"""`embhub show`: the facts of an embedding, and whether they are verified."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs


@click.command("show", short_help="Show the facts of an embedding.")
@click.argument("target", metavar="FILE|FOLDER|NS/NAME")
@options.registry
@options.as_json
def command(target: str, registry: str | None, as_json: bool) -> None:
    """Show an embedding's placeholder token, base, size, card and audit, and whether they are verified. Writes nothing.

    \b
    Example:
      embhub show prostate-csPCa.safetensors
      embhub show radboud/prostate-csPCa --json
    """
    from embhub.client.pulling.overview import in_words, show

    facts = show(target, registry=registry)
    print_json(facts) if as_json else print_pairs(in_words(facts))
