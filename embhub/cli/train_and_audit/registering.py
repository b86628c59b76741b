"""`embhub audit --register` and `--design-out`: the design of an audit goes out before the audit runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.errors import UsageError
from embhub.options.audit import AuditOptions

if TYPE_CHECKING:
    from embhub.audits.report import AuditReport
    from embhub.client.publishing.registering import Open

register = click.option(
    "--register",
    is_flag=True,
    help="Send the audit's design to the registry's log before it runs, and its result after it, whatever it is.",
)
design_out = click.option(
    "--design-out",
    type=options.FILE,
    metavar="FILE",
    help="Only write the audit's design, for `embhub log submit` on a machine with a network; run nothing.",
)


def begin(
    file: Path, chosen: AuditOptions, *, base: str | None, device: str, register: bool, design_out: Path | None,
    key: str | None, registry: str | None,
) -> Open | None:  # fmt: skip
    """The registered audit that is about to run, or None where it is not registered. Its design is sent, or written."""
    from embhub.client.publishing import registering
    from embhub.release.at_the_site import beside
    from embhub.release.registered import REGISTRATION

    if register and design_out is not None:
        raise UsageError("--register sends the design, --design-out only writes it", "choose one of them")
    if not register and design_out is None and not beside(file, REGISTRATION).is_file():
        return None
    if (chosen.suite == "mechanism" or chosen.replay is not None) and not register and design_out is None:
        return None  # another audit than the one that was registered
    from embhub.diffusion.attacks.planning import plan
    from embhub.diffusion.preflight.auditing import check_audit

    check_audit(file, chosen, base=base, device=device)
    new = register or design_out is not None
    found = registering.open_audit(
        file, plan(file, chosen), new=new, registry=registry, key=key, ask=options.ask_passphrase
    )
    if found is not None and register:
        registering.submit(beside(file, REGISTRATION), registry=registry)
    if found is not None and design_out is not None:
        registering.carry_out(found, design_out)
    return found


def end(
    given: Open | None, file: Path, report: AuditReport, *, register: bool, registry: str | None
) -> dict[str, Any]:  # fmt: skip
    """Sign the result of a registered audit, and send it with `--register`; what a person is told of it."""
    from embhub.client.publishing import registering

    if given is None:
        return {}
    written = registering.end_audit(given, file, report)
    if not register:
        return {"registered": f"its result is {written}: `embhub log submit` sends it"}
    sent = registering.submit(written, registry=registry)
    return {"registered": sent.log if sent.index is None else f"result at {sent.index:,} in the log of {sent.log}"}
