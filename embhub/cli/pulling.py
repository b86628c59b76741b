"""`embhub pull`: download, verify, and only then write."""

from __future__ import annotations

from typing import Any

import click

from embhub.cli import options
from embhub.cli.describing import print_verified, refusals_listed, warn_of_yank
from embhub.cli.output import print_json, progress_bar, remark


@click.command("pull", short_help="Download and verify a release.")
@click.argument("reference", metavar="NS/NAME[@VERSION|@COMMIT]")
@click.option("--out", type=options.FILE, metavar="DIR", help="Output folder  [default: NAME in the working directory]")
@options.policy
@options.require
@options.registry
@options.as_json
def command(reference: str, as_json: bool, **choices: Any) -> None:
    """Download NS/NAME, verify it against the trusted keyrings, and write it to a folder.

    Nothing is written if verification fails (exit code 4) or the policy refuses (8), and no option skips the check. A
    version older than one seen before is refused, unless it is named: NS/NAME@1.0.0. A yanked release can be pulled
    only by its full commit, with a warning. The folder holds the repository's files and NAME.safetensors, for programs
    that derive the placeholder token from the file name.

    \b
    Example:
      embhub pull radboud/prostate-csPCa --out models/prostate
      embhub pull radboud/prostate-csPCa --policy strict
      embhub pull radboud/prostate-csPCa@1.0.0
    """
    from embhub.client.pulling import choose_folder, pull

    with refusals_listed(as_json=as_json), progress_bar() as on_progress:
        verified = pull(reference, on_progress=on_progress, **choices)
    warn_of_yank(verified)
    remark(f"written to {choose_folder(reference, choices['out'])}")
    print_json(verified.to_json()) if as_json else print_verified(verified)
