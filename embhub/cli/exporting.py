"""`embhub export`: an embedding for other programs, and documents about a release."""

from __future__ import annotations

from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar, remark

PROGRAMS = ["diffusers", "a1111", "kohya", "comfyui", "invokeai", "forge"]
BOMS = ["cyclonedx", "spdx", "both"]


@click.command("export", short_help="Export an embedding to another program.")
@click.argument("target", metavar="FILE|FOLDER|NS/NAME")
@click.option("--to", type=click.Choice(PROGRAMS), help="Target program.")
@click.option("--bom", type=click.Choice(BOMS), help="Bill of materials: CycloneDX 1.7, SPDX 3.0.1, or both.")
@click.option("--eval-results", is_flag=True, help="Figures of the card as the Hub's .eval_results.")
@click.option(
    "--out", type=options.FILE, metavar="FOLDER", help="Output folder  [default: the name of the program, or bom]"
)
@click.option(
    "--dtype", type=click.Choice(["float16", "float32"]), help="Data type of the tensors  [default: unchanged]"
)
@click.option("--overwrite", is_flag=True, help="Overwrite existing files.")
@options.registry
@options.as_json
def command(target: str, as_json: bool, **choices: Any) -> None:
    """Write the files that another program loads, or documents about a release.

    NS/NAME is pulled and verified first; a FILE with signatures beside it is verified. Most programs load an embhub
    file unchanged and get a copy of it. Signatures are never exported: keep the original as evidence of what you use.
    --bom and --eval-results describe a release that verifies, by its card, header and audit report.

    \b
    Example:
      embhub export prostate-cspca.safetensors --to comfyui
      embhub export radboud/prostate-cspca --to a1111 --out embeddings
      embhub export radboud/prostate-cspca --bom both
    """
    if (choices["to"] is None) == (choices["bom"] is None and not choices["eval_results"]):
        raise click.UsageError("name a program with --to, or documents with --bom or --eval-results")
    facts = _write_documents(target, **choices) if choices["to"] is None else _convert(target, **choices)
    if warning := facts.pop("warning"):
        remark(f"warning: {warning}")
    print_json(facts) if as_json else print_pairs(facts | {"wrote": ", ".join(facts["wrote"])})


def _convert(target: str, *, bom: None, eval_results: bool, **choices: Any) -> dict[str, Any]:  # noqa: ARG001
    from embhub.diffusion.foreign.exchange import export_to_folder

    with progress_bar() as on_progress:
        return export_to_folder(target, on_progress=on_progress, **choices)


def _write_documents(target: str, *, to: None, dtype: str | None, **choices: Any) -> dict[str, Any]:  # noqa: ARG001
    from embhub.evidence.boms.writing import export_documents

    if dtype is not None:
        raise click.UsageError("--dtype is for --to: documents have no tensors")
    with progress_bar() as on_progress:
        facts = export_documents(target, on_progress=on_progress, **choices)
    left_out = facts.pop("left_out")
    count = "1 figure is" if left_out == 1 else f"{left_out} figures are"
    said = f"{count} on no data set of the Hub, and not in .eval_results; the model-index has all figures"
    return facts | {"warning": said if left_out else ""}
