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
@click.option(
    "--passphrase", is_flag=True, help="Require a passphrase; without a terminal, one line of standard input."
)
@options.as_json
def new(name: str, passphrase: bool, as_json: bool) -> None:
    """Create a signing key called NAME (`default` if omitted); an existing key is never overwritten.

    On a terminal you are asked for a passphrase, and an empty one leaves the key unencrypted. Without a terminal the
    key is not encrypted, unless --passphrase reads one from standard input.

    \b
    Example:
      embhub key new
      embhub key new cardiology --passphrase
    """
    from embhub.site.signing import keys

    secret = options.ask_secret("Passphrase", twice=True) if passphrase else options.ask_new_passphrase()
    key = keys.generate(name, passphrase=secret)
    asking = "embhub key request NAMESPACE" + ("" if name == "default" else f" --key {name}")
    facts = {"key": name, "fingerprint": key.fingerprint, "next": asking}
    print_result(facts, as_json=as_json)


@command.command("add-external")
@click.argument("uri", metavar="agent:SHA256:…|pkcs11:…")
@click.argument("name", default="default")
@options.as_json
def add_external(uri: str, name: str, as_json: bool) -> None:
    """Use a key that stays elsewhere: in an OpenSSH agent, or in a token or hardware module (PKCS #11).

    It must be an ECDSA P-256 key. `ssh-add -l` lists the fingerprints of an agent's keys; `ssh-keygen -t ecdsa -b 256`
    makes one. A token's key is named by token, object and module-path (RFC 7512); its PIN is asked for and never kept.

    \b
    Example:
      embhub key add-external agent:SHA256:LUGDOKy/eaA3lWuLsoomU+OemFz+hi/0blJufdk8F4g
      embhub key add-external 'pkcs11:token=hsm;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so' hsm
    """
    from embhub.site.signing import signing_keys

    pin = options.ask_secret("PIN of the token") if uri.startswith("pkcs11:") else None
    key = signing_keys.add_external(name, uri, pin=pin)
    print_result({"key": name, "fingerprint": key.fingerprint, "held by": uri.partition(":")[0]}, as_json=as_json)


@command.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the signing keys of this site with their fingerprints.

    \b
    Example:
      embhub key list
    """
    from embhub.site.signing import keys

    print_rows([{"key": key.name, "fingerprint": key.fingerprint} for key in keys.list_keys()], as_json=as_json)


@command.command("request")
@click.argument("namespace")
@click.option(
    "--role", type=click.Choice(["publish", "audit", "withdraw", "approve", "evaluate"]), default="publish",
    show_default=True, help="What the key is to do.",
)  # fmt: skip
@options.key
@click.option(
    "-o", "--out", type=options.FILE, metavar="FILE", help="File to write  [default: NAMESPACE.ROLE.key-request.json]"
)
@options.registry
@options.as_json
def request(namespace: str, as_json: bool, **choices: Any) -> None:
    """Write a request to add the signing key to the registry's keyring for NAMESPACE, signed by the key itself.

    Send the file to the registry's operator, who runs `embhub-registry key add FILE`. Give them the fingerprint by
    another way (telephone, paper). The request names the registry and counts at no other.

    \b
    Example:
      embhub key request radboud
      embhub key request nki --role audit --key auditor --registry https://hub.example.org
    """
    from embhub.client.publishing.key_requests import request as write

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
    from embhub.site.signing import keys

    pem = keys.public_pem(name)
    print_json({"key": name, "public_key_pem": pem}) if as_json else click.echo(pem, nl=False)
