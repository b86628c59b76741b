"""`embhub audit`: how much does the embedding tell about its training images?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import countersigning, options
from embhub.cli.output import print_json, print_pairs, print_table, progress_bar

if TYPE_CHECKING:
    from embhub.audits.report import AuditReport


@click.command("audit", short_help="Attack an embedding to see what it tells.")
@click.argument("file", type=options.FILE, metavar="FILE|FOLDER|NS/NAME")
@click.option(
    "--members", type=options.FILE, metavar="IMAGES", help="Images trained on  [default: what `train` remembers]"
)
@click.option(
    "--nonmembers", type=options.FILE, metavar="IMAGES", help="Images held back  [default: what `train` remembers]"
)
@click.option(
    "--suite",
    type=click.Choice(["quick", "standard", "thorough", "mechanism"]),
    default="quick",
    show_default=True,
    help="standard trains shadow embeddings: hours; thorough adds every attack; mechanism tries a claim's code.",
)
@click.option(
    "--shadows",
    type=click.IntRange(2, 512),
    metavar="N",
    default=8,
    show_default=True,
    help="References, and as many targets, beyond the quick suite; more see more.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), metavar="N", default=1, show_default=True,
    help="Processes that train shadow embeddings.",
)  # fmt: skip
@click.option("--cluster", metavar="tcp://HOST:PORT", help="Dask scheduler of your site that trains them instead.")
@click.option(
    "--auc-bound",
    metavar="X",
    type=click.FloatRange(0.5, 0.6, min_open=True),
    default=0.6,
    show_default=True,
    help="AUC that no-leak-detected has to rule out.",
)
@click.option(
    "--tpr-bound",
    metavar="X",
    type=click.FloatRange(0.01, 0.1, min_open=True),
    default=0.1,
    show_default=True,
    help="True-positive rate at 1 % false positives that it has to rule out.",
)
@click.option(
    "--replay",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run audit N of this file again, on the site that made it.",
)
@click.option(
    "--worst",
    is_flag=True,
    help="Also list the ten most exposed patients, by your own names. They stand on this screen and nowhere else.",
)
@click.option(
    "--worst-limit",
    type=click.FloatRange(min=0),
    metavar="SD",
    help="End with exit code 6 if a patient exceeds the mean exposure by more than SD standard deviations.",
)
@options.base_trained_on
@options.device
@click.option(
    "--out", type=options.FILE, metavar="FILE", help="The report  [default: STEM.audit.json beside the embedding]"
)
@click.option(
    "--html",
    type=options.FILE,
    metavar="FILE",
    help="The page with the curves  [default: STEM.audit.html beside the report]",
)
@click.option(
    "--report",
    "pack",
    type=options.FILE,
    metavar="DIR",
    help="Also write the evidence pack there: for whoever decides on release.",
)
@click.option(
    "--reuse", is_flag=True, help="For --report, once the card is written: take the report of --out, attack nothing."
)
@options.as_json
@countersigning.instead
def command(file: Path, as_json: bool, pack: Path | None, reuse: bool, **choices: Any) -> None:
    """Attack the embedding in FILE to see whether it tells members from others.

    Writes a JSON report, which `sign` and `push` take along, and an HTML page with the ROC curves. The quick suite
    finds gross leaks only: a clean quick report is not evidence of safety. Interrupted, the same command goes on after
    the shadow embeddings that were finished.

    Each audit is written to the site's sealed ledger before it runs, and the report says which audit of the file it is.
    embhub draws the seed; --replay runs an earlier audit again with the same one.

    With --countersign an auditor of another house signs the audit report of a published release, once it verifies:
    it says what that vouches for, asks, and adds the attestation to the repository (or to the folder) as a commit.

    \b
    Example:
      embhub audit prostate-csPCa.safetensors
      embhub audit prostate-csPCa.safetensors --members train --nonmembers heldout --suite standard
      embhub audit prostate-csPCa.safetensors --worst
      embhub audit prostate-csPCa.safetensors --reuse --report evidence
      embhub audit --countersign radboud/prostate-csPCa
    """
    if pack is not None:
        from embhub.evidence.pack import check_place

        check_place(pack)  # before the attacks, which can take hours
    report, facts = _take(file, choices["out"], pack) if reuse else _attack(file, choices)
    if pack is not None:
        facts["evidence"] = _write_pack(file, pack, facts)
    _print(report, facts, as_json=as_json)


def _write_pack(file: Path, pack: Path, facts: dict[str, Any]) -> str:
    from embhub.evidence.pack import PAGE, write_pack

    write_pack(file, pack, report=facts["report"])
    return str(pack / PAGE)


def _print(report: AuditReport, facts: dict[str, Any], *, as_json: bool) -> None:
    """The facts, and after them the most exposed patients, who stand in no file."""
    if as_json:
        document = report.model_dump(mode="json", by_alias=True)
        listed = [{"name": item.name, "excess": item.excess} for item in facts.get("worst", ())]
        print_json({"report": document, "worst": listed} if listed else document)
        return
    print_pairs({name: value for name, value in facts.items() if name != "worst"})
    if worst := facts.get("worst"):
        click.echo("\nmost exposed, in standard deviations above the mean (for this site alone)")
        print_table([[item.name, f"{item.excess:+.1f}"] for item in worst])


def _attack(file: Path, choices: dict[str, Any]) -> tuple[AuditReport, dict[str, Any]]:
    from embhub.diffusion.outputs import audit_to_file

    with progress_bar() as on_progress:
        return audit_to_file(file, on_progress=on_progress, **choices)


def _take(file: Path, out: Path | None, pack: Path | None) -> tuple[AuditReport, dict[str, Any]]:
    from embhub.errors import UsageError
    from embhub.evidence.pack import read_report

    if pack is None:
        raise UsageError("--reuse is for --report", "say --report DIR as well, or leave out --reuse to attack")
    report, _, found = read_report(file, out)
    return report, {"verdict": report.verdict, "meaning": report.statement, "report": str(found)}
