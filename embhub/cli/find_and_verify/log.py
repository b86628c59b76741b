"""`embhub log`: watch a registry's transparency log, be its witness, show and verify it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_result
from embhub.cli.whole_help import WholeHelpGroup


@click.group("log", cls=WholeHelpGroup, short_help="Watch a registry's transparency log; be a witness.")
def command() -> None:
    """Watch the transparency log of a trusted registry. Each site can be a monitor and a witness.

    \b
    Example:
      embhub log watch https://embhub.example.org --cosign witness.pem
      embhub log watch https://embhub.example.org --namespace radboud
      embhub log show https://embhub.example.org
    """


@command.command("watch")
@click.argument("url")
@click.option("--cosign", "key", type=click.Path(path_type=Path), help="Key file of the witness; made if missing.")
@click.option(
    "--name", default="", help="Name of a new witness, such as witness.umcu.example  [required to make a key]."
)
@click.option("--listen", metavar="HOST:PORT", help="Also answer `add-checkpoint` requests at this address.")
@click.option("--namespace", help="Report entries that its keys signed and this site's record does not know.")
@click.option("--accept", is_flag=True, help="Note the reported entries as known.")
@click.option("--every", type=click.FloatRange(min=1), help="Repeat after this many seconds  [default: look once].")
@options.as_json
def watch(url: str, as_json: bool, **choices: Any) -> int:
    """Read what was added to the log at URL, check that nothing else changed, and cosign it.

    Exit code 4: the log was rewritten or cut, or what it sent is damaged; the signed checkpoints are kept, and each run
    says so until it is explained. With --every, each round says so. A cosignature that is refused, here (4) or by the
    registry (5), ends likewise. Exit code 8: with --namespace, an entry that this
    site did not sign, or that nobody signed. Each run takes the registry's newest keyring.

    \b
    Example:
      embhub log watch https://embhub.example.org --every 300 --cosign witness.pem --name watch.umcu.example
      embhub log watch https://embhub.example.org --namespace radboud --json
    """
    from embhub.cli.find_and_verify.log_rounds import run

    return run(url, show=lambda found: print_json(found.to_json()) if as_json else _print(found), **choices)


@command.command("show")
@click.argument("url")
@options.as_json
def show(url: str, as_json: bool) -> None:
    """Show the newest checkpoint of the log at URL, to compare with what another site sees.

    \b
    Example:
      embhub log show https://embhub.example.org
    """
    from embhub.cli.find_and_verify.log_rounds import describe

    print_result(describe(url), as_json=as_json)


@command.command("verify")
@click.argument("url")
@click.option("--from", "folder", type=click.Path(path_type=Path), help="Read the log's files from this folder.")
@options.as_json
def verify(url: str, folder: Path | None, as_json: bool) -> None:
    """Read the whole log of the registry at URL again, and check each entry against the signed checkpoint.

    \b
    Example:
      embhub log verify https://embhub.example.org
      embhub log verify /media/stick/hub
    """
    from embhub.cli.find_and_verify.log_rounds import verify_all

    print_result(verify_all(url, folder), as_json=as_json)


@command.command("policy")
@click.option("--witness", "witnesses", multiple=True, metavar="KEY", help="Witness to rely on; repeat for several.")
@click.option("--quorum", metavar="N|all", help="How many of them must cosign  [default: all].")
@click.option("--replace", is_flag=True, help="Replace an earlier log policy, except for its log keys.")
@options.as_json
def policy(witnesses: tuple[str, ...], quorum: str | None, replace: bool, as_json: bool) -> None:
    """Show the witnesses that this site relies on, or name them with --witness.

    The policy `strict` and the demand `witnessed` refuse a release that no quorum of them vouches for. KEY is what
    `embhub log watch --cosign` prints at the witness. Get it from whoever runs the witness, never from the registry: a
    registry could run witnesses of its own.

    \b
    Example:
      embhub log policy
      embhub log policy --witness watch.umcu.example+5f4e3d2c+BC… --witness watch.lumc.example+0a1b2c3d+BA… --quorum 1
    """
    from embhub.client.log import log_policy

    if not witnesses and (replace or quorum is not None):
        raise click.UsageError("--quorum and --replace need --witness")
    if witnesses:
        log_policy.write(witnesses, quorum=quorum or log_policy.ALL, replace=replace)
    found = log_policy.describe()
    if not as_json:
        found |= {name: ", ".join(found[name]) for name in ("logs", "witnesses")}
    print_result(found, as_json=as_json)


@command.command("submit")
@click.argument("file", type=options.FILE)
@options.registry
@options.as_json
def submit(file: Path, registry: str | None, as_json: bool) -> None:
    """Send the design, or the result, of a registered audit to the registry's log.

    FILE is what `embhub audit` wrote: NAME.audit-design.json (or the file of --design-out) before the audit runs,
    NAME.audit-result.json after it. It holds no image and names no patient.

    \b
    Example:
      embhub log submit prostate-csPCa.audit-design.json
    """
    from dataclasses import asdict

    from embhub.client.publishing.registering import submit as send

    print_result(asdict(send(file, registry=registry)), as_json=as_json)


def _print(found: Any) -> None:
    new = f"{found.read:,} read, {found.before:,} known before"
    click.echo(f"{found.log}  {found.size:,} entries ({new}); {found.cosigned or 'not cosigned'}")
    click.echo(f"witnesses  {found.witnesses.text}")
    for path in found.unexplained:
        click.echo(f"unproven   {path}")
    for line in found.keyring:
        click.echo(f"keyring    {line}")
    for entry in found.unknown:
        if entry.is_signed:
            click.echo(f"unknown    entry {entry.index:,}: {entry.fingerprint} signed {entry.identity}")
        else:
            click.echo(f"invented   entry {entry.index:,} names {entry.fingerprint}, which did not sign it")
    if found.more_unknown:
        click.echo(f"unknown    {found.more_unknown:,} further entries, which the next run lists after --accept")
    if found.more_invented:
        click.echo(f"invented   {found.more_invented:,} further entries, which the next run lists after --accept")
