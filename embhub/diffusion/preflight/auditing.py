"""What `audit` and `copy-check` are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embhub import destinations
from embhub.artifact import embedding
from embhub.artifact.claimed import check_derived, read_claim
from embhub.artifact.embedding import Embedding
from embhub.diffusion.bases.naming import check_base
from embhub.images.inspections.early_check import check_source
from embhub.images.member_split import choose_sides
from embhub.options.audit import AuditOptions
from embhub.privacy.claim import PrivacyClaim
from embhub.release import at_the_site
from embhub.site.memory import runs


def check_audit(file: Path, chosen: AuditOptions, *, base: str | Path | None, device: str) -> None:
    """Refuse an audit that cannot begin.

    Raises:
        UsageError: no embedding, images, base or device of that name; no record of the training; no claim to test.
        ArtifactError: not an embedding.
        PrivacyError: file names that look like patients.
    """
    made = embedding.read(file)
    check_derived(made, chosen.suite)
    if chosen.suite == "mechanism":
        read_claim(made)
        check_base(base, device)
        return
    _check_sides(made, chosen.members, chosen.nonmembers)
    _check_base(made, base, device)


def check_copies(
    file: Path, *, samples: Path | None, members: Path | None, nonmembers: Path | None, base: str | None, device: str,
    out: Path | None, sheet: bool, **others: Any,  # noqa: ARG001  # what needs no check
) -> None:  # fmt: skip
    """Refuse a copy check that cannot begin. Raises as `check_audit`."""
    target = out or at_the_site.beside(file, at_the_site.COPIES)
    destinations.check_file(target)
    destinations.check_file(target.with_suffix(".html"))
    made = embedding.read(file)
    if samples is not None:
        check_source(samples)
    if not (sheet and isinstance(made.privacy, PrivacyClaim)):
        _check_sides(made, members, nonmembers)
    _check_base(made, base, device)


def _check_sides(made: Embedding, members: str | Path | None, nonmembers: str | Path | None) -> None:
    choose_sides(runs.find(made.digest), members, nonmembers)
    for side in (members, nonmembers):
        if side is not None:
            check_source(side)


def _check_base(made: Embedding, base: str | Path | None, device: str) -> None:
    run = runs.find(made.digest)
    check_base(base or (run.base if run else made.base_name), device)
