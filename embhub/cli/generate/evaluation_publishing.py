"""`embhub evaluate --publish-to`: show exactly what would leave the site, ask, sign and send it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar, remark
from embhub.errors import PrivacyError, UsageError

if TYPE_CHECKING:
    from embhub.client.member.evaluating import Draft, Target
    from embhub.diffusion.evaluation.evaluating import Evaluated

_OWN = ("publish_to", "key", "registry", "yes", "dry_run")
_OPTIONS = (
    click.option(
        "--publish-to", metavar="NS/NAME[@VERSION]",
        help="Publish rounded figures, signed, beside the release that was evaluated; you are asked first.",
    ),
    click.option("--key", metavar="NAME", help="For --publish-to: key to sign with  [default: as for `sign`]"),
    click.option("--registry", metavar="URL", help="For --publish-to  [default: as for `pull`]"),
    click.option("--yes", is_flag=True, help="For --publish-to: publish without asking."),
    click.option("--dry-run", is_flag=True, help="For --publish-to: write the statement to --report, send nothing."),
)  # fmt: skip


def publishable(measure: Callable[..., Evaluated]) -> Callable[..., None]:
    """The command, with `--publish-to` and what belongs to it: before it runs for hours, it asks whether it could.

    With `--json` and `--publish-to` the publication alone is printed; the report is in its file.
    """

    @functools.wraps(measure)
    def run(report: Path, as_json: bool, **choices: Any) -> None:
        own = {name: choices.pop(name) for name in _OWN}
        target = _begin(**own)
        found = measure(report=report, **choices)
        if target is None or not as_json:
            show(found, report, as_json=as_json)
        if target is not None:
            _publish(target, found, report, yes=own["yes"], dry_run=own["dry_run"], as_json=as_json)

    for option in reversed(_OPTIONS):
        option(run)
    return run


def show(found: Evaluated, folder: Path, *, as_json: bool) -> None:
    """What was found, for the person at the site."""
    from embhub.diffusion.evaluation import evaluating, page

    if as_json:
        click.echo(found.report.to_bytes(), nl=False)
        return
    print_pairs({"found": found.report.words(), "page": folder / evaluating.PAGE, "report": folder / evaluating.REPORT})
    for line in page.remarks(found.report):
        click.echo(f"  - {line}")


def _begin(publish_to: str | None, key: str | None, registry: str | None, *, yes: bool, dry_run: bool) -> Target | None:
    from embhub.client.member.evaluating import begin, check_choices

    check_choices(publish_to, key=key, registry=registry, yes=yes, dry_run=dry_run)
    if publish_to is None:
        return None
    with progress_bar() as on_progress:
        return begin(publish_to, key=key, registry=registry, on_progress=on_progress)


def _publish(target: Target, found: Evaluated, folder: Path, *, yes: bool, dry_run: bool, as_json: bool) -> None:
    from embhub.client.member import evaluating

    if found.cohort is None:
        raise PrivacyError(
            "the images name no patients, so nobody knows how many people the figures are of",
            "add patient ids to both manifests; the report was written, and nothing was published",
        )
    draft = evaluating.prepare(target, found.report, found.cohort)
    _say(draft)
    if dry_run:
        facts = {"wrote": str(evaluating.write(draft, folder)), "sent": "nothing"}
    else:
        if not yes and not (sys.stdin.isatty() and click.confirm("Publish this? Publication is permanent", err=True)):
            raise UsageError("nothing was published", "pass --yes, or run this on a terminal and confirm")
        facts = asdict(evaluating.publish(draft, ask_passphrase=options.ask_passphrase))
    print_json(facts) if as_json else print_pairs(facts)


def _say(draft: Draft) -> None:
    """On stderr, before anything is signed: in words, then the bytes themselves."""
    remark(click.style("what others will read", bold=True))
    for sentence in draft.leaves():
        remark(f"  - {sentence}")
    remark(click.style("the statement, whole: nothing else leaves this site", bold=True))
    remark(draft.document.decode())
