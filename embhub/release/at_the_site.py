"""A release as it lies at the site that makes it: `NAME.safetensors` with its card, report and attestations beside it.

The card that people edit is `NAME.card.yaml`; the README.md of a release is rendered from it, byte for byte the same
each time, so that the signed digest covers it without a second file.
"""

from __future__ import annotations

from pathlib import Path

from embhub.artifact.embedding import read_bytes
from embhub.cards.card import Card, parse_yaml, to_readme
from embhub.durable import write_atomic
from embhub.errors import ArtifactError, UsageError
from embhub.refusals import CardMismatchError
from embhub.release import files as release_files
from embhub.release import registered
from embhub.release.files import Release

CARD = ".card.yaml"
AUDIT = ".audit.json"
COPIES = ".copies.json"  # distances from patients' images: never sent
SHEET, SHEET_RECORD = ".samples.png", ".samples.json"
SITE_AUDIT = ".site-audit.json"  # is about patients, beside a privacy claim: never sent
PUBLISH_BUNDLE = ".publish.sigstore.json"
AUDIT_BUNDLE = ".audit.sigstore.json"
MODEL_BUNDLE = ".model.sigstore.json"
SOURCE_BUNDLE = ".source.sigstore.json"
STUDY = ".study.json"
_PLACES = {
    AUDIT: release_files.AUDIT,
    AUDIT_BUNDLE: release_files.AUDIT_BUNDLE,
    MODEL_BUNDLE: release_files.MODEL_BUNDLE,
    PUBLISH_BUNDLE: release_files.PUBLISH_BUNDLE,
    SOURCE_BUNDLE: release_files.SOURCE_BUNDLE,
    STUDY: release_files.STUDY,
}


def beside(path: Path, suffix: str) -> Path:
    """`NAME.card.yaml` and the like for `NAME.safetensors`.

    Raises:
        UsageError: the path names no file, as `.` does.
    """
    if not path.name:
        raise UsageError(f"{path} is a folder", "name the embedding's file")
    return path.with_name(path.stem + suffix)


def read(path: Path) -> Release:
    """The release of which `path` is the embedding.

    A file in a folder that `pull` wrote belongs to that folder's release, and must be the embedding that was signed
    there; otherwise what stands beside it under its own name counts.

    Raises:
        UsageError: there is no such file.
        FileTooLargeError: a file exceeds what its kind may hold.
        CardMismatchError: there is a signature, and a card that cannot be read.
        ArtifactError: the same without a signature, a pickle, or a file that is too large.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not a file", "pass the .safetensors file of an embedding")
    signed = beside(path, PUBLISH_BUNDLE).exists()
    if not signed and (path.parent / release_files.PUBLISH_BUNDLE).exists():
        return _in_release_folder(path)
    files = {release_files.EMBEDDING: read_bytes(path)}
    card = beside(path, CARD)
    if card.exists():
        known = _read_card(card, signed=signed)
        files[release_files.CARD] = to_readme(known)
        if known.samples is not None and beside(path, SHEET).exists():  # one that no card records stays at the site
            files[release_files.SAMPLES] = release_files.read_file(
                beside(path, SHEET), limit=release_files.LIMITS[release_files.SAMPLES]
            )
    for suffix, name in _PLACES.items():
        if beside(path, suffix).exists():
            files[name] = release_files.read_file(beside(path, suffix), limit=release_files.LIMITS[name])
    return Release.from_files(files | registered.beside(path, files.get(release_files.AUDIT)))


def write_bundles(release: Release, path: Path) -> list[Path]:
    """Write a release's attestations beside the embedding's file; a stale one is removed. Returns what was written.

    Raises:
        ConfigError: the folder cannot be written.
    """
    written = []
    for suffix in (AUDIT_BUNDLE, MODEL_BUNDLE, PUBLISH_BUNDLE):
        name = _PLACES[suffix]
        target = beside(path, suffix)
        if name in release.files:
            write_atomic(target, release.files[name])
            written.append(target)
        else:
            target.unlink(missing_ok=True)
    return written


def _in_release_folder(path: Path) -> Release:
    found = Release.from_folder(path.parent)
    if path.name == release_files.EMBEDDING or path.name in found.copies:
        return found
    copies = {**found.copies, path.name: release_files.digest(read_bytes(path))}
    return Release(found.files, found.others, copies)


def _read_card(card: Path, *, signed: bool) -> Card:
    try:
        return parse_yaml(release_files.read_file(card, limit=release_files.LIMITS[release_files.CARD]))
    except ArtifactError as error:
        if signed:
            raise CardMismatchError(f"{card.name} is not the signed card: {error.message}", error.hint) from error
        raise
