"""`embhub push`: publish a signed embedding."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import note, print_json, print_pairs, progress_bar


@click.command("push", short_help="Publish a signed embedding.")
@click.argument("file", required=False, type=options.FILE)
@click.argument("repository", required=False, metavar="[NS/NAME]")
@options.card
@options.audit
@options.key
@click.option(
    "--dry-run", is_flag=True, help="Write the files that would be uploaded to --out instead; needs no registry."
)
@click.option("--out", type=options.FILE, metavar="DIR", help="Output folder of --dry-run.")
@click.option(
    "--from", "from_folder", type=options.FILE, metavar="DIR", help="Upload a folder that --dry-run wrote, unchanged."
)
@click.option("--private", is_flag=True, help="If the push creates NS/NAME: visible to NS and the operator only.")
@click.option("--gated", is_flag=True, help="If the push creates NS/NAME: its files go to accounts that you let in.")
@click.option(
    "--embargo", default="", metavar="TIME", help="Nobody else sees the release before, such as 2027-01-31T08:00:00Z."
)
@click.option(
    "--yes", is_flag=True, help="Do not ask before a version that differs from an earlier one by few patients."
)
@options.registry
@options.as_json
def command(file: Path | None, as_json: bool, yes: bool, **choices: Any) -> None:
    """Publish the embedding in FILE as NS/NAME (default: your namespace and FILE's stem).

    Card, report and signatures are uploaded with it as one commit; unsigned files are signed first. Everything is
    checked locally before the first byte is sent. With --dry-run on one machine and --from on another, the machine with
    the images and the key needs no network.

    A new repository gets the registry's default visibility, unless --private or --gated says otherwise. If NS/NAME
    exists with another visibility, nothing is sent and the exit code is 5.

    The command asks before it publishes a version without differential privacy whose patients differ from those of an
    earlier version by one to nine, because the two together reveal information about those few. Without a terminal
    nothing is sent and the exit code is 6.

    Where the registry says that releases need approval, the release is proposed: `proposed` is where it waits.

    \b
    Example:
      embhub push prostate-csPCa.safetensors
      embhub push prostate-csPCa.safetensors radboud/prostate-csPCa --dry-run --out outbox
      embhub push --from outbox
    """
    from embhub.client.publishing import push

    with progress_bar() as on_progress:
        done = push(
            file, on_progress=on_progress, on_note=note, ask_passphrase=options.ask_passphrase,
            confirm=_agree if yes else _ask if sys.stdin.isatty() else None, **choices,
        )  # fmt: skip
    print_json(asdict(done)) if as_json else print_pairs({**asdict(done), "files": ", ".join(done.files)})


def _agree(_: str) -> bool:
    return True


def _ask(question: str) -> bool:
    return click.confirm(question, err=True)
