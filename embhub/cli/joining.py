"""`embhub join`: use an invitation to a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub.cli import options
from embhub.cli.output import print_result, remark

if TYPE_CHECKING:
    from embhub.client.member.joining import Joined


@click.command("join", short_help="Join a registry by an invitation.")
@click.argument("invite", metavar="[INVITE]", default="-")
@click.option("--no-witness", is_flag=True, help="Do not make this site a witness of the registry's log.")
@options.insecure
@options.as_json
def command(invite: str, no_witness: bool, as_json: bool) -> None:
    """Pin the registry's root key and make your account there, by the INVITE that its operator sent.

    An invitation works once. Without INVITE, or with `-`, it is asked for, which keeps it out of the shell's history.

    The site becomes a witness of the registry's log, and its log policy names this witness if it names none. Then the
    policy `strict` works from the first day, for what the log held at the last round of `embhub log watch --cosign`. It
    shows that your site is always shown one history of the log.

    \b
    Example:
      embhub join
    """
    from embhub.client.member.joining import join

    done = join(options.ask_secret("Invitation") if invite == "-" else invite, as_witness=not no_witness)
    facts = {
        "registry": done.registry, "root key": done.root_key, "account": done.account.name,
        "namespaces": done.account.in_words(), "kept in": done.file,
        "witness": done.witness or None, "log": done.cosigned or None,
    }  # fmt: skip
    print_result(facts, as_json=as_json)
    if done.refused is not None:
        remark(" the account was made; the registry's log was not cosigned")
        raise done.refused
    remark(" next: embhub doctor")
    if done.key is not None:
        remark(f" and every hour, from cron: {_watch(done)}")


def _watch(done: Joined) -> str:
    """The command by which this site's witness goes on."""
    namespace = "".join(f" --namespace {name}" for name in done.account.namespaces[:1])
    return f"embhub log watch {done.registry} --cosign {done.key}{namespace}"
