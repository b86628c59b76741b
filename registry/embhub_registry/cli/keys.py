"""`embhub-registry key`: the keyring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show
from embhub_registry.people.roles import KEY_REASONS, KEY_ROLES

if TYPE_CHECKING:
    from embhub.trust.keyring import Reason, Role
    from embhub_registry.storage.folder import Registry


@click.group("key")
def command() -> None:
    """The keyring: which keys may publish, audit or withdraw in which namespace."""


@command.command("add")
@click.argument("file", type=options.FILE)
@click.option("--namespace", required=True, help="The namespace that the key speaks for.")
@click.option("--role", type=click.Choice(KEY_ROLES), required=True, help="What its signature may do.")
@click.option("--name", default="", help="The organisation's name in words, shown on pages.")
@options.as_json
@options.opened
def add(registry: Registry, *, file: Path, namespace: str, role: Role, name: str, as_json: bool) -> None:
    """Accept a public key (PEM of `embhub key export`): the keyring's next version, signed by the root key."""
    from embhub_registry.operation import administration

    result = administration.add_key(registry, file, namespace=namespace, role=role, name=name)
    line = f"{result['fingerprint']} may {role} in {namespace}; keyring version {result['keyring_version']}"
    show(result, line, as_json=as_json)


@command.command("remove")
@click.argument("fingerprint")
@options.as_json
@options.opened
def remove(registry: Registry, *, fingerprint: str, as_json: bool) -> None:
    """Take a key out of the keyring: what it signed no longer verifies with the new version."""
    from embhub_registry.operation import administration

    result = administration.remove_key(registry, fingerprint)
    show(result, f"removed; keyring version {result['keyring_version']}", as_json=as_json)


@command.command("revoke")
@click.argument("fingerprint")
@click.option("--reason", type=click.Choice(KEY_REASONS), required=True, help="Why; what is stolen may not be trusted.")
@options.as_json
@options.opened
def revoke(registry: Registry, *, fingerprint: str, reason: Reason, as_json: bool) -> None:
    """Say that a key signs no more. Stolen: nothing that it signed counts. Otherwise: earlier releases stay good.

    A revocation is final. The site makes a new key, `key add` takes it, and `embhub sign --key` signs anew with it.
    """
    from embhub_registry.operation import administration

    result = administration.revoke_key(registry, fingerprint, reason=reason)
    show(result, f"revoked as {reason}; keyring version {result['keyring_version']}", as_json=as_json)


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """Show the keys, the revoked ones with the reason."""
    from embhub_registry.operation import administration

    result = administration.list_keys(registry)
    lines = [f"{k['fingerprint']} {k['role']:8} {k['namespace']}{_revoked(k['revoked'])}" for k in result["keys"]]
    show(result, f"keyring version {result['keyring_version']}", *lines, as_json=as_json)


def _revoked(revoked: dict[str, str] | None) -> str:
    return f"  {revoked['reason']} on {revoked['date']}" if revoked else ""
