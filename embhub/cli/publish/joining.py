"""`embhub login --invite`: use an invitation to a registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.output import print_result, remark

if TYPE_CHECKING:
    from embhub.client.member.joining import Joined

_ASK = "-"


def invitation(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--invite`, and what belongs to it."""
    invite = click.option(
        "--invite", metavar="[CODE]", is_flag=False, flag_value=_ASK,
        help="Join the registry by an invitation. Omit CODE to be prompted, which keeps it out of the shell's history.",
    )  # fmt: skip
    witness = click.option(
        "--no-witness", is_flag=True, help="With --invite: do not make this site a witness of the registry's log."
    )
    return invite(witness(command))


def join_by(invite: str, *, no_witness: bool, as_json: bool) -> None:
    """Join, and say what was done and what comes next."""
    from embhub.client.member.joining import join

    done = join(options.ask_secret("Invitation") if invite == _ASK else invite, as_witness=not no_witness)
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
