"""A verification's result in words."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub.cli.output import print_findings, print_pairs, remark

PUBLISHER = "publisher"
"""The check whose note is always shown: the card names another publisher than the keyring."""

if TYPE_CHECKING:
    from embhub.release.verification import Verified


def warn_of_yank(verified: Verified) -> None:
    """Before anything else, on stderr: the registry says that this release is yanked, or withdrew it."""
    if verified.yanked is not None:
        text = next(finding.text for finding in verified.findings if finding.check == "yanked")
        remark(click.style("warning: ", fg="yellow", bold=True) + text)
    for advisory in verified.withdrawn:
        remark(click.style("warning: ", fg="red", bold=True) + f"withdrawn, do not use: {advisory.sentence}")


def print_verified(verified: Verified, *, target: str | Path, more: Mapping[str, str] | None = None) -> None:
    """The decision, what a person needs who uses the release, `more`, and warnings; `target` is what was verified."""
    told = [finding for finding in verified.findings if finding.outcome == "warning" or finding.check == PUBLISHER]
    notes = dict.fromkeys(finding.check for finding in verified.findings if finding.outcome == "note")
    counted = f"{len(verified.findings)} checks" + (f", notes on {', '.join(notes)}" if notes else "")
    card, signer = verified.card, verified.signer
    print_pairs(
        {
            "verified": f"{counted}; embhub verify --all {shlex.quote(str(target))}",
            "release": f"{verified.repository} {verified.version}, signed by {signer.namespace} ({signer.registry})",
            "audit": verified.audit_in_words(),
            "privacy": _privacy(verified),
            "licence": f"{card.licence}; base model {card.base_model.id} under {card.base_model.licence}",
            "not for": card.out_of_scope,
            **(more or {}),
        }
    )
    print_findings(told)


def _privacy(verified: Verified) -> str:
    from embhub.privacy.claim_or_none import is_claim

    claim = verified.embedding.privacy
    if not is_claim(claim):
        return "no guarantee bounds what it reveals about a patient"
    from embhub.privacy import wording

    return wording.short(claim)


def print_every_check(verified: Verified) -> None:
    """The decision first, then each finding, then who and what, then the terms of use."""
    click.echo(click.style("verified", fg="green", bold=True) + f" under the {verified.policy.name} policy")
    print_findings(verified.findings)
    card, signer = verified.card, verified.signer
    print_pairs(
        {
            "repository": f"{verified.repository} {verified.version}",
            "signed by": f"{signer.namespace} with {signer.fingerprint}, {verified.created}",
            "keyring": signer.registry,
            "embedding": f"{verified.embedding.token}, {len(verified.embedding.data):,} bytes",
            "sha256": verified.digest,
            "audit": verified.audit_in_words(),
            "approved": "; ".join(one.in_words() for one in verified.approvals) or "no approval is attached",
            "licence": f"{card.licence} {card.licence_link}",
            "base model": f"{card.base_model.id}, under {card.base_model.licence}",
            "made for": card.intended_use,
            "not for": card.out_of_scope,
        }
    )


@contextmanager
def refusals_listed(*, as_json: bool) -> Iterator[None]:
    """Where a release is refused, show every check up to the one that failed; the error goes on its way.

    As JSON they are part of the error, which `embhub.cli.json_errors` prints.
    """
    from embhub.refusals import ReleaseRefusedError
    from embhub.release.demands import PolicyRefusedError

    try:
        yield
    except (ReleaseRefusedError, PolicyRefusedError) as refusal:
        if not as_json:
            print_findings(refusal.findings, err=True)
        raise
