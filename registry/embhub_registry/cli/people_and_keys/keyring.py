"""`embhub-registry keyring` for root keys that are elsewhere; `trust` for what sites pin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


_NEWEST = "Fingerprint of the newest keyring, from your binder or another signer (none: this is the registry's first)"


_LOG = "Folder or address of a copy of the registry's log, to look for later keyrings (empty: not compared)"


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
    from embhub_registry.operation.keyrings import keyring_ceremony

    root = keyring_ceremony.read_root(root_keys, threshold) if root_keys else None
    made = keyring_ceremony.propose(registry, file, root=root)
    show(made, f"wrote       {file}", *_told(made), as_json=as_json)


@command.command("sign")
@click.argument("file", type=options.FILE)
@click.option("--key", "key", required=True, metavar="PRIVATE.pem|agent:…|pkcs11:…",
              help="Private root key: a file, or where it is held (`embhub key add-external --help`).")  # fmt: skip
@click.option("--log", "log", metavar="DIR|URL",
              help="Copy of the registry's witnessed log: no later keyring may be in it.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Sign without asking: for a script whose user read the difference before.")
@options.as_json
def sign(file: Path, key: str, log: str | None, yes: bool, as_json: bool) -> None:
    """Sign the keyring in FILE with a root key, after you read what changes. Needs no registry and no network.

    Sign on a machine that you trust and that is not the registry's. Signatures are collected in FILE. Shown is the
    difference to the keyring that this machine signed last. The first time it shows all keys, and asks for the
    fingerprint of the newest keyring, also with --yes: another signer has it on their record.

    Where this machine's log policy names a quorum of witnesses, it asks for a copy of the log.

    Print the record at the end, and keep it in a binder.
    """
    from embhub_registry.operation.keyrings import keyring_ceremony

    reviewed = keyring_ceremony.review(file)
    click.echo("\n".join(f"  {line}" for line in reviewed.lines), err=True)
    if reviewed.asked is not None:
        reviewed = keyring_ceremony.confirm(reviewed, str(click.prompt(_NEWEST, err=True)))
    if log is None and not yes and keyring_ceremony.has_witnesses(reviewed):
        log = str(click.prompt(_LOG, default="", show_default=False, err=True)) or None
    if log is not None:
        reviewed = keyring_ceremony.compare_with_log(reviewed, log)
        click.echo(f"  log: {reviewed.log}", err=True)
    if not yes:
        click.confirm("Do you know of each of these changes, from the members concerned?", abort=True, err=True)
    made = keyring_ceremony.sign(file, key, reviewed=reviewed, passphrase=_ask_passphrase)
    show(made, f"signed      {file} with {made['signed_by']}", *_missing(made), "", *made["record"], as_json=as_json)


@command.command("install")
@click.argument("files", type=options.FILE, nargs=-1, required=True, metavar="FILE…")
@options.as_json
@options.opened
def install(registry: Registry, *, files: tuple[Path, ...], as_json: bool) -> None:
    """Put the signed keyring in FILE in force. Several files are copies of one proposal, each signed by other keys."""
    from embhub_registry.operation.keyrings import keyring_ceremony

    made = keyring_ceremony.install(registry, files)
    lines = [f"in force    {line}" for line in made["changes"]]
    lines.append(f"keyring     {made['keyring']}")
    if not made["timestamp"]:
        lines.append("note        no timestamp: the timestamp key is not in --online-keys")
    show(made, *lines, as_json=as_json)


def _ask_passphrase() -> str:
    return str(click.prompt("Passphrase or PIN of the root key", hide_input=True, err=True))


def _told(made: dict[str, list[str]]) -> list[str]:
    return [f"            {line}" for line in made["changes"]] + _missing(made)


def _missing(made: dict[str, list[str]]) -> list[str]:
    return [f"missing     {line}" for line in made["missing"]] or ["complete    `keyring install` takes it"]


@click.group("trust")
def trust() -> None:
    """Export the root key and keyring that sites pin."""


@trust.command("export")
@click.option("--json", is_flag=True, expose_value=False, help="No effect: the output is always JSON.")
@options.opened
def export(registry: Registry) -> None:
    """Print the public root key and the signed keyring, for `embhub trust add`."""
    click.echo(registry.trust_export().decode(), nl=False)
