"""`embhub-registry init`: a new registry."""

from __future__ import annotations

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import ending, show
from embhub_registry.storage.settings import AUDIT_POLICIES, DEFAULT_URL


@click.command("init")
@click.option("--name", default="embhub registry", show_default=True, help="Display name of the registry.")
@click.option(
    "--url", default=DEFAULT_URL, show_default=True, help="Public URL of the registry, which the keyring names."
)
@click.option(
    "--audit",
    type=click.Choice(AUDIT_POLICIES),
    default="optional",
    show_default=True,
    help="Whether a release must carry an audit report.",
)
@click.option(
    "--closed",
    is_flag=True,
    help="Private by choice: reading needs an access token, and new repositories are private (two settings).",
)
@options.as_json
@click.pass_context
def command(context: click.Context, *, name: str, url: str, audit: str, closed: bool, as_json: bool) -> None:
    """Create a new registry: database, root key, empty keyring, and an admin whose access token is shown once."""
    from embhub_registry.operation import administration
    from embhub_registry.people.names import check_display
    from embhub_registry.storage import folder

    registry = folder.create(context.obj, name=check_display(name), url=url, audit=audit, closed=closed)
    try:
        added = administration.add_user(registry, "admin", namespace="registry", role="admin")
        made = {"dir": str(context.obj), "url": registry.setting("url")}
        made["root_key"] = registry.setting("root_fingerprint")
    finally:
        registry.close()
    lines = [f"made        {context.obj}", f"root key    {made['root_key']}"]
    lines += ["closed      reading needs an access token; new repositories are private"] if closed else []
    lines.append(f"admin token {added['token']}   (shown once, {ending(added)})")
    show({**made, "closed": closed, **added}, *lines, as_json=as_json)
