"""`embhub pull`: download, verify, and only then write."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.describing import print_verified, refusals_listed, warn_of_yank
from embhub.cli.output import print_json, progress_bar
from embhub.formats.plain_text import plain

if TYPE_CHECKING:
    from embhub.release.verification import Verified


@click.command("pull", short_help="Download and verify a release.")
@click.argument("reference", metavar="[hub:]NS/NAME[@VERSION|@COMMIT]", required=False)
@click.option(
    "--locked", type=options.FILE, metavar="FILE",
    help="Lock file of `embhub lock`: pull exactly its releases, or that of NS/NAME, and refuse any difference.",
)  # fmt: skip
@click.option(
    "--out",
    type=options.FILE,
    metavar="DIR",
    help="Output folder  [default: NAME in the working directory]; with --locked, the folder of these folders",
)
@options.policy
@options.require
@options.registry
@options.as_json
def command(reference: str | None, locked: Path | None, as_json: bool, **choices: Any) -> None:
    """Download NS/NAME, verify it against the trusted keyrings, and write it to a folder.

    Nothing is written if verification fails (exit code 4) or the policy refuses (8), and no option skips the check. A
    release older than one seen before is refused, unless it is named by version, commit or lock file. A yanked release
    can be pulled only by its full commit, with a warning. The folder holds the repository's files and NAME.safetensors,
    for programs that derive the placeholder token from the file name.

    With hub:OWNER/NAME the files come from the public Hub (HF_ENDPOINT). The registries trusted here decide about them,
    without being asked: `embhub trust refresh` first brings the newest withdrawals.

    \b
    Example:
      embhub pull radboud/prostate-csPCa --out models/prostate
      embhub pull radboud/prostate-csPCa --policy strict
      embhub pull radboud/prostate-csPCa@1.0.0
      embhub pull hub:radboudumc/prostate-csPCa
      embhub pull --locked embhub.lock --out models
    """
    if locked is None and reference is None:
        raise click.UsageError("Missing argument 'NS/NAME', or --locked FILE.")
    with refusals_listed(as_json=as_json), progress_bar() as on_progress:
        pulled = _pull(reference, locked, on_progress=on_progress, **choices)
    for _, verified in pulled:
        warn_of_yank(verified)
    _show(pulled, as_list=locked is not None, as_json=as_json)


def _pull(reference: str | None, locked: Path | None, **choices: Any) -> list[tuple[Path, Verified]]:
    from embhub.client.pulling import locking
    from embhub.client.pulling import pull as pulling

    if locked is not None:
        return locking.pull_locked(locked, reference, **choices)
    name = str(reference)
    return [(pulling.choose_folder(name, choices["out"]), pulling.pull(name, **choices))]


def _show(pulled: list[tuple[Path, Verified]], *, as_list: bool, as_json: bool) -> None:
    if as_json:
        documents = [verified.to_json() for _, verified in pulled]
        print_json(documents if as_list else documents[0])
        return
    for folder, verified in pulled:
        print_verified(verified, target=folder, more={"written": str(folder), "next": _next(folder, verified)})


def _next(folder: Path, verified: Verified) -> str:
    """A command that generates with what was pulled."""
    from embhub.cards.samples import usual_prompt

    prompt = plain(usual_prompt(verified.card, verified.embedding.training.get("caption")))
    return shlex.join(["embhub", "generate", prompt, "--embedding", str(folder), "--out", "images"])
