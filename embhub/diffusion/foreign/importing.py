"""Embeddings of other programs, read without running anything in them, written as an embhub file.

Reading is `foreign/`: pickles go through torch's restricted unpickler (`weights_only`) alone, from memory that was
measured first. What a file says of itself is not believed, with one exception: the training facts and the base's
fingerprint in a header that embhub itself wrote, where its hash still fits the numbers. A privacy claim never comes
over, because nobody can tell any more what made the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint, header
from embhub.artifact.embedding import MAX_BYTES, Embedding
from embhub.diffusion.bases.pipelines import find_base
from embhub.diffusion.foreign import asking, pickles
from embhub.diffusion.foreign.assigning import assign, read_widths
from embhub.diffusion.foreign.contents import Contents, find
from embhub.durable import write_atomic
from embhub.errors import ArtifactError, UsageError
from embhub.formats import tensors

_CLIP_L, _T5 = {"clip_l": 768}, {"t5xxl": 4096}
FAMILIES: Mapping[str, tuple[str, Mapping[str, int]]] = {
    "sd1": ("stable-diffusion-v1", {"emb_params": 768}),
    "sd2": ("stable-diffusion-2", {"emb_params": 1024}),
    "sdxl": ("stable-diffusion-xl", {**_CLIP_L, "clip_g": 1280}),
    "sd3": ("stable-diffusion-3", {**_CLIP_L, "clip_g": 1280, **_T5}),
    "flux": ("flux-1", {**_CLIP_L, **_T5}),
    "kandinsky22": ("kandinsky-2-2-prior", {"clip_g": 1280}),
    "kandinsky3": ("kandinsky-3", _T5),
    "builtin": ("builtin", {"emb_params": 128}),
}
"""Base families that an import can be for: the name to publish, and the width of each encoder's rows."""
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Imported:
    """The new file, and by how much a number changed at most when it was rounded to fit (0 where nothing was)."""

    embedding: Embedding
    rounding: float


def import_file(
    path: str | Path | Sequence[str | Path],
    *,
    token: str,
    base_family: str | None = None,
    base: str | Path | None = None,
    base_name: str | None = None,
    dtype: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Embedding:
    """Convert an embedding of another program, and write it to `out` where that is given.

    Nothing in the file is executed. A privacy claim is never taken over, because nobody can check it any more.

    Args:
        path: A `.pt`, `.bin` or `.safetensors` file, or one file for each text encoder.
        token: The placeholder token to use in prompts. What the file says is ignored.
        base_family: One of `FAMILIES`, where the base is not available. Loading can then only compare widths.
        base: The base itself, as for `train`. Its fingerprint goes into the file. Give either this or `base_family`.
        base_name: The name that the publisher gives the base, such as `stable-diffusion-v1-5/stable-diffusion-v1-5`.
        dtype: `float16` or `float32`. By default half precision stays; other numbers become float32 if the file then
            fits the size limit, and float16 otherwise.
        out: The file to write.
        overwrite: Replace `out` where it exists.

    Returns:
        The embedding.

    Raises:
        UsageError: No such file, family or base; both or neither of the two; or `out` exists.
        ArtifactError: Not an embedding, one of another width, a pickle with more than tensors, or numbers that do not
            fit.

    Example:
        >>> import torch, embhub
        >>> torch.save({"<lesion>": torch.randn(2, 768)}, "lesion.pt")
        >>> embhub.import_file("lesion.pt", token="<lesion>", base_family="sd1").token
        '<lesion>'
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    return read_foreign(
        paths,
        token=token,
        base_family=base_family,
        base=base,
        base_name=base_name,
        dtype=dtype,
        out=out,
        overwrite=overwrite,
    ).embedding


def read_foreign(
    paths: Sequence[str | Path],
    *,
    token: str,
    base_family: str | None = None,
    base: str | Path | None = None,
    base_name: str | None = None,
    dtype: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Imported:
    """Read one embedding from one file, or from one file for each text encoder.

    Args:
        token: how prompts shall call it; whatever the file says is ignored.
        base_family: one of FAMILIES, where the base is not at hand: loading can then only compare widths.
        base: the base itself, as `train` takes it; its fingerprint goes into the file.
        base_name: the base as its publisher calls it, such as `stable-diffusion-v1-5/stable-diffusion-v1-5`.
        dtype: `float16` or `float32`. By default half-precision numbers stay so, and all others are kept as float32
            where the file then fits the size limit, else rounded to float16.

    Raises:
        UsageError: no such file, family or base, both or none of them, or `out` exists.
        ArtifactError: not an embedding, one of another width, a pickle that asks for more than tensors, numbers that
            float16 cannot hold, or `FileTooLargeError` in the number type that was asked for.
    """
    target = Path(out) if out is not None else None
    asking.check(paths, token=token, family=base_family, base=base, out=target, overwrite=overwrite)
    if dtype not in (None, *DTYPES):
        raise UsageError(f"no number type {dtype!r}", f"choose one of {', '.join(DTYPES)}")
    label, name, widths, taken = _find_target(base_family, base)
    read = [_read(Path(path)) for path in paths]
    rows = assign([contents for contents, _ in read], widths, label)
    own = next((facts for _, facts in read if facts is not None), None)
    if own is not None and own.base is not None and taken is None and read_widths(own.base) == widths:
        taken = own.base
    training = own.training if own is not None else {"tool": "embhub import"}
    training = {**training, **read[0][0].facts, "vectors": max(len(part) for part in rows.values())}
    made = _write(
        rows,
        dtype,
        token=token,
        base=taken,
        base_name=base_name or (own.base_name if own is not None and base is None else name),
        training=training,
    )
    if target is not None:
        write_atomic(target, made.embedding.data)
    return made


@dataclass(frozen=True)
class _OwnHeader:
    base: dict[str, Any] | None
    base_name: str
    training: dict[str, Any]


def _find_target(
    family: str | None, base: str | Path | None
) -> tuple[str, str, Mapping[str, int], dict[str, Any] | None]:
    """What messages call the base, its public name, the widths of its rows, and its fingerprint if it is at hand."""
    if base is not None:
        found = find_base(base)
        known = fingerprint.take(found.folder)
        return found.name, found.name, read_widths(known), known
    if family is None or family not in FAMILIES:
        raise UsageError(
            f"no base family {family!r}", f"choose one of {', '.join(FAMILIES)}, or name the base itself: --base"
        )
    name, widths = FAMILIES[family]
    return family, name, widths, None


def _read(path: Path) -> tuple[Contents, _OwnHeader | None]:
    try:
        size = path.stat().st_size
        if size > pickles.LARGEST:
            raise ArtifactError(f"{path.name} is no embedding: {size:,} bytes", f"at most {pickles.LARGEST:,} are read")
        with path.open("rb") as stream:
            data = stream.read(size)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "check the path") from error
    if pickles.is_pickle(data) and data[3:9] != b"\0\0\0\0\0{":  # as in formats.tensors.check_kind
        return find(pickles.load(data, path.name)), None
    try:
        return find(load_safetensors(data)), _read_own_header(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ArtifactError(
            f"{path.name} is no embedding file of a known kind", "use .pt, .bin or .safetensors"
        ) from error


def _read_own_header(data: bytes) -> _OwnHeader | None:
    """What embhub wrote beside the rows when it exported them, if the rows are still those."""
    try:
        file = tensors.parse(data)
        said = file.metadata
        body = tensors.serialize_body({name: tensor.values for name, tensor in file.tensors.items()})
        if said.get("modelspec.hash_sha256") != f"0x{hashlib.sha256(body).hexdigest()}":
            return None
        training = header.read_object("training", said["embhub.training"])
        header.check_training(training)
        base = header.read_object("base", said["embhub.base"]) if "embhub.base" in said else None
        if base is not None:
            fingerprint.check(base)
        return _OwnHeader(base, said["embhub.base_name"], training)
    except (ArtifactError, KeyError):
        return None


def _write(rows: Mapping[str, torch.Tensor], dtype: str | None, **said: Any) -> Imported:
    half = all(part.dtype not in (torch.bfloat16, torch.float32, torch.float64) for part in rows.values())
    exact = {name: part.to(torch.float64).contiguous().numpy() for name, part in rows.items()}
    for part in exact.values():
        _round(part, "float16")  # whatever the file keeps: a base in half precision makes infinities of the rest
    wanted = [dtype] if dtype else ["float16"] if half else ["float32", "float16"]
    for kind in wanted:
        rounded = {name: _round(part, kind) for name, part in exact.items()}
        try:
            made = artifact.build(rounded, dtype=kind, **said)
        except tensors.FileTooLargeError as error:
            if kind == wanted[-1]:
                size = sum(part.nbytes for part in rounded.values())
                raise tensors.FileTooLargeError(
                    f"the numbers alone are {size:,} bytes as {kind}; an embedding has at most {MAX_BYTES:,}",
                    "pass --dtype float16, or train fewer vectors" if kind == "float32" else "train fewer vectors",
                ) from error
            continue
        change = max(float(np.abs(part - exact[name]).max()) for name, part in made.tensors.items())
        return Imported(made, change)
    raise AssertionError("the last number type either fits or is refused")


def _round(values: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):  # what overflows is refused in the next line, with its reason
        cast = values.astype(dtype)
    if np.isfinite(values).all() and not np.isfinite(cast).all():
        raise tensors.NotFiniteError(
            f"numbers up to {np.abs(values).max():.3g} do not fit {dtype}, in which programs load embeddings",
            "train again with a lower learning rate; token embeddings are of the order of 1",
        )
    return cast
