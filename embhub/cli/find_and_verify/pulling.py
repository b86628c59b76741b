"""`embhub pull`: download, verify, and only then write."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.describing import print_verified, refusals_listed, warn_of_yank
from embhub.cli.output import print_json, print_table, progress_bar, remark
from embhub.formats.plain_text import plain

if TYPE_CHECKING:
    from embhub.release.lock_file import Locked
    from embhub.release.verification import Verified


@click.command("pull", short_help="Download and verify a release.")
@click.argument("reference", metavar="[hub:]NS/NAME[@VERSION|@COMMIT]", required=False)
@click.option(
    "--locked", type=options.FILE, metavar="FILE",
    help="Lock file of --lock: pull exactly its releases, or that of NS/NAME, and refuse any difference.",
)  # fmt: skip
@click.option(
    "--lock", type=options.FILE, metavar="FILE",
    help="Write a lock file of the release, and of every release pulled into the working directory.",
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
def command(reference: str | None, locked: Path | None, lock: Path | None, as_json: bool, **choices: Any) -> None:
    """Download NS/NAME, verify it against the trusted keyrings, and write it to a folder.

    Nothing is written if verification fails (exit code 4) or the policy refuses (8), and no option skips the check. A
    release older than one seen before is refused, unless it is named by version, commit or lock file. A yanked release
    can be pulled only by its full commit, with a warning. The folder holds the repository's files and NAME.safetensors,
    for programs that derive the placeholder token from the file name.

    --lock writes a lock file: repository, registry, version, commit, digests, signer and root key of each release.
    --locked pulls exactly these later, on this machine or another one. Without NS/NAME, --lock pulls nothing: it
    verifies the folders in the working directory and locks them.

    With hub:OWNER/NAME the files come from the public Hub (HF_ENDPOINT). The registries trusted here decide about them,
    without being asked: `embhub trust refresh` first brings the newest withdrawals.

    \b
    Example:
      embhub pull radboud/prostate-csPCa --out models/prostate
      embhub pull radboud/prostate-csPCa --policy strict
      embhub pull radboud/prostate-csPCa@1.0.0
      embhub pull hub:radboudumc/prostate-csPCa
      embhub pull radboud/prostate-csPCa --lock embhub.lock
      embhub pull --locked embhub.lock --out models
    """
    _check(reference, locked, lock)
    if reference is None and lock is not None:
        _lock_folders(lock, as_json=as_json, **choices)
        return
    with refusals_listed(as_json=as_json), progress_bar() as on_progress:
        pulled = _pull(reference, locked, on_progress=on_progress, **choices)
    if lock is not None:
        _lock([folder for folder, _ in pulled], lock, **choices)
    _show(pulled, as_list=locked is not None, as_json=as_json)


def _check(reference: str | None, locked: Path | None, lock: Path | None) -> None:
    if locked is not None and lock is not None:
        raise click.UsageError("--locked and --lock exclude each other")
    if locked is None and lock is None and reference is None:
        raise click.UsageError("Missing argument 'NS/NAME', or --locked FILE.")


def _lock(folders: list[Path], lock: Path, **choices: Any) -> tuple[Locked, ...]:
    from embhub.client.pulling import locking

    choices.pop("out", None)  # where a release is written, not its lock file
    rows = locking.lock([*locking.pulled_here(), *map(str, folders)], out=lock, **choices)
    remark(f"written to {lock}")
    return rows


def _lock_folders(lock: Path, *, as_json: bool, out: Path | None, **choices: Any) -> None:
    if out is not None:
        raise click.UsageError("--out needs NS/NAME, or --locked FILE")
    rows = _lock([], lock, **choices)
    lines = [(row.repository, row.version, row.registry, row.embedding[:12]) for row in rows]
    print_json([asdict(row) for row in rows]) if as_json else print_table(lines)


def _pull(reference: str | None, locked: Path | None, **choices: Any) -> list[tuple[Path, Verified]]:
    from embhub.client.pulling import locking
    from embhub.client.pulling import pull as pulling

    if locked is not None:
        return locking.pull_locked(locked, reference, **choices)
    name = str(reference)
    return [(pulling.choose_folder(name, choices["out"]), pulling.pull(name, **choices))]


def _show(pulled: list[tuple[Path, Verified]], *, as_list: bool, as_json: bool) -> None:
    for _, verified in pulled:
        warn_of_yank(verified)
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
