"""`embhub-registry key`: the keyring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show
from embhub_registry.cli.people_and_keys import new_namespace
from embhub_registry.people.roles import KEY_REASONS, KEY_ROLES

if TYPE_CHECKING:
    from embhub.trust.keyring import Reason, Role
    from embhub_registry.storage.folder import Registry


@click.group("key")
def command() -> None:
    """Manage the keyring: which signing keys may publish, audit or withdraw in which namespace."""


@command.command("add")
@click.argument("file", type=options.FILE)
@click.option("--namespace", help="Namespace that the key may sign for  [default: the request's]")
@click.option("--role", type=click.Choice(KEY_ROLES), help="Role of the key  [default: the request's]")
@click.option("--name", default="", help="Display name of the organisation, shown on pages.")
@new_namespace.option
@options.as_json
@options.opened
def add(
    registry: Registry, *, file: Path, namespace: str | None, role: Role | None, name: str, new: bool, as_json: bool
) -> None:
    """Add a key to the keyring from the file of `embhub key request`; the root key signs the new version.

    The request names namespace and role, and the key signed it. A bare public key (PEM of `embhub key export`) is
    accepted with a warning; it needs --namespace and --role.

    Where the root key is elsewhere, the change is pending until `keyring propose`, `sign` and `install`.

    A namespace that does not exist is created only after you confirm it.
    """
    from embhub.trust.origin import origin_of
    from embhub_registry.operation import administration
    from embhub_registry.operation.keyrings import key_requests

    asked = key_requests.read(file, origin=origin_of(registry.setting("url")), namespace=namespace, role=role)
    new_namespace.confirm(registry, asked.namespace, agreed=new)
    result = administration.add_key(registry, file, namespace=asked.namespace, role=asked.role, name=name)
    line = f"{result['fingerprint']} may {asked.role} in {asked.namespace}; {_version(result)}"
    for remark in asked.remarks:
        click.echo(remark, err=True)
    show(result, *new_namespace.lines(result), line, as_json=as_json)


@command.command("remove")
@click.argument("fingerprint")
@options.as_json
@options.opened
def remove(registry: Registry, *, fingerprint: str, as_json: bool) -> None:
    """Remove a key from the keyring for good: nothing that it signed counts any more.

    A removal is final, like a revocation: sites refuse a keyring that brings the key back.
    """
    from embhub_registry.operation import administration

    result = administration.remove_key(registry, fingerprint)
    show(result, f"removed; {_version(result)}", as_json=as_json)


@command.command("revoke")
@click.argument("fingerprint")
@click.option(
    "--reason",
    type=click.Choice(KEY_REASONS),
    required=True,
    help="Reason for revocation; releases signed by a stolen key lose their trust.",
)
@options.as_json
@options.opened
def revoke(registry: Registry, *, fingerprint: str, reason: Reason, as_json: bool) -> None:
    """Revoke a signing key. Stolen: nothing it signed is trusted. Otherwise: earlier releases stay valid.

    A revocation is final. The site creates a new key, `key add` registers it, and `embhub sign --key` signs anew.
    """
    from embhub_registry.operation import administration

    result = administration.revoke_key(registry, fingerprint, reason=reason)
    show(result, f"revoked as {reason}; {_version(result)}", as_json=as_json)


@command.command("raise")
@click.option("--to", type=click.IntRange(min=1), help="New version  [default: 1000 above the present one]")
@options.as_json
@options.opened
def raise_(registry: Registry, *, to: int | None, as_json: bool) -> None:
    """Issue the keyring again with a higher version, so that sites that saw a newer one accept it after a restore."""
    from embhub_registry.operation import administration

    result = administration.raise_keyring(registry, to=to)
    show(result, f"{_version(result)}, before {result['before']}", as_json=as_json)


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """List the keys of the keyring, revoked ones with the reason."""
    from embhub_registry.operation import administration

    result = administration.list_keys(registry)
    lines = [f"{k['fingerprint']} {k['role']:8} {k['namespace']}{_revoked(k['revoked'])}" for k in result["keys"]]
    show(result, _version(result), *lines, as_json=as_json)


def _version(result: dict[str, Any]) -> str:
    version = f"keyring version {result['keyring_version']}"
    return f"{version} is pending until the root signs it: `keyring propose`" if result["pending"] else version


def _revoked(revoked: dict[str, str] | None) -> str:
    return f"  {revoked['reason']} on {revoked['date']}" if revoked else ""
