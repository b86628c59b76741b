"""`embhub trust`: the registries whose keyrings this site trusts."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from embhub.cli import options
from embhub.cli.output import print_result, print_rows
from embhub.cli.whole_help import WholeHelpGroup


@click.group("trust", cls=WholeHelpGroup, short_help="Manage trusted registries (root keys).")
def command() -> None:
    """Pin a registry's root key. Its keyring lists which keys may publish, audit and withdraw.

    \b
    Example:
      embhub trust add https://embhub.example.org --fingerprint SHA256:…
      embhub trust list
    """


@command.command("add")
@click.argument("source", metavar="FILE|URL|DIR")
@click.option(
    "--fingerprint", metavar="SHA256:…", help="Fingerprint of the root key, obtained from the operator out of band."
)
@click.option(
    "--namespaces", metavar="A,B", help="Trust it for these namespaces alone  [default: for all of its keyring]."
)
@options.insecure
@options.as_json
def add(source: str, fingerprint: str | None, namespaces: str | None, as_json: bool) -> None:
    """Trust the registry at URL, or the one whose `embhub-registry trust export` is in FILE.

    DIR is a folder that `embhub-registry export --static` wrote, such as a stick's.

    Without --fingerprint the fingerprint is shown and must be confirmed, on a terminal only.

    \b
    Example:
      embhub trust add https://embhub.example.org --fingerprint SHA256:uNiVztksCsDhcc0u9e8BrqLRVbfNjXkbM5bGHe1Qk2c
    """
    from embhub.client.trusted.roots import add_root

    print_result(add_root(source, fingerprint=fingerprint, confirm=_ask, namespaces=namespaces), as_json=as_json)


def _ask(registry: str, fingerprint: str) -> bool:
    """Show the fingerprint and ask; a script has nobody to ask."""
    click.echo(f"{registry} presents the root key {fingerprint}", err=True)
    if not sys.stdin.isatty():
        return False
    return click.confirm("Did you get the same fingerprint from its operator out of band (telephone, paper)?", err=True)


@command.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the trusted registries: URL, root key, keyring version, members.

    \b
    Example:
      embhub trust list
    """
    from embhub.client.trusted.roots import list_roots

    print_rows(list_roots(), as_json=as_json)


@command.command("remove")
@click.argument("registry", metavar="URL")
@options.as_json
def remove(registry: str, as_json: bool) -> None:
    """Stop trusting the registry at URL.

    Where it showed that the root key of another pin was replaced, remove or refresh that pin first.

    \b
    Example:
      embhub trust remove https://embhub.example.org
    """
    from embhub.client.trusted.roots import remove_root

    remove_root(registry)
    print_result({"removed": registry}, as_json=as_json)


@command.command("refresh")
@click.argument("registry", metavar="[URL|DIR]", required=False)
@click.option("--yes", is_flag=True, help="Confirm what changed: for a script whose user read it before.")
@options.insecure
@options.as_json
def refresh(registry: str | None, yes: bool, as_json: bool) -> None:
    """Download the newest keyring of URL, or of every trusted registry; an older one is refused.

    URL may be a mirror of a trusted registry, and DIR a folder with an export of one.

    Prints which keys were added, removed or revoked since a person confirmed a keyring here, and asks. What nobody
    confirmed is in force nevertheless; the policy `strict` refuses what a new key signed.

    \b
    Example:
      embhub trust refresh
    """
    from embhub.client.trusted.roots import refresh_roots

    print_rows(refresh_roots(registry, agree=_agree if not yes else _agreed), as_json=as_json)


def _agreed(registry: str, changes: Sequence[str]) -> bool:
    """Show what was confirmed with --yes."""
    click.echo("\n".join([f"changes at {registry}:", *(f"  {line}" for line in changes)]), err=True)
    return True


def _agree(registry: str, changes: Sequence[str]) -> bool:
    """Show the changes and ask; a script has nobody to ask."""
    _agreed(registry, changes)
    if not sys.stdin.isatty():
        click.echo("  not confirmed: run it on a terminal, or with --yes after you read this", err=True)
        return False
    return click.confirm("Did the members concerned tell you of these changes, by another way?", err=True)
