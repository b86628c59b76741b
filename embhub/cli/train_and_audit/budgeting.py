"""`embhub budget`: the privacy budget that trainings on this site's patients have spent, and its caps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import note, print_json, print_pairs, print_result, print_table
from embhub.cli.whole_help import WholeHelpGroup

_DELTA = click.option(
    "--delta", type=float, default=1e-5, show_default=True, help="DP delta at which epsilon is stated."
)
_MANIFEST = click.option(
    "--manifest",
    type=options.FILE,
    metavar="CSV",
    help="Manifest CSV that lists the patients (columns path,patient_id).",
)


def _read_epsilon(_: click.Context, __: click.Parameter, value: str) -> float | None:
    try:
        return None if value == "none" else float(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither a number nor the word none") from error


@click.group("budget", cls=WholeHelpGroup, short_help="Show and cap the privacy budget.")
def command() -> None:
    """The privacy ledger of this site: the epsilon that trainings have spent, for each patient.

    Every training is charged before its first step. Patients are identified by keyed ids, so renaming a folder has no
    effect. The ledger stays at this site. Entries are chained and sealed: manual changes are detected.

    \b
    Example:
      embhub budget show
      embhub budget cap 4
    """


@command.command("show")
@_DELTA
@options.as_json
def show(delta: float, as_json: bool) -> None:
    """Show patient cohorts linked by shared trainings, and the largest epsilon spent on any one patient.

    A training without differential privacy counts as infinite. One that did not finish counts in full. All audits that
    were started are listed with their verdicts, for an auditor on site.

    \b
    Example:
      embhub budget show --json
    """
    from embhub.ledger.balance import balance

    facts = balance(delta=delta)
    print_json(facts) if as_json else _print(facts)


@command.command("cap")
@click.argument("epsilon", callback=_read_epsilon, metavar="EPSILON|none")
@_DELTA
@_MANIFEST
@options.as_json
def cap(epsilon: float | None, delta: float, manifest: Path | None, as_json: bool) -> None:
    """Refuse trainings that would bring any patient above EPSILON; `none` lifts the cap.

    The cap applies to every patient of this site, or to those in a manifest. Under a cap, a training without
    differential privacy is refused. Every change of a cap stays on record.

    \b
    Example:
      embhub budget cap 4
      embhub budget cap 2 --manifest prostate/manifest.csv
    """
    from embhub.ledger import budget

    budget.set_cap(epsilon, delta=delta, units=_patients(manifest, None, None) if manifest else None)
    if as_json:
        print_json({"epsilon": epsilon, "delta": delta, "every_patient": manifest is None})
        return
    whom = "the patients of the manifest" if manifest else "every patient"
    said = "lifted" if epsilon is None else f"epsilon {epsilon:g} (delta {delta:g})"
    print_pairs({"cap": said, "for": whom})


@command.command("reserve")
@click.argument("images", type=options.FILE)
@click.option(
    "--of",
    "release",
    type=options.FILE,
    required=True,
    metavar="FILE",
    help="Embedding that was trained on these images.",
)
@_MANIFEST
@click.option("--where", metavar="COLUMN=VALUE", help="Filter: only manifest rows with this value.")
@options.as_json
def reserve(images: Path, release: Path, manifest: Path | None, where: str | None, as_json: bool) -> None:
    """Charge the patients of IMAGES for an embedding that was trained on them elsewhere, without this ledger.

    The charge is the epsilon of the claim in its header, plus everything that the ledger behind that claim counted.
    Without a claim it is infinite. The charge is recorded even above a cap, with a warning: a cap only refuses future
    trainings.

    \b
    Example:
      embhub budget reserve images --of trained-last-year.safetensors
    """
    from embhub.artifact import embedding
    from embhub.ledger import elsewhere

    run = elsewhere.count(_patients(images, manifest, where), embedding.read(release), on_note=note)
    print_result({"run": run.run, "charged": run.words, "see": "embhub budget show"}, as_json=as_json)


def _patients(source: Path, manifest: Path | None, where: str | None) -> list[str]:
    from embhub.errors import PrivacyError
    from embhub.images.manifests.listing import list_images
    from embhub.images.manifests.manifest import find

    folder, table = find(source, manifest)
    samples = list_images(folder, table, where).samples
    if not all(sample.patient_id for sample in samples):
        raise PrivacyError("the images have no patient ids", "pass --manifest with the columns path,patient_id")
    return [str(sample.patient_id) for sample in samples]


def _print(facts: dict[str, Any]) -> None:
    caps = [f"{_epsilon(cap['epsilon'])} for {_whom(cap['patients'])}" for cap in facts["caps"]]
    print_pairs(
        {
            "opened": facts["opened"],
            "entries": f"{facts['entries']}, ending in {facts['head'][:16]}",
            "caps": "; ".join(caps) or "none",
            "delta": f"{facts['delta']:g}",
        }
    )
    for cohort in facts["cohorts"]:
        click.echo()
        unit = cohort["unit"] + ("" if cohort["units"] == 1 else "s")
        print_pairs(
            {
                "cohort": f"{cohort['units']:,} {unit}",
                "trainings": f"{len(cohort['runs'])}, of which {cohort['released']} were released",
                "spent": f"{_epsilon(cohort['epsilon'])} at most, by {cohort['units_at_epsilon']:,} of them",
            }
        )
        if cohort["linked"]:
            click.echo(f"their images were in other cohorts too and are counted: run {', '.join(cohort['linked'])}")
        print_table([["run", "started", "mechanism", "units", "steps", "epsilon", "state"], *map(_row, cohort["runs"])])
    if any(run["study"] for cohort in facts["cohorts"] for run in cohort["runs"]):
        click.echo(
            "\nstudy: of several sites, charged for all its steps when this site joined, by the larger of its two"
            " figures, which holds against another site of it"
        )
    _print_audits(facts["audits"])
    if any(cohort["epsilon"] is None for cohort in facts["cohorts"]):
        click.echo(
            "\ninfinite: a training without differential privacy, or a published audit with figures of patients; its"
            " patients no longer have any bound"
        )


def _print_audits(audits: list[dict[str, Any]]) -> None:
    if not audits:
        return
    click.echo("\naudits, each recorded before it ran")
    rows = [
        [audit["file"][:16], f"{audit['number']} of {audit['count']}", audit["at"], audit["suite"],
         str(audit["shadows"]), audit["sides"][:16], audit["verdict"] or "not finished"]
        for audit in audits
    ]  # fmt: skip
    print_table([["file", "audit", "started", "suite", "shadows", "groups", "verdict"], *rows])


def _row(run: dict[str, Any]) -> list[str]:
    state = f"{run['state']}, released" if run["released"] else run["state"]
    steps = f"{run['charged_steps']} of {run['planned_steps']}"
    what = f"{run['mechanism']}, study {run['study'][:16]}" if run["study"] else run["mechanism"]
    return [run["run"], run["at"], what, str(run["units"]), steps, _epsilon(run["epsilon"], ""), state]


def _epsilon(value: float | None, word: str = "epsilon ") -> str:
    return "infinite" if value is None else f"{word}{value:g}"


def _whom(patients: int | None) -> str:
    return "everybody" if patients is None else f"{patients:,} patients"
