"""A release as an OCI image layout, which `skopeo` and others copy to a registry of containers and back.

The release is a model of CNCF's ModelPack (github.com/modelpack/model-spec 0.0.7): one layer a file, the bytes as they
are. Its attestations refer to the model by `subject`, as cosign's bundles do. They have the tag by which a registry
finds referrers that does not list them itself (OCI's referrers tag schema). Nothing in a layout is trusted: what is
read is a release, unverified. A title names a file of a release, or its layer is left out; no title becomes a path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from embhub.errors import UsageError
from embhub.formats import strict_json
from embhub.formats.strict_json import JsonError
from embhub.refusals import DigestMismatchError
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.release.verified import Verified
from embhub.trust import bundle

INDEX, BLOBS = "index.json", "blobs/sha256"
MODEL: Final = "application/vnd.cncf.model.manifest.v1+json"
_CONFIG = "application/vnd.cncf.model.config.v1+json"
_WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
_DOC = "application/vnd.cncf.model.doc.v1.raw"
_PATH = "org.cncf.model.filepath"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LIST = "application/vnd.oci.image.index.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
_TITLE = "org.opencontainers.image.title"
_TAG = "org.opencontainers.image.ref.name"
_PROOF = "text/plain"
_LARGEST = 256_000  # bytes of a manifest
_MOST = 100  # manifests, and entries of one: a release holds at most 64 attestations and log proofs
_COPY = "copy one release, and what refers to it, into a new folder"


class _Descriptor(BaseModel):
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    annotations: dict[str, str] = {}


class _Document(BaseModel):
    """A manifest or a list of them, as far as it is looked at."""

    artifact_type: str = Field(default="", alias="artifactType")
    layers: list[_Descriptor] = Field([], max_length=_MOST)
    manifests: list[_Descriptor] = Field([], max_length=_MOST)
    subject: _Descriptor | None = None


def build(release: Release, verified: Verified) -> tuple[dict[str, bytes], list[str]]:
    """The layout's files by their paths, the index last, and its two tags: of the model, and of what refers to it.

    The same release gives the same bytes.
    """
    files: dict[str, bytes] = {}

    def add(kind: str, data: bytes, **more: Any) -> dict[str, Any]:
        digest = release_files.digest(data)
        files[f"{BLOBS}/{digest}"] = data
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data), **more}

    def add_manifest(kind: str, config: dict[str, Any], layers: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        told = {"schemaVersion": 2, "mediaType": _MANIFEST, "artifactType": kind, "config": config, "layers": layers}
        return add(_MANIFEST, _json({**told, **more}), artifactType=kind)

    papers = {name: data for name, data in release.files.items() if name.startswith("attestations/")}
    layers = [
        add(_WEIGHT if name == release_files.EMBEDDING else _DOC, data, annotations={_TITLE: name, _PATH: name})
        for name, data in release.files.items()
        if name not in papers
    ]
    config = _describe(verified, [layer["digest"] for layer in layers])
    model = add_manifest(MODEL, add(_CONFIG, _json(config)), layers)
    subject = {name: model[name] for name in ("mediaType", "digest", "size")}
    referrers = []
    for name, data in papers.items():
        kind = bundle.MEDIA_TYPE if release_files.is_attestation(name) else _PROOF
        layer = add(kind, data, annotations={_TITLE: name})
        referrers.append(add_manifest(kind, add(_EMPTY, b"{}"), [layer], subject=subject))
    listed = add(_LIST, _json({"schemaVersion": 2, "mediaType": _LIST, "manifests": referrers}))
    tags = [verified.version, model["digest"].replace(":", "-")]
    top = [{**one, "annotations": {_TAG: tag}} for one, tag in zip((model, listed), tags, strict=True)]
    files[release_files.OCI_LAYOUT] = _json({"imageLayoutVersion": "1.0.0"})
    files[INDEX] = _json({"schemaVersion": 2, "mediaType": _LIST, "manifests": top})
    return files, tags


def _describe(verified: Verified, layers: list[str]) -> dict[str, Any]:
    """The model's configuration."""
    card = verified.card
    return {
        "descriptor": {
            "createdAt": verified.created,
            "authors": list(card.authors),
            "vendor": card.publisher,
            "family": card.base_model.family,
            "name": verified.repository,
            "version": verified.version,
            "description": card.description,
            "licenses": [card.licence],
        },
        "config": {
            "architecture": "low-rank adapter" if card.kind == "adapter" else "textual inversion embedding",
            "format": "safetensors",
            "capabilities": {"inputTypes": ["text"], "outputTypes": ["image"]},
        },
        "modelfs": {"type": "layers", "diffIds": layers},
    }


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def check_alone(root: Path) -> None:
    """Refuse a folder in which other weights are beside a layout: nobody would verify them.

    Raises:
        UsageError: it holds a file of that kind.
    """
    if beside := sorted(root.glob("*.safetensors")):
        raise UsageError(f"{beside[0]} is no part of an OCI layout", "give the layout a folder of its own")


def read(root: Path) -> Release:
    """The release in a layout. No file is read beyond its limit.

    Raises:
        UsageError: it holds no release or several, or other weights beside it, or cannot be read.
        DigestMismatchError: a blob is damaged.
        FileTooLargeError: a file exceeds the limit of its kind, or there are too many attestations.
    """
    check_alone(root)
    found: dict[str, str] = {}
    for layer in _layers(root):
        name = layer.annotations.get(_TITLE, "")
        if release_files.limit_of(name) is not None and found.setdefault(name, layer.digest) != layer.digest:
            raise UsageError(f"{root} holds two files {name}", _COPY)
    release_files.check_count(found)
    limits = {name: release_files.limit_of(name) or 0 for name in found}
    return Release.from_files({name: _read(root, digest, limit=limits[name]) for name, digest in found.items()})


def _layers(root: Path) -> list[_Descriptor]:
    """The files of the one model in a layout, and of what refers to it."""
    found = _manifests(root)
    models = [digest for digest, one in found.items() if one.artifact_type == MODEL]
    if len(models) != 1:
        raise UsageError(f"{root} holds {len(models)} models", _COPY)
    about = [one for one in found.values() if one.subject is not None and one.subject.digest == models[0]]
    return [layer for one in (found[models[0]], *about) for layer in one.layers]


def _manifests(root: Path) -> dict[str, _Document]:
    """Manifests by digest: those that the index names, and those of lists that it names."""
    top = _parse(release_files.read_file(root / INDEX, limit=_LARGEST))
    named = [one.digest for one in top.manifests]
    found: dict[str, _Document] = {}
    while named:
        digest = named.pop()
        if digest in found:
            continue
        if len(found) == _MOST:
            raise UsageError(f"{root} holds more than {_MOST} manifests", _COPY)
        found[digest] = _parse(_read(root, digest, limit=_LARGEST))
        named += [one.digest for one in found[digest].manifests]
    return found


def _read(root: Path, digest: str, *, limit: int) -> bytes:
    data = release_files.read_file(root / BLOBS / digest.removeprefix("sha256:"), limit=limit)
    if f"sha256:{release_files.digest(data)}" != digest:
        raise DigestMismatchError(f"the blob {digest} is damaged", "copy the layout again")
    return data


def _parse(data: bytes) -> _Document:
    try:
        return _Document.model_validate(strict_json.read_object(data, limit=_LARGEST))
    except (JsonError, ValidationError) as error:
        reason = str(error) if isinstance(error, JsonError) else "a descriptor in it is malformed"
        raise UsageError(f"no OCI layout that embhub reads: {reason}", "copy it again") from error
