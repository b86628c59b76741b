"""`embhub-registry keyring`: keyrings whose root keys are elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("keyring")
def command() -> None:
    """Have the keyring signed by root keys that are kept on other machines: propose, sign, install.

    \b
    Example:
      embhub-registry --dir hub keyring propose next.json
      embhub-registry keyring sign next.json --key root-anna.pem      (on another machine)
      embhub-registry --dir hub keyring install next.json
    """


@command.command("propose")
@click.argument("file", type=options.FILE)
@click.option("--root-key", "root_keys", type=options.FILE, multiple=True, metavar="PUBLIC.pem",
              help="Change the root to this public key; repeatable.")  # fmt: skip
@click.option("--threshold", type=click.IntRange(1, 16), metavar="K",
              help="How many of the new root keys must sign  [default: all].")  # fmt: skip
@options.as_json
@options.opened
def propose(
    registry: Registry, *, file: Path, root_keys: tuple[Path, ...], threshold: int | None, as_json: bool
) -> None:
    """Write the next keyring to FILE, unsigned: all pending changes, and a new expiry date.

    Without pending changes the keyring is renewed.
    """
    from embhub_registry.operation import keyring_ceremony

    root = keyring_ceremony.read_root(root_keys, threshold) if root_keys else None
    made = keyring_ceremony.propose(registry, file, root=root)
    show(made, f"wrote       {file}", *_told(made), as_json=as_json)


@command.command("sign")
@click.argument("file", type=options.FILE)
@click.option("--key", "key", required=True, metavar="PRIVATE.pem|agent:…|pkcs11:…",
              help="Private root key: a file, or where it is held (`embhub key add-external --help`).")  # fmt: skip
@click.option("--yes", is_flag=True, help="Sign without asking: for a script whose user read the difference before.")
@options.as_json
def sign(file: Path, key: str, yes: bool, as_json: bool) -> None:
    """Sign the keyring in FILE with a root key, after you read what changes. Needs no registry and no network.

    Sign on a machine that you trust and that is not the registry's. Signatures are collected in FILE.
    """
    from embhub_registry.operation import keyring_ceremony

    opened = keyring_ceremony.read_proposal(file)
    click.echo("\n".join(f"  {line}" for line in opened.lines), err=True)
    if not yes:
        click.confirm("Do you know of each of these changes, from the members concerned?", abort=True, err=True)
    made = keyring_ceremony.sign(file, key, opened=opened, passphrase=_ask_passphrase)
    show(made, f"signed      {file} with {made['signed_by']}", *_missing(made), as_json=as_json)


@command.command("install")
@click.argument("files", type=options.FILE, nargs=-1, required=True, metavar="FILE…")
@options.as_json
@options.opened
def install(registry: Registry, *, files: tuple[Path, ...], as_json: bool) -> None:
    """Put the signed keyring in FILE in force. Several files are copies of one proposal, each signed by other keys."""
    from embhub_registry.operation import keyring_ceremony

    made = keyring_ceremony.install(registry, files)
    lines = [f"in force    {line}" for line in made["changes"]]
    if not made["timestamp"]:
        lines.append("note        no timestamp: the timestamp key is not in --online-keys")
    show(made, *lines, as_json=as_json)


def _ask_passphrase() -> str:
    return str(click.prompt("Passphrase or PIN of the root key", hide_input=True, err=True))


def _told(made: dict[str, list[str]]) -> list[str]:
    return [f"            {line}" for line in made["changes"]] + _missing(made)


def _missing(made: dict[str, list[str]]) -> list[str]:
    return [f"missing     {line}" for line in made["missing"]] or ["complete    `keyring install` takes it"]
