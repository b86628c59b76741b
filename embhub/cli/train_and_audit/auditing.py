"""`embhub audit`: membership inference attacks on an embedding, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.option_groups import option_group
from embhub.cli.output import print_json, print_pairs, print_table, progress_bar
from embhub.cli.publish import countersigning
from embhub.cli.train_and_audit import registering
from embhub.evidence.languages import CODES
from embhub.options.audit import AuditOptions

if TYPE_CHECKING:
    from embhub.audits.report import AuditReport


@click.command("audit", short_help="Audit an embedding for membership leakage.")
@click.argument("file", type=options.FILE, metavar="FILE|FOLDER|NS/NAME")
@option_group(AuditOptions, "chosen")
@options.base_trained_on
@options.device
@click.option(
    "--report",
    "pack",
    type=options.FILE,
    metavar="DIR",
    help="Also write the evidence pack there, for the person who approves the release.",
)
@click.option(
    "--language",
    "languages",
    type=click.Choice(CODES),
    multiple=True,
    help="With --report: also write page one and the form in this language; repeatable.",
)
@click.option(
    "--reuse",
    is_flag=True,
    help="With --report: use the existing audit report of --out and run no attack; needs a finished card.",
)
@registering.register
@registering.design_out
@options.as_json
@countersigning.instead
def command(
    file: Path, chosen: AuditOptions, base: str | None, device: str, pack: Path | None, languages: tuple[str, ...],
    reuse: bool, as_json: bool, **registration: Any,
) -> None:  # fmt: skip
    """Audit the embedding in FILE for membership leakage.

    Membership inference attacks try to distinguish training images (members) from held-out ones (non-members). The
    command writes a JSON report, which `sign` and `push` take along, and an HTML page with the ROC curves. The quick
    suite finds gross leaks only: a clean quick report is not evidence of safety. An interrupted audit continues with
    the same command and keeps the finished shadow embeddings.

    Each audit is written to the site's sealed ledger before it runs, and the report says which audit of the file it
    is. embhub chooses the random seed; --replay repeats an earlier audit with the same seed.

    With --register the design of the audit is in the registry's transparency log before it runs, and its result
    after it: `embhub verify --require preregistered` then sees whether an audit was dropped. Without a network, run it
    once with --design-out, carry the file to `embhub log submit`, then run the same command without the option.

    With --countersign an auditor of another institution signs the audit report of a published release, once it
    verifies. The command shows the statement, asks, and adds the attestation to the repository (or to the folder).

    \b
    Example:
      embhub audit prostate-csPCa.safetensors
      embhub audit prostate-csPCa.safetensors --members train --nonmembers heldout --suite standard
      embhub audit prostate-csPCa.safetensors --worst
      embhub audit prostate-csPCa.safetensors --reuse --report evidence
      embhub audit prostate-csPCa.safetensors --reuse --report evidence --language de --language fr
      embhub audit prostate-csPCa.safetensors --suite standard --register
      embhub audit --countersign radboud/prostate-csPCa
    """
    _check_pack(pack, languages)  # before the attacks, which can take hours
    if registration["design_out"] is not None:
        _design(file, chosen, as_json=as_json, reuse=reuse, base=base, device=device, **registration)
        return
    report, facts = (
        _take(file, chosen.out, pack, registration) if reuse else _attack(file, chosen, base, device, registration)
    )
    if pack is not None:
        facts["evidence"] = _write_pack(file, pack, facts, languages)
    _print(report, facts, as_json=as_json)


def _check_pack(pack: Path | None, languages: tuple[str, ...]) -> None:
    if pack is not None:
        from embhub.evidence import languages as known
        from embhub.evidence.pack import check_place

        check_place(pack)
        known.check(languages)
    elif languages:
        from embhub.errors import UsageError

        raise UsageError("--language needs --report", "add --report DIR, or leave out --language")


def _write_pack(file: Path, pack: Path, facts: dict[str, Any], languages: tuple[str, ...]) -> str:
    from embhub.evidence.pack import PAGE, write_pack

    write_pack(file, pack, report=facts["report"], languages=languages)
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


def _attack(
    file: Path, chosen: AuditOptions, base: str | None, device: str, registration: dict[str, Any]
) -> tuple[AuditReport, dict[str, Any]]:
    from embhub.diffusion.outputs import audit_to_file

    given = registering.begin(file, chosen, base=base, device=device, **registration)
    with progress_bar() as on_progress:
        report, facts = audit_to_file(file, chosen, base=base, device=device, on_progress=on_progress)
    sending = {name: registration[name] for name in ("register", "registry")}
    return report, facts | registering.end(given, file, report, **sending)


def _design(
    file: Path, chosen: AuditOptions, *, as_json: bool, reuse: bool, design_out: Path, **registration: Any
) -> None:
    if reuse:
        from embhub.errors import UsageError

        raise UsageError("--reuse runs no audit that could be registered", "leave out --design-out, or --reuse")
    registering.begin(file, chosen, design_out=design_out, **registration)
    facts = {"design": str(design_out), "next": "`embhub log submit` sends it; then run the audit as here"}
    print_json(facts) if as_json else print_pairs(facts)


def _take(
    file: Path, out: Path | None, pack: Path | None, registration: dict[str, Any]
) -> tuple[AuditReport, dict[str, Any]]:
    from embhub.errors import UsageError
    from embhub.evidence.pack import read_report

    if registration["register"]:
        raise UsageError("--reuse runs no audit that could be registered", "leave out --register, or --reuse")
    if pack is None:
        raise UsageError("--reuse needs --report", "add --report DIR, or leave out --reuse to run the attacks")
    report, _, found = read_report(file, out)
    return report, {"verdict": report.verdict, "meaning": report.statement, "report": str(found)}
