"""`embhub-registry init`: a new registry."""

from __future__ import annotations

from typing import Any

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
@click.option("--root-key", "root_keys", type=options.FILE, multiple=True, metavar="PUBLIC.pem",
              help="Public half of a root key that is kept elsewhere; repeatable.")  # fmt: skip
@click.option("--threshold", type=click.IntRange(1, 16), metavar="K",
              help="How many of the root keys must sign a keyring  [default: all].")  # fmt: skip
@options.as_json
@click.pass_context
def command(context: click.Context, /, *, as_json: bool, **choices: Any) -> None:
    """Create a new registry: database, keyring, and an admin whose access token is shown once.

    Without --root-key the root key is made in --dir: then whoever can read this disk or its backup is the root. With
    --root-key no private key is in --dir, and `keyring propose`, `sign` and `install` put the first keyring in force.
    """
    from embhub_registry.operation import initialising

    chosen = {name: context.meta[name] for name in ("online_keys", "database")} | choices
    made = initialising.initialise(options.data_folder(context), **chosen)
    lines = [f"made        {made['dir']}", f"root key    {made['root_key']}", *_root_lines(made)]
    lines += ["closed      reading needs an access token; new repositories are private"] if made["closed"] else []
    lines.append(f"admin token {made['token']}   (shown once, {ending(made)})")
    show(made, *lines, as_json=as_json)


def _root_lines(made: dict[str, Any]) -> list[str]:
    if made["root_is_here"]:
        return [
            "            it is in this folder: whoever can read this disk or its backup can sign in any member's name;",
            "            for a registry that others rely on, keep it elsewhere (--root-key)",
        ]
    return [
        "            kept elsewhere; before members can publish: `keyring propose`, `keyring sign`, `keyring install`",
        f"online keys {made['online_keys']}   (keep them out of backups)",
    ]
