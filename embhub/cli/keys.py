"""`embhub key`: the site's signing keys."""

from __future__ import annotations

from typing import Any

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
      embhub key request radboud
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
    asking = "embhub key request NAMESPACE" + ("" if name == "default" else f" --key {name}")
    facts = {"key": name, "fingerprint": key.fingerprint, "next": asking}
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


@command.command("request")
@click.argument("namespace")
@click.option(
    "--role", type=click.Choice(["publish", "audit", "withdraw"]), default="publish", show_default=True,
    help="What the key is to do.",
)  # fmt: skip
@options.key
@click.option(
    "-o", "--out", type=options.FILE, metavar="FILE", help="File to write  [default: NAMESPACE.ROLE.key-request.json]"
)
@options.registry
@options.as_json
def request(namespace: str, as_json: bool, **choices: Any) -> None:
    """Write a request to add the signing key to the registry's keyring for NAMESPACE, signed by the key itself.

    Send the file to the registry's operator, who runs `embhub-registry key add FILE`. Tell them the fingerprint by
    another way (telephone, paper). The request names the registry and counts at no other.

    \b
    Example:
      embhub key request radboud
      embhub key request nki --role audit --key auditor --registry https://hub.example.org
    """
    from embhub.client.key_requests import request as write

    asked = write(namespace, ask_passphrase=options.ask_passphrase, **choices)
    facts = {"wrote": str(asked.file), "registry": asked.registry, "namespace": asked.namespace, "role": asked.role}
    facts |= {"fingerprint": asked.fingerprint, "next": f"the operator: embhub-registry key add {asked.file.name}"}
    print_result(facts, as_json=as_json)


@command.command("export")
@click.argument("name", default="default")
@options.as_json
def export(name: str, as_json: bool) -> None:
    """Print the public key of NAME as PEM.

    To have a key added to a keyring, `embhub key request` is better: its file proves who holds the key.

    \b
    Example:
      embhub key export > radboud.pub.pem
    """
    from embhub.site import keys

    pem = keys.public_pem(name)
    print_json({"key": name, "public_key_pem": pem}) if as_json else click.echo(pem, nl=False)
