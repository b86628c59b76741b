"""`embhub verify`: check that a release is what a trusted publisher signed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.describing import print_every_check, print_verified, refusals_listed, warn_of_yank
from embhub.cli.output import print_json


@click.command("verify", short_help="Verify signatures, card and audit report.")
@click.argument("target", metavar="FILE|FOLDER|[hub:]NS/NAME", required=False)
@options.policy
@options.require
@options.registry
@click.option("--all", "every", is_flag=True, help="List each check and what it found.")
@click.option(
    "--pulled", is_flag=True,
    help="Report whether anything that this site pulled, or only the target, was yanked or withdrawn.",
)  # fmt: skip
@click.option("--refresh", is_flag=True, help="With --pulled: download the newest keyrings and advisories first.")
@options.as_json
def command(target: str | None, pulled: bool, refresh: bool, as_json: bool, **choices: Any) -> int:
    """Verify an embedding with its card, report and signatures.

    A file, a folder written by `pull` or an OCI image layout needs no network; the registry's last known answers about
    it apply. Exit code 4: not what a trusted publisher signed. Exit code 8: validly signed, but refused by the policy.

    FILE may be a report on a base, ending in .json (`embhub report`): its signature is verified, and its checks are
    shown.

    With --pulled it reports what was yanked or withdrawn, or signed with a stolen key, of all that this site pulled.
    The answer is as new as the advisories kept here, whose age is shown; --refresh fetches the newest. Exit code 8:
    something must not be used any more. Exit code 4: a folder does not verify.

    \b
    Example:
      embhub verify prostate-csPCa
      embhub verify prostate-csPCa --all
      embhub verify radboud/prostate-csPCa --policy strict --json
      embhub verify prostate-csPCa --require 'not-yanked,epsilon<=4'
      embhub verify --pulled --refresh
      embhub verify sd15.json
    """
    if refresh and not pulled:
        raise click.UsageError("--refresh needs --pulled")
    if pulled:
        return _report(target, refresh=refresh, as_json=as_json, **choices)
    if target is None:
        raise click.UsageError("Missing argument 'FILE|FOLDER|NS/NAME', or --pulled.")
    (_verify_report if target.endswith(".json") else _verify)(target, as_json=as_json, **choices)
    return 0


def _verify_report(target: str, *, as_json: bool, **choices: Any) -> None:
    """A report on a base, for which a release's policy and demands mean nothing."""
    from embhub.cli.this_machine.reporting import show
    from embhub.client.member import base_reporting

    if choices != {"every": False, "policy": "standard", "require": "", "registry": None}:
        raise click.UsageError("a report on a base is verified by its signature: leave out the other options")
    found = base_reporting.verify(Path(target))
    who = {"by": f"{found.institution} ({found.namespace})", "key": found.key, "registry": found.registry}
    show(found.report, {**who, "fingerprint": found.fingerprint, "signed": found.created}, as_json=as_json)


def _verify(target: str, *, every: bool, as_json: bool, **choices: Any) -> None:
    from embhub.client.pulling.pull import verify_path

    with refusals_listed(as_json=as_json):
        verified = verify_path(target, **choices)
    warn_of_yank(verified)
    if as_json:
        print_json(verified.to_json())
    elif every:
        print_every_check(verified)
    else:
        print_verified(verified, target=target)


def _report(
    target: str | None, *, refresh: bool, as_json: bool, registry: str | None, every: bool, **rules: Any
) -> int:  # fmt: skip
    if every or rules != {"policy": "standard", "require": ""}:
        raise click.UsageError("--pulled asks whether something was withdrawn: leave out --all, --policy and --require")
    if refresh:
        from embhub.client.trusted.roots import refresh_roots

        refresh_roots(registry)
    elif registry:
        raise click.UsageError("--registry needs --refresh")
    from embhub.cli.find_and_verify import status

    return status.report(target, as_json=as_json)
