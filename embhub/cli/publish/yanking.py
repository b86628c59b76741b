"""`embhub curate yank`: withdraw a release of one's own namespace."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_json, remark


@click.command("yank", short_help="Withdraw a release, with a reason.")
@click.argument("repository", metavar="NS/NAME[@VERSION]")
@click.option("--reason", required=True, help="Reason; everybody reads it. Name no patient.")
@click.option(
    "--scope",
    type=click.Choice(("release", "bytes")),
    default="release",
    show_default=True,
    help="Withdraw this release alone, or its numbers under every name and header of your namespace.",
)
@options.registry
@options.as_json
def command(repository: str, reason: str, scope: str, registry: str | None, as_json: bool) -> None:
    """Withdraw the release NS/NAME (default: its newest version). Files that others pulled stay where they are.

    Lists hide the release, its page shows the reason, and sites that refresh their keyring refuse it or warn. With
    --scope release, a new version may have the same embedding, to correct a card. With --scope bytes, it may not.

    \b
    Example:
      embhub curate yank radboud/prostate-csPCa@1.0.0 --reason "the card names the wrong scanner"
      embhub curate yank radboud/prostate-csPCa --scope bytes --reason "labels of one centre were swapped"
    """
    from embhub.client.account import accounts
    from embhub.client.statements import withdrawing

    name, _, version = repository.partition("@")
    hub = accounts.connect(registry)
    done = withdrawing.yank(hub, name, reason=reason, version=version or None, scope=scope)
    if as_json:
        print_json(done)
    else:
        remark(f"{name} has {len(done['yanked'])} withdrawn commits")
