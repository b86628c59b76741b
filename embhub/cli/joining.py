"""`embhub join`: use an invitation to a registry."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_result, remark


@click.command("join", short_help="Join a registry by an invitation.")
@click.argument("invite", metavar="[INVITE]", default="-")
@options.insecure
@options.as_json
def command(invite: str, as_json: bool) -> None:
    """Pin the registry's root key and make your account there, by the INVITE that its operator sent.

    An invitation works once. Without INVITE, or with `-`, it is asked for, which keeps it out of the shell's history.

    \b
    Example:
      embhub join
    """
    from embhub.client.member.joining import join

    done = join(options.ask_secret("Invitation") if invite == "-" else invite)
    facts = {
        "registry": done.registry, "root key": done.root_key, "account": done.account.name,
        "namespaces": ", ".join(done.account.namespaces), "kept in": done.file,
    }  # fmt: skip
    print_result(facts, as_json=as_json)
    remark(" next: embhub doctor")
