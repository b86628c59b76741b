"""`embhub lock`: note which releases exactly are in use."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_table, remark


@click.command("lock", short_help="Write a lock file of releases in use.")
@click.argument("targets", metavar="[NS/NAME|FOLDER]...", nargs=-1)
@click.option(
    "-o", "--out", type=options.FILE, metavar="FILE", default=Path("embhub.lock"), show_default=True,
    help="Lock file to write; an existing one is replaced.",
)  # fmt: skip
@options.policy
@options.require
@options.registry
@options.as_json
def command(targets: tuple[str, ...], out: Path, as_json: bool, **choices: Any) -> None:
    """Verify releases and write a lock file: repository, registry, version, commit, digests, signer and root key.

    Without arguments, the pulled folders in the working directory are locked. `embhub pull --locked FILE` pulls exactly
    these releases later, on this machine or another one, and refuses any difference.

    \b
    Example:
      embhub lock radboud/prostate-csPCa nki/lung-nodule
      embhub lock prostate-csPCa -o paper.lock
      embhub pull --locked paper.lock
    """
    from embhub.client.pulling.locking import lock

    rows = lock(targets, out=out, **choices)
    remark(f"written to {out}")
    lines = [(row.repository, row.version, row.registry, row.embedding[:12]) for row in rows]
    print_json([asdict(row) for row in rows]) if as_json else print_table(lines)
