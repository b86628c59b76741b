"""`embhub push`: publish a signed embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import ask_on_terminal, note, print_json, print_pairs, progress_bar
from embhub.errors import UsageError


@click.command("push", short_help="Publish a signed embedding.")
@click.argument("file", required=False, type=options.FILE)
@click.argument("repository", required=False, metavar="[NS/NAME]")
@click.option(
    "--to",
    metavar="hub[:OWNER/NAME]",
    help="Publish on the Hugging Face Hub what the registry serves already. FILE may be NS/NAME[@VERSION] then.",
)
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
    "--yes", is_flag=True,
    help="Do not ask: of a leak that the audit detected, of few patients that two versions differ by, of --to hub.",
)  # fmt: skip
@options.registry
@options.as_json
def command(file: Path | None, as_json: bool, yes: bool, to: str | None, **choices: Any) -> None:
    """Publish the embedding in FILE as NS/NAME (default: your namespace and FILE's stem).

    Card, report and signatures are uploaded with it as one commit; unsigned files are signed first. Everything is
    checked locally before the first byte is sent. With --dry-run on one machine and --from on another, the machine with
    the images and the key needs no network.

    A new repository gets the registry's default visibility, unless --private or --gated says otherwise. If NS/NAME
    exists with another visibility, nothing is sent and the exit code is 5.

    The command asks before it sends a release whose own audit says leak-detected. It also asks before it publishes a
    version without differential privacy if its patients differ by one to nine from those of another such file of this
    site. The two together reveal information about those few. Without a terminal nothing is sent and the exit code is
    6.

    FILE may be a report on a base, ending in .json (`embhub report`). If nobody signed it, what it states is printed
    and signed first. It is shown on the registry's page of bases.

    Where the registry says that releases need approval, the release is proposed: `proposed` is where it waits.

    With --to hub, the release goes to the public Hub with your own token of it (HF_TOKEN, or `hf auth login`), as the
    registry serves it. A release that leaks, has no audit, is not published there or was withdrawn is refused. What the
    Hub does not do is said first, and asked about. It needs `embhub[hub]`.

    \b
    Example:
      embhub push prostate-csPCa.safetensors
      embhub push prostate-csPCa.safetensors radboud/prostate-csPCa --dry-run --out outbox
      embhub push --from outbox
      embhub push sd15.json
      embhub push radboud/prostate-csPCa@1.0.0 --to hub:radboudumc/prostate-csPCa
    """
    send: Callable[..., Any] = _push if to is None else _publish_on_hub
    with progress_bar() as on_progress:
        done = send(
            file, to=to, on_progress=on_progress, on_note=note,
            confirm=_agree if yes else ask_on_terminal(), **choices,
        )  # fmt: skip
    print_json(asdict(done)) if as_json else print_pairs({**asdict(done), "files": ", ".join(done.files)})


def _push(file: Path | None, *, to: None, **choices: Any) -> Any:  # noqa: ARG001  # as `_publish_on_hub`
    if file is not None and file.suffix == ".json":
        return _send_report(file, **choices)
    from embhub.client.publishing.push import push

    return push(file, ask_passphrase=options.ask_passphrase, **choices)


def _send_report(file: Path, *, registry: str | None, key: str | None, **choices: Any) -> Any:
    from embhub.client.member import base_reporting

    if given := [name for name, value in choices.items() if not name.startswith(("on_", "confirm")) and value]:
        raise UsageError(f"a report takes no {given[0]}: it is sent as it is", "leave it out")
    return base_reporting.send(file, registry=registry, key=key, ask_passphrase=options.ask_passphrase, on_note=note)


def _publish_on_hub(file: Path | None, *, from_folder: Path | None, private: bool, gated: bool, **choices: Any) -> Any:
    from embhub.client.publishing.hub_publishing import check_place, publish

    check_place(choices["to"])
    if (file is None) == (from_folder is None):
        raise UsageError("push takes one thing", "pass a file, NS/NAME[@VERSION], or --from with a folder")
    kept = ("to", "registry", "on_progress", "on_note", "confirm")
    if given := [name for name, value in choices.items() if name not in kept and value]:
        raise UsageError(
            f"--to hub takes no --{given[0].replace('_', '-')}: it sends what the registry serves", "leave it out"
        )
    told = {name: choices[name] for name in kept}
    return publish(str(file or from_folder), private=private, gated=gated, **told)


def _agree(_: str) -> bool:
    return True
