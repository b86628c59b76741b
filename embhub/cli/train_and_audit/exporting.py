"""`embhub export`: an embedding for other programs, a whole release for others to keep, and documents about it."""

from __future__ import annotations

from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar, remark

PROGRAMS = ["diffusers", "a1111", "kohya", "comfyui", "invokeai", "forge"]
PACKAGES = ["ro-crate", "oci:DIR"]
BOMS = ["cyclonedx", "spdx", "both"]


class _Destination(click.Choice):  # type: ignore[type-arg]  # before click 8.2 it had no parameter
    """One of the choices, where `DIR` is any folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value) if str(value).startswith("oci:") and value != "oci:" else super().convert(value, param, ctx)


@click.command("export", short_help="Export an embedding to another program.")
@click.argument("target", metavar="FILE|FOLDER|NS/NAME")
@click.option("--to", type=_Destination([*PROGRAMS, *PACKAGES]), help="Target program, or form of the whole release.")
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
def command(target: str, as_json: bool, **choices: Any) -> int:
    """Write the files that another program loads, the whole release in another form, or documents about a release.

    NS/NAME is pulled and verified first; a FILE with signatures beside it is verified. Most programs load an embhub
    file unchanged and get a copy of it, without the signatures: keep the original as evidence of what you use.

    ro-crate (RO-Crate 1.2) and oci:DIR (an OCI image layout, for registries of containers) hold the signatures too, and
    `embhub verify` accepts the folder. The documents of --bom and --eval-results describe a release that verifies, by
    its card, header and audit report. If one of them cannot be written, the others are, and the exit code is 3.

    \b
    Example:
      embhub export prostate-cspca.safetensors --to comfyui
      embhub export radboud/prostate-cspca --to a1111 --out embeddings
      embhub export radboud/prostate-cspca --to oci:layout
      embhub export radboud/prostate-cspca --bom both
    """
    _check(**choices)
    with progress_bar() as on_progress:
        facts = _export(target, on_progress=on_progress, **choices)
    if warning := facts.pop("warning"):
        remark(f"warning: {warning}")
    lines = {name: ", ".join(value) if isinstance(value, list) else value for name, value in facts.items()}
    print_json(facts) if as_json else print_pairs(lines)
    return 3 if facts.get("missing") else 0


def _check(*, to: str | None, bom: Any, eval_results: bool, dtype: str | None, out: Any, **_: Any) -> None:
    if (to is None) == (bom is None and not eval_results):
        raise click.UsageError("name a program with --to, or documents with --bom or --eval-results")
    if to not in PROGRAMS and dtype is not None:
        raise click.UsageError("--dtype is for programs: nothing else has other tensors")
    if to is not None and to.startswith("oci:") and out is not None:
        raise click.UsageError("oci:DIR names the folder: leave --out out")


def _export(
    target: str, *, to: str | None, bom: Any, eval_results: bool, dtype: str | None, **choices: Any
) -> dict[str, Any]:
    if to in PROGRAMS:
        from embhub.diffusion.foreign.exchange import export_to_folder

        return export_to_folder(target, to=to, dtype=dtype, **choices)
    from embhub.evidence.boms import writing

    if to is not None:
        return writing.export_package(target, to=to, **choices)
    return writing.export_documents(target, bom=bom, eval_results=eval_results, **choices)
