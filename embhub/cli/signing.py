"""`embhub sign`: say who publishes what, checkably."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import note, print_json, print_pairs


@click.command("sign", short_help="Sign an embedding with its card and report.")
@click.argument("file", type=options.FILE, metavar="FILE|FOLDER")
@options.card
@options.audit
@click.option(
    "--repository", metavar="NS/NAME", help="Where it will be published  [default: your namespace and the stem]"
)
@options.key
@options.as_json
def command(file: Path, as_json: bool, **choices: Any) -> None:
    """Sign the embedding in FILE together with its card and audit report.

    Writes STEM.publish.sigstore.json beside FILE, and STEM.audit.sigstore.json where there is a report. The statement
    names repository, version and the digests of all of them: change any and the signature is void. Patients whom the
    report shows are charged in the site's privacy ledger: from here on it can leave.

    A FOLDER, as `pull` leaves it, is signed anew under its name and version, when a key was lost or replaced; what an
    auditor attested stays. `embhub push --from FOLDER` sends it.

    \b
    Example:
      embhub sign prostate-csPCa.safetensors --repository radboud/prostate-csPCa
      embhub sign prostate-csPCa --key second
    """
    from embhub.client.publishing import sign

    signed = sign(file, ask_passphrase=options.ask_passphrase, on_note=note, **choices)
    facts = {"signed": signed.repository, "version": signed.version, "key": signed.fingerprint}
    facts["wrote"] = ", ".join(map(str, signed.wrote))
    print_json(facts) if as_json else print_pairs(facts)
