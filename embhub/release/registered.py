"""The design and the result of a registered audit, as they lie beside a file before it is signed."""

from __future__ import annotations

from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import EmbhubError
from embhub.release import files as release_files
from embhub.trust import audit_designs, bundle
from embhub.trust.audit_designs import Registration
from embhub.trust.bundle import Bundle

DESIGN = ".audit-design.sigstore.json"
RESULT = ".audit-result.sigstore.json"
REGISTRATION = ".audit-design.json"  # the design with its notice: what a registry is sent
RESULT_FILE = ".audit-result.json"


def beside(path: Path, report: bytes | None) -> dict[str, bytes]:
    """Both attestations, by their names in a release, where the result is that of this report; else nothing."""
    places = {
        release_files.AUDIT_DESIGN: _place(path, DESIGN),
        release_files.AUDIT_RESULT: _place(path, RESULT),
    }
    if report is None or not all(place.is_file() for place in places.values()):
        return {}
    held = {name: release_files.read_file(place, limit=bundle.MAX_BYTES) for name, place in places.items()}
    try:
        stated = audit_designs.read_result(bundle.parse(held[release_files.AUDIT_RESULT]).statement)
    except EmbhubError:
        return {}
    return held if stated.report.sha256 == release_files.digest(report) else {}


def registration_beside(path: Path) -> Registration | None:
    """The design that was signed last for the file at `path`, with its notice, or None.

    Raises:
        MalformedStatementError, MalformedBundleError: it was edited.
    """
    place = _place(path, REGISTRATION)
    if not place.is_file():
        return None
    found = audit_designs.parse_file(release_files.read_file(place, limit=audit_designs.MAX_BYTES))
    return found if isinstance(found, Registration) else None


def write_registration(given: Registration, path: Path) -> Path:
    """Write a design beside its file: for a registry, and for the release. Returns the first."""
    target = _place(path, REGISTRATION)
    _place(path, RESULT).unlink(missing_ok=True)
    _place(path, RESULT_FILE).unlink(missing_ok=True)
    write_atomic(_place(path, DESIGN), bundle.to_json(given.design.envelope))
    write_atomic(target, given.to_bytes())
    return target


def write_result(result: Bundle, path: Path) -> Path:
    """Write a result beside its file, likewise."""
    target = _place(path, RESULT_FILE)
    write_atomic(_place(path, RESULT), bundle.to_json(result.envelope))
    write_atomic(target, audit_designs.write_result(result))
    return target


def _place(path: Path, suffix: str) -> Path:
    return path.with_name(path.stem + suffix)
