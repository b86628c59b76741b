"""`embhub report`: run a fixed script on a base model, and sign what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub.cli import options
from embhub.cli.output import note, print_json, print_pairs, print_table, progress_bar
from embhub.progress import say_loading

if TYPE_CHECKING:
    from embhub.release.checks.base_report import Report


@click.command("report", short_help="Report whether embhub works with a base model.")
@click.option("--base", required=True, metavar="NAME|PATH|OWNER/NAME", help="Base model to run the script on.")
@click.option("--out", required=True, type=options.FILE, metavar="FILE", help="Report to write, ending in .json.")
@options.device
@options.key
@click.option(
    "--registry", metavar="URL", help="Registry to sign the report for; it is not contacted  [default: as for `sign`]"
)
@options.as_json
def command(base: str, out: Path, device: str, key: str | None, registry: str | None, as_json: bool) -> None:
    """Run a fixed script on a base model, and write a report of what worked.

    The script trains 40 steps on phantoms that it makes itself, audits the result, and generates 32 images of 20
    sampling steps. Each check has a name, an outcome and figures. A check that fails does not stop the others, and the
    exit code is 0: a report of a failure is as valuable.

    The report names the base by its fingerprint, the versions of embhub, torch, diffusers and transformers, and the
    device. It holds no host name, path or user name, unless a local base is called so: it is named as its base.json
    says, or as its folder. That name is published, or `local-base` where it looks like a patient's. The site's ledger
    is not touched.

    The report is signed where this machine has a key and knows a registry; otherwise `embhub push` signs it. `embhub
    verify FILE` shows a signed one.

    \b
    Example:
      embhub report --base builtin --out builtin.json
      embhub report --base stable-diffusion-v1-5/stable-diffusion-v1-5 --device cuda --out sd15.json
      embhub push sd15.json
    """
    from embhub.client.member import base_reporting
    from embhub.diffusion.bases.naming import check_base

    check_base(base, device)
    pen = base_reporting.begin(out, key=key, registry=registry, ask_passphrase=options.ask_passphrase)
    with progress_bar() as on_progress:
        say_loading(on_progress)
        from embhub.diffusion.evaluation.base_report import report_on

        made = report_on(base, device=device, on_progress=on_progress, on_note=note)
    base_reporting.write(made, out, pen)
    facts = {"wrote": str(out), "signed for": pen.origin if pen else "nobody yet: `embhub push` signs it"}
    show(made.report, {**facts, "fingerprint": made.fingerprint}, as_json=as_json)


def show(report: Report, facts: dict[str, str], *, as_json: bool) -> None:
    """A report with `facts` around it: for a program, or as lines and a table of its checks."""
    if as_json:
        print_json({**facts, "report": report.model_dump(mode="json")})
        return
    program, machine = report.program, report.machine
    print_pairs({
        **facts, "report": report.in_words(), "family": report.base.family,
        "versions": f"embhub {program.embhub}, torch {program.torch}, diffusers {program.diffusers}",
        "memory": f"{machine.peak_bytes / 1e9:.1f} GB at most, {machine.precision}",
    })  # fmt: skip
    print_table([
        (check.name, check.outcome, check.fault or ", ".join(f"{name} {value:g}" for name, value in
                                                             check.figures.items()))
        for check in report.checks
    ])  # fmt: skip
