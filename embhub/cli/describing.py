"""A verification's result in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub.cli.output import print_findings, print_pairs

if TYPE_CHECKING:
    from embhub.verification import Verified


def print_verified(verified: Verified) -> None:
    """The decision first, then each finding, then who and what, then the terms of use."""
    click.echo(click.style("verified", fg="green", bold=True) + f" under the {verified.policy.name} policy")
    print_findings(verified.findings)
    card, signer = verified.card, verified.signer
    print_pairs(
        {
            "repository": f"{verified.repository} {verified.version}",
            "signed by": f"{signer.namespace} with {signer.fingerprint}, {verified.created}",
            "embedding": f"{verified.embedding.token}, {len(verified.embedding.data):,} bytes",
            "sha256": verified.digest,
            "audit": verified.report.statement if verified.report else "none",
            "licence": f"{card.licence} {card.licence_link}",
            "base model": f"{card.base_model.id}, under {card.base_model.licence}",
            "made for": card.intended_use,
            "not for": card.out_of_scope,
        }
    )
