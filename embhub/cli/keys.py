"""`embhub key`: the site's signing keys."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_pairs, print_table


@click.group("key", short_help="Create, list and export signing keys.")
def command() -> None:
    """Create, list and export this site's signing keys (ECDSA P-256).

    \b
    Example:
      embhub key new
      embhub key export > radboud.pub.pem
    """


@command.command("new")
@click.argument("name", default="default")
@click.option("--passphrase", is_flag=True, help="Prompt for a passphrase and encrypt the key with it.")
def new(name: str, passphrase: bool) -> None:
    """Create a signing key called NAME (`default` if omitted); an existing key is never overwritten.

    \b
    Example:
      embhub key new
      embhub key new cardiology --passphrase
    """
    from embhub.site import keys

    secret = options.ask_secret("Passphrase", twice=True) if passphrase else None
    key = keys.generate(name, passphrase=secret)
    print_pairs({"key": name, "fingerprint": key.fingerprint, "next": f"embhub key export {name} > {name}.pub.pem"})


@command.command("list")
def list_() -> None:
    """List the signing keys of this site with their fingerprints.

    \b
    Example:
      embhub key list
    """
    from embhub.site import keys

    print_table([(key.name, key.fingerprint) for key in keys.list_keys()])


@command.command("export")
@click.argument("name", default="default")
def export(name: str) -> None:
    """Print the public key of NAME as PEM, for the registry's operator to add.

    \b
    Example:
      embhub key export > radboud.pub.pem
    """
    from embhub.site import keys

    click.echo(keys.public_pem(name), nl=False)
