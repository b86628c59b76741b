"""`embhub curate erase`: what follows when a patient withdraws consent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, progress_bar, remark

if TYPE_CHECKING:
    from embhub.client.member.erasing import Erased, Plan


@click.command("erase", short_help="Find, withdraw and retrain what a patient's images were used for.")
@click.argument("patient", metavar="PATIENT|-")
@click.option("--issuer", default="", help="Issuer of the patient id, if the images named one.")
@click.option("--dry-run", is_flag=True, help="Show what is concerned and what would be done; change nothing.")
@click.option("--withdraw", is_flag=True, help="Withdraw the releases at the registry.")
@click.option(
    "--scope", type=click.Choice(("release", "bytes")), default="bytes", show_default=True, help="Scope of --withdraw."
)
@click.option("--reason", help="Public reason for --withdraw; name no patient  [default: withdrawn by its publisher]")
@click.option("--retrain", is_flag=True, help="Train the files again without the patient, into --out.")
@click.option("--check", type=options.FILE, metavar="PROOF", help="Test whether this proof is about PATIENT; no more.")
@click.option(
    "--out", type=options.FILE, default=Path("erasure"), show_default=True, help="Folder of the proofs and new files."
)
@options.registry
@options.as_json
def command(patient: str, as_json: bool, **choices: Any) -> int:
    """Find every file and release of this site that images of PATIENT were used for, and withdraw or retrain them.

    PATIENT is the id as the manifest or the DICOM header has it; `-` reads it from standard input, so that it is in no
    shell history. A proof without any patient id is written for each release. Exit code 5: the registry refused a
    withdrawal.

    \b
    Example:
      embhub curate erase - --dry-run < patient.txt
      embhub curate erase - --withdraw --retrain --out erasure < patient.txt
    """
    patient = sys.stdin.readline().strip() if patient == "-" else patient
    if choices["check"]:
        return _check(choices["check"], patient, choices["issuer"])
    plan, erased, retrained = _carry_out(patient, **choices)
    _print(plan, erased, retrained, as_json=as_json, dry_run=choices["dry_run"])
    return 5 if any(item.refused for item in erased) else 0


def _carry_out(
    patient: str, *, issuer: str, dry_run: bool, withdraw: bool, scope: str, reason: str | None, retrain: bool,
    out: Path, registry: str | None, check: Path | None,
) -> tuple[Plan, list[Erased], list[str]]:  # fmt: skip
    from embhub.client.member import erasing

    assert check is None  # noqa: S101  # answered before
    reason = reason or erasing.REASON
    erasing.check_reason(reason, patient)
    plan = erasing.find(patient, issuer=issuer)
    if dry_run or not plan.files:
        return plan, [], []
    erased: list[Erased] = []
    if withdraw and plan.releases:
        erased = erasing.withdraw(plan, patient_id=patient, reason=reason, scope=scope, registry=registry)
        where = erasing.registry_of(registry)
        erased = erasing.leave_proofs(erased, patient_id=patient, issuer=issuer, folder=out, registry=where)
        erasing.log(erased)
    retrained = _retrain(plan, patient, issuer, out) if retrain else []
    if retrained:
        erasing.log([], retrained=retrained)
    return plan, erased, retrained


def _retrain(plan: Plan, patient: str, issuer: str, out: Path) -> list[str]:
    """New files, one for each that was trained on the patient and whose recipe this site has a record of."""
    from embhub.diffusion.retraining import retrain_without

    made = []
    for file in plan.files:
        if file.role == "member" and file.recipe:
            path = out / f"without-{file.digest[:12]}.safetensors"
            with progress_bar() as on_progress:
                retrain_without(file.digest, patient, issuer=issuer, out=path, on_progress=on_progress)
            made.append(str(path))
    return made


def _check(proof: Path, patient: str, issuer: str) -> int:
    from embhub.client.member import erasing

    about = erasing.is_about(proof, patient, issuer=issuer)
    click.echo("this proof is about this patient" if about else "this proof is about somebody else")
    return 0 if about else 3


def _print(plan: Plan, erased: list[Erased], retrained: list[str], *, as_json: bool, dry_run: bool) -> None:
    from embhub.client.member import erasing

    if as_json:
        print_json(erasing.to_json(plan, erased, retrained))
        return
    if not plan.files and not plan.studies:
        click.echo("this site's records name no file that images under this patient id were used for")
    for file in plan.files:
        kind = "with differential privacy" if file.private else "without differential privacy"
        click.echo(
            f"{file.digest[:12]}…  {file.role}, trained {kind}"
            + ("" if file.recipe else ", cannot be trained again here")
        )
        for repository, version, registry in file.published:
            at = f" at {registry}" if registry else ""
            click.echo(f"               {repository} {version}{at}" + (" would be withdrawn" if dry_run else ""))
    for study in plan.studies:
        click.echo(f"{study[:12]}…  trained in a study of several sites, whose file this site did not sign")
    for item in erased:
        state = "withdrawn" if item.withdrawn else f"NOT withdrawn: {item.refused}"
        click.echo(f"{item.repository} {item.version}  {state}  proof: {item.proof}")
    for path in retrained:
        click.echo(f"trained again without the patient: {path}")
    for line in _remarks(plan):
        remark(f"note: {line}")
    for line in erasing.explain(plan, replaced=bool(retrained)):
        remark(line)


def _remarks(plan: Plan) -> list[str]:
    said = []
    if plan.alike:
        said.append(
            f"{plan.alike} ids differ from this one by case, leading zeros or issuer alone: look these up too"
            " (--issuer, if the images named one)"
        )
    for repository in plan.evaluations:
        said.append(
            f"a published evaluation of {repository} counts this patient: only that registry's operator can remove it"
        )
    if plan.half_audits:
        said.append(
            f"{plan.half_audits} interrupted audits keep what they learned in state/audits, perhaps of this patient:"
            " finish them, or delete their folders"
        )
    if plan.audits:
        said.append(f"{len(plan.audits)} audit reports have figures that count this patient")
    if plan.unfinished:
        said.append(f"{plan.unfinished} trainings read this patient and left no file; delete their checkpoints")
    for study in plan.studies:
        said.append(
            f"other sites may have published what came of it: look with `embhub study status {study}`, then yank that"
            " release, or withdraw before there is one (`embhub study join DIGEST --withdraw`)"
        )
    if any(file.role == "held-out" for file in plan.files):
        said.append("held out: not trained on this patient")
    return said
