"""`embhub sign`: sign an embedding with its card and audit report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import note, print_json, print_pairs


@click.command("sign", short_help="Sign an embedding with its card and report.")
@click.argument("file", type=options.FILE, metavar="FILE|FOLDER")
@click.argument("repository", required=False, metavar="[NS/NAME]")
@options.card
@options.audit
@click.option(
    "--registry",
    metavar="URL",
    help="Registry to sign for; it is not asked  [default: EMBHUB_REGISTRY, config.yaml, or the only known one]",
)
@options.key
@options.as_json
def command(file: Path, as_json: bool, **choices: Any) -> None:
    """Sign the embedding in FILE with its card and audit report, as NS/NAME (default: your namespace and FILE's stem).

    Writes STEM.publish.sigstore.json beside FILE, and STEM.audit.sigstore.json if there is a report. The statement
    names registry, repository, version and the digests of all files: any change invalidates the signature, and another
    registry does not accept it. Patients covered by the report are charged in the site's privacy ledger, because the
    report can leave the site from then on.

    A FOLDER written by `pull` is signed anew under its name and version, for example after a key was lost or replaced;
    an auditor's attestation is kept. `embhub push --from FOLDER` uploads it.

    \b
    Example:
      embhub sign prostate-csPCa.safetensors radboud/prostate-csPCa
      embhub sign prostate-csPCa --key second
    """
    from embhub.client.publishing.push import sign

    signed = sign(file, ask_passphrase=options.ask_passphrase, on_note=note, **choices)
    facts = {"signed": signed.repository, "version": signed.version, "key": signed.fingerprint}
    wrote = [str(path) for path in signed.wrote]
    print_json({**facts, "wrote": wrote}) if as_json else print_pairs({**facts, "wrote": ", ".join(wrote)})
