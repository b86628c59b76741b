"""The design and the result of a registered audit, as they lie beside a file before it is signed."""

from __future__ import annotations

from pathlib import Path

from embhub.errors import EmbhubError
from embhub.release import at_the_site
from embhub.release import files as release_files
from embhub.trust import audit_designs, bundle
from embhub.trust.bundle import Bundle


def beside(path: Path, report: bytes | None) -> dict[str, bytes]:
    """Both attestations, by their names in a release, where the result is that of this report; else nothing."""
    design, result = at_the_site.beside(path, at_the_site.AUDIT_DESIGN), at_the_site.beside(
        path, at_the_site.AUDIT_RESULT
    )
    if report is None or not design.is_file() or not result.is_file():
        return {}
    held = {
        release_files.AUDIT_DESIGN: release_files.read_file(design, limit=bundle.MAX_BYTES),
        release_files.AUDIT_RESULT: release_files.read_file(result, limit=bundle.MAX_BYTES),
    }
    try:
        stated = audit_designs.read_result(bundle.parse(held[release_files.AUDIT_RESULT]).statement)
    except EmbhubError:
        return {}
    return held if stated.report.sha256 == release_files.digest(report) else {}


def design_beside(path: Path) -> Bundle | None:
    """The design that was signed last for the file at `path`, or None. Raises MalformedBundleError."""
    place = at_the_site.beside(path, at_the_site.AUDIT_DESIGN)
    return bundle.parse(release_files.read_file(place, limit=bundle.MAX_BYTES)) if place.is_file() else None
