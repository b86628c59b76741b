"""`embhub verify`: check that a release is what a trusted publisher signed."""

from __future__ import annotations

from typing import Any

import click

from embhub.cli import options
from embhub.cli.describing import print_every_check, print_verified, refusals_listed, warn_of_yank
from embhub.cli.output import print_json


@click.command("verify", short_help="Verify signatures, card and audit report.")
@click.argument("target", metavar="FILE|FOLDER|[hub:]NS/NAME")
@options.policy
@options.require
@options.registry
@click.option("--all", "every", is_flag=True, help="List each check and what it found.")
@options.as_json
def command(target: str, every: bool, as_json: bool, **choices: Any) -> None:
    """Verify an embedding with its card, report and signatures.

    A file, a folder written by `pull` or an OCI image layout needs no network; the registry's last known answers about
    it apply. Exit code 4: not what a trusted publisher signed. Exit code 8: validly signed, but refused by the policy.

    \b
    Example:
      embhub verify prostate-csPCa
      embhub verify prostate-csPCa --all
      embhub verify radboud/prostate-csPCa --policy strict --json
      embhub verify prostate-csPCa --require 'not-yanked,epsilon<=4'
    """
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
