"""The operator's command line: `embhub-registry --dir DIR COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from embhub.errors import EmbhubError
from embhub_registry import __version__, administration, checking, folder
from embhub_registry.auth import ROLES

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
DAYS = click.option("--expires-days", "days", type=int, help="End of the token, in days from now (default: none).")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dir", "directory", type=click.Path(path_type=Path), required=True, envvar="EMBHUB_REGISTRY_DIR",
              help="Folder that holds the registry.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
@click.version_option(__version__, prog_name="embhub-registry")
@click.pass_context
def cli(context: click.Context, directory: Path, debug: bool) -> None:
    """Run a registry of signed image embeddings.

    \b
    Example:
      embhub-registry --dir hub init --name "Prostate consortium" --url https://hub.example.org
      embhub-registry --dir hub user add anna --namespace radboud --role publisher
      embhub-registry --dir hub key add --namespace radboud --role publish radboud.pub.pem
      embhub-registry --dir hub serve
    """
    context.obj = directory
    context.meta["debug"] = debug


def opened(command: Callable[..., Any]) -> Callable[..., Any]:
    """Open the registry of --dir for a command and close it after."""

    @click.pass_context
    @wraps(command)
    def run(context: click.Context, /, *args: Any, **arguments: Any) -> Any:
        registry = folder.open_folder(context.obj)
        try:
            return command(registry, *args, **arguments)
        finally:
            registry.close()

    return run


def show(result: dict[str, Any], lines: str, *, as_json: bool) -> None:
    """A result for a machine or for a person."""
    click.echo(folder.dump(result) if as_json else lines)


@cli.command()
@click.option("--name", default="embhub registry", show_default=True, help="What people call it.")
@click.option("--url", default=folder.DEFAULT_URL, show_default=True, help="Its address, which the keyring names.")
@click.option("--audit", type=click.Choice(folder.AUDIT_POLICIES), default="optional", show_default=True,
              help="Whether a release must carry an audit report.")  # fmt: skip
@AS_JSON
@click.pass_context
def init(context: click.Context, *, name: str, url: str, audit: str, as_json: bool) -> None:
    """Lay out a new registry: database, root key, empty keyring, an admin whose token is shown once."""
    registry = folder.create(context.obj, name=name, url=url.rstrip("/"), audit=audit)
    try:
        added = administration.add_user(registry, "admin", namespace="registry", role="admin")
        root = registry.setting("root_fingerprint")
    finally:
        registry.close()
    result = {"dir": str(context.obj), "url": url.rstrip("/"), "root_key": root, **added}
    show(
        result, f"made {context.obj}\nroot key    {root}\nadmin token {added['token']}   (shown once)", as_json=as_json
    )


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8642, show_default=True, help="Port to listen on; 0 takes a free one.")
@AS_JSON
@opened
def serve(registry: folder.Registry, *, host: str, port: int, as_json: bool) -> None:
    """Serve until SIGTERM or Ctrl-C; prints its address once it answers."""
    from embhub_registry import serving

    with registry.alone("serve"):
        serving.serve(registry, host=host, port=port, as_json=as_json)


@cli.group()
def user() -> None:
    """Accounts: who may upload. (A key decides what counts.)"""


@user.command("add")
@click.argument("name")
@click.option("--namespace", required=True, help="The organisation's namespace; made where it is new.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the account may do.")
@DAYS
@AS_JSON
@opened
def user_add(
    registry: folder.Registry, *, name: str, namespace: str, role: str, days: int | None, as_json: bool
) -> None:
    """Create an account and print its token, once."""
    result = administration.add_user(registry, name, namespace=namespace, role=role, days=days)
    show(result, f"{name}: {role} in {namespace}\ntoken {result['token']}   (shown once)", as_json=as_json)


@user.command("list")
@AS_JSON
@opened
def user_list(registry: folder.Registry, *, as_json: bool) -> None:
    """Show accounts, roles and when a token was last used."""
    result = administration.list_users(registry)
    lines = [
        f"{u['name']:20} {u['role']:10} {u['namespace']:20} last used {u['last_used'] or 'never'}"
        for u in result["users"]
    ]
    show(result, "\n".join(lines), as_json=as_json)


@cli.group()
def token() -> None:
    """Tokens: 256 random bits, stored as a digest."""


@token.command("new")
@click.argument("name")
@DAYS
@AS_JSON
@opened
def token_new(registry: folder.Registry, *, name: str, days: int | None, as_json: bool) -> None:
    """Print another token for the account NAME, once."""
    result = administration.new_token(registry, name, days=days)
    show(result, f"token {result['token']}   (shown once)", as_json=as_json)


@token.command("revoke")
@click.argument("which")
@AS_JSON
@opened
def token_revoke(registry: folder.Registry, *, which: str, as_json: bool) -> None:
    """Revoke a token by its id or text, or every token of an account."""
    result = administration.revoke_token(registry, which)
    show(result, f"revoked {result['revoked']}", as_json=as_json)


@token.command("list")
@AS_JSON
@opened
def token_list(registry: folder.Registry, *, as_json: bool) -> None:
    """Show tokens by id, never the secret."""
    result = administration.list_tokens(registry)
    lines = [f"{t['id']} {t['user']:20} {t['state']:8} last used {t['last_used'] or 'never'}" for t in result["tokens"]]
    show(result, "\n".join(lines), as_json=as_json)


@cli.group()
def key() -> None:
    """The keyring: which keys may publish, audit or withdraw in which namespace."""


@key.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--namespace", required=True, help="The namespace that the key speaks for.")
@click.option("--role", type=click.Choice(administration.KEY_ROLES), required=True, help="What its signature may do.")
@click.option("--name", default="", help="The organisation's name in words, shown on pages.")
@AS_JSON
@opened
def key_add(registry: folder.Registry, *, file: Path, namespace: str, role: str, name: str, as_json: bool) -> None:
    """Accept a public key (PEM of `embhub key export`): the keyring's next version, signed by the root key."""
    result = administration.add_key(registry, file, namespace=namespace, role=role, name=name)
    line = f"{result['fingerprint']} may {role} in {namespace}; keyring version {result['keyring_version']}"
    show(result, line, as_json=as_json)


@key.command("remove")
@click.argument("fingerprint")
@AS_JSON
@opened
def key_remove(registry: folder.Registry, *, fingerprint: str, as_json: bool) -> None:
    """Take a key out of the keyring: what it signed no longer verifies with the new version."""
    result = administration.remove_key(registry, fingerprint)
    show(result, f"removed; keyring version {result['keyring_version']}", as_json=as_json)


@key.command("list")
@AS_JSON
@opened
def key_list(registry: folder.Registry, *, as_json: bool) -> None:
    """Show the keys in force."""
    result = administration.list_keys(registry)
    lines = [f"{k['fingerprint']} {k['role']:8} {k['namespace']}" for k in result["keys"]]
    show(result, "\n".join([f"keyring version {result['keyring_version']}", *lines]), as_json=as_json)


@cli.group()
def trust() -> None:
    """What sites pin."""


@trust.command("export")
@click.option("--json", "as_json", is_flag=True, help="The document is JSON either way.")
@opened
def trust_export(registry: folder.Registry, *, as_json: bool) -> None:
    """Print the root's public key and the signed keyring, for `embhub trust add`."""
    del as_json
    click.echo(registry.trust_export().decode(), nl=False)


@cli.command()
@AS_JSON
@opened
@click.pass_context
def check(context: click.Context, registry: folder.Registry, *, as_json: bool) -> None:
    """Read everything back (server stopped): exit 0 when clean, 5 with a list of what is corrupt or orphaned."""
    with registry.alone("check"):
        report = checking.check(registry)
    lines = [*(f"corrupt   {line}" for line in report.corrupt), *(f"orphaned  {line}" for line in report.orphaned)]
    lines.append("clean" if report.clean else f"{len(report.corrupt)} corrupt, {len(report.orphaned)} orphaned")
    show(report.to_json(), "\n".join(lines), as_json=as_json)
    if not report.clean:
        context.exit(5)


def main() -> None:
    """Run the command line; an EmbhubError becomes a message, a hint and an exit code."""
    debug = "--debug" in sys.argv
    try:
        cli.main(prog_name="embhub-registry", standalone_mode=True)
    except EmbhubError as error:
        if debug:
            raise
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  hint: {error.hint}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
