"""`embhub key`: the site's signing keys."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_result, print_rows
from embhub.cli.whole_help import WholeHelpGroup


@click.group("key", cls=WholeHelpGroup, short_help="Create, list and export signing keys.")
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
@options.as_json
def new(name: str, passphrase: bool, as_json: bool) -> None:
    """Create a signing key called NAME (`default` if omitted); an existing key is never overwritten.

    \b
    Example:
      embhub key new
      embhub key new cardiology --passphrase
    """
    from embhub.site import keys

    secret = options.ask_secret("Passphrase", twice=True) if passphrase else None
    key = keys.generate(name, passphrase=secret)
    facts = {"key": name, "fingerprint": key.fingerprint, "next": f"embhub key export {name} > {name}.pub.pem"}
    print_result(facts, as_json=as_json)


@command.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the signing keys of this site with their fingerprints.

    \b
    Example:
      embhub key list
    """
    from embhub.site import keys

    print_rows([{"key": key.name, "fingerprint": key.fingerprint} for key in keys.list_keys()], as_json=as_json)


@command.command("export")
@click.argument("name", default="default")
@options.as_json
def export(name: str, as_json: bool) -> None:
    """Print the public key of NAME as PEM, for the registry's operator to add.

    \b
    Example:
      embhub key export > radboud.pub.pem
    """
    from embhub.site import keys

    pem = keys.public_pem(name)
    print_json({"key": name, "public_key_pem": pem}) if as_json else click.echo(pem, nl=False)
