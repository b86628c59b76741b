"""`embhub evidence`: an intake sheet about somebody else's release, for the site that receives it."""

from __future__ import annotations

from typing import Any

import click

from embhub.cli import options
from embhub.cli.describing import refusals_listed
from embhub.cli.output import print_json, print_pairs, remark
from embhub.evidence.languages import CODES


@click.command("evidence", short_help="Write an intake sheet about a release.")
@click.argument("target", metavar="NS/NAME|FOLDER|FILE")
@click.option("--out", type=options.FILE, metavar="DIR", required=True, help="Output folder: new, or an earlier sheet.")
@click.option(
    "--language",
    "languages",
    type=click.Choice(CODES),
    multiple=True,
    help="Also write the first and the last sections in this language, as index.CODE.html; repeatable.",
)
@click.option(
    "--for",
    "standards",
    type=click.Choice(["satre", "ehds"]),
    multiple=True,
    help="Also list the controls for an export from a research environment (SATRE, EHDS), as satre.html; repeatable.",
)
@options.policy
@options.require
@options.registry
@options.as_json
def command(target: str, out: Any, as_json: bool, **choices: Any) -> None:
    """Verify a release and write an intake sheet, for the data protection officer of the site that receives it.

    The sheet states who signed, what the audit says, the recomputed privacy claim, licence, base model and limits, and
    lists what the receiving site must decide itself. It uses public data only. A folder written by `pull` needs no
    network. Nothing is written if verification fails (exit code 4) or the policy refuses (8).

    With --for, a further sheet lists controls for those who decide whether the file may leave a trusted research
    environment (satre) or a secure processing environment (ehds). It names file and digest for each control, who can
    check it, and what nothing shows. It also quotes this site's own ledger and record of the training, if it has them.

    The pack of the publishing site is made by `embhub audit FILE --report DIR`.

    \b
    Example:
      embhub evidence radboud/prostate-csPCa --out intake
      embhub evidence prostate-csPCa --out intake --policy strict
      embhub evidence prostate-csPCa --out intake --language de --language nl
      embhub evidence prostate-csPCa --out intake --for satre
    """
    from embhub.evidence.intake_sheet.intake import PAGE, write_intake

    with refusals_listed(as_json=as_json):
        made = write_intake(target, out, **choices)
    facts = {"repository": made.repository, "version": made.version, "signer": made.publisher.namespace}
    facts |= {"audit": made.audit_words, "sha256": made.subject.sha256, "page": str(out / PAGE)}
    facts |= {key: str(out / f"{key}.html") for key in made.controls}
    print_json({**facts, "warnings": list(made.warnings)}) if as_json else print_pairs(facts)
    remark("open the page in a browser; print it or save it as PDF")
