"""`embhub research detect`: is an image synthetic, and of which embedding? Three layers, the cheap ones first.

Metadata is read from the file. A C2PA manifest is verified, and says who signed it (`manifests`). The mark in the first
noise needs the base, and takes about a second of computation an image. What is not signed proves nothing: metadata can
be written, and a mark can be made by everybody who has the release. That nothing is found says nothing: "not known".
Why it is so: docs/adr/0029-marks-and-manifests-of-generated-images.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embhub.client.pulling.known_releases import Known, known_releases
from embhub.diffusion.generation.tracing.manifests import ManifestLayer
from embhub.errors import EmbhubError, UsageError
from embhub.formats.synthetic_mark import SYNTHETIC_TYPES, Declared
from embhub.images.checks import synthetic
from embhub.images.readers.sniffing import kind_of
from embhub.progress import OnProgress, Progress, announce, say_loading

if TYPE_CHECKING:
    from embhub.diffusion.generation.tracing.reading import MarkReader

SCHEMA = "embhub.detection/1"
MOST_FILES = 1_000_000


@dataclass(frozen=True)
class Hit:
    """What one layer found: `layer` is metadata, c2pa or mark; `says` a sentence.

    `chance` bounds the chance that a mark is a coincidence. `seed` is the image's seed modulo 256. Of a C2PA manifest,
    `valid` says whether it holds, None where nobody could check it, and `signer` whose key signed it, if it is known.
    """

    layer: Literal["metadata", "c2pa", "mark"]
    says: str
    embeddings: tuple[str, ...] = ()
    base: str | None = None
    chance: float | None = None
    seed: int | None = None
    valid: bool | None = None
    signer: str | None = None


@dataclass(frozen=True)
class Looked:
    """One file: `verdict` is synthetic or not known, `releases` the releases of this site that layers name.

    `unknown` are digests that no release of this site has. `note` says why a layer was not looked at.
    """

    file: str
    verdict: Literal["synthetic", "not known"]
    hits: tuple[Hit, ...]
    releases: tuple[Known, ...]
    unknown: tuple[str, ...]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "file": self.file,
            "verdict": self.verdict,
            "layers": [
                {name: value for name, value in vars(hit).items() if value not in (None, ())} for hit in self.hits
            ],
            "releases": [known.to_json() for known in self.releases],
            "unknown_embeddings": list(self.unknown),
            "note": self.note,
        }


@dataclass(frozen=True)
class Detection:
    """All files, and what was compared with: the number of releases, and bases that were not at hand."""

    files: tuple[Looked, ...]
    releases: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        found = sum(one.verdict == "synthetic" for one in self.files)
        return {
            "schema": SCHEMA,
            "images": len(self.files),
            "synthetic": found,
            "not_known": len(self.files) - found,
            "releases_compared": self.releases,
            "notes": list(self.notes),
            "files": [one.to_json() for one in self.files],
        }


def detect(
    path: str | Path,
    *,
    releases: Sequence[str | Path] = (),
    bases: Sequence[str] = (),
    mark: bool = True,
    c2pa_trust: Path | None = None,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> Detection:
    """Look at an image, or at every image of a folder and the folders in it. Nothing is fetched and nothing written.

    Args:
        path: an image (PNG, JPEG, TIFF, DICOM) or a folder.
        releases: files or folders of embeddings to compare with, besides those that this site pulled.
        bases: bases to look for images of that were generated without an embedding.
        mark: whether to look for the mark in the noise, which needs torch and the bases.
        c2pa_trust: a file of certificates (PEM) of authorities whose C2PA signers are accepted.
        device: `auto`, or a torch device.
        on_progress: called with each image.

    Returns:
        What was found of each image.

    Raises:
        UsageError: no such file or folder, no image in it, or no certificates.
        ConfigError: what this site pulled or trusts cannot be read.
        VerificationError: a keyring that is kept here was edited.

    Example:
        >>> import embhub
        >>> found = embhub.detect("images", mark=False)
        >>> len(found.files), found.files[0].verdict
        (6, 'not known')
    """
    root = Path(path)
    files = _list(root)
    known = known_releases([_there(Path(one)) for one in releases])
    reader = _open_reader(known, bases, device, on_progress) if mark else None
    looked = []
    with ManifestLayer(c2pa_trust) as manifests:
        for number, file in enumerate(files, 1):
            name = file.name if file == root else str(file.relative_to(root))
            looked.append(_look(file, name, known, reader, manifests))
            if on_progress:
                on_progress(Progress("looking", number, len(files)))
    notes = tuple(reader.notes) if reader else ("the mark in the noise was not looked for",)
    return Detection(tuple(looked), len(known), notes)


def _open_reader(
    known: Mapping[str, Known], bases: Sequence[str], device: str, on_progress: OnProgress | None
) -> MarkReader | None:
    if not known and not bases:
        return None
    say_loading(on_progress)
    from embhub.diffusion.generation.tracing.reading import MarkReader

    announce(on_progress, "loading the bases")
    return MarkReader(list(known.values()), bases, device=device)


def _list(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise UsageError(f"{root} is not there", "pass an image, or a folder of images")
    files = sorted(_images(root))
    if not files:
        raise UsageError(f"no image in {root}", "PNG, JPEG, TIFF and DICOM files are looked at")
    return files


def _images(root: Path) -> Iterator[Path]:
    for count, path in enumerate(root.rglob("*")):
        if count >= MOST_FILES:
            raise UsageError(f"{root} holds over {MOST_FILES:,} files", "pass a part of it")
        if path.is_file() and kind_of(path) in ("picture", "dicom"):
            yield path


def _there(path: Path) -> Path:
    if not path.exists():
        raise UsageError(f"{path} is not there", "pass an embedding's file, a release's folder, or a folder of those")
    return path


def _look(
    file: Path, name: str, known: Mapping[str, Known], reader: MarkReader | None, manifests: ManifestLayer
) -> Looked:
    said = synthetic.declared(file)
    hits, note = list(_declared(said)), ""
    synthetic_by_manifest = False
    for found in manifests.look(file, has_manifest=said.manifest):
        synthetic_by_manifest |= found.pop("says_synthetic", False)
        hits.append(Hit("c2pa", **found))
    if reader is not None:
        try:
            hits += [Hit("mark", **found) for found in reader.read(file)]
        except EmbhubError as error:
            note = f"no mark was looked for: {error.message}"
    named = list(dict.fromkeys(digest for hit in hits for digest in hit.embeddings))
    return Looked(
        name,
        "synthetic" if synthetic_by_manifest or any(hit.layer != "c2pa" for hit in hits) else "not known",
        tuple(hits),
        tuple(known[digest] for digest in named if digest in known),
        tuple(digest for digest in named if digest not in known),
        note,
    )


def _declared(said: Declared) -> Iterator[Hit]:
    if said.source_type in SYNTHETIC_TYPES:
        text = f"the file says that it is {said.source_type}; anybody can write or remove this"
        yield Hit("metadata", text, said.embeddings, said.base)
