"""An embedding for another program: most take our file as it is, and get its bytes under the name that they prompt.

Where a file is written anew, the numbers are the same, bit for bit in the number type asked for, and the header's facts
come along in safetensors. A signature never does: it names the bytes, card and report of the release.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embhub import destinations
from embhub.artifact import embedding as artifact
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.diffusion.foreign import pickles
from embhub.diffusion.foreign.programs import PROGRAMS, Program
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.formats import tensors

_ARCHIVE = ("data.pkl", "data/0", "version")
"""All that AUTOMATIC1111 1.6 and Forge allow in a .pt archive; what newer torch adds makes them refuse the file."""


@dataclass(frozen=True)
class Exported:
    """Files by name; how a prompt calls the embedding; whether the bytes are those that were published."""

    files: Mapping[str, bytes]
    prompt: str
    put: str
    unchanged: bool


def convert(embedding: Embedding, *, to: str, dtype: str | None = None) -> Exported:
    """The files that the program `to` (one of PROGRAMS) loads.

    Args:
        dtype: `float16` or `float32`; as stored by default (bfloat16, where it must be written anew, as float32).

    Raises:
        UsageError: no such program, or one that cannot use an embedding of this layout or width.
        ArtifactError: the numbers do not fit `dtype`, or the file would be too large.
    """
    if to not in PROGRAMS:
        raise UsageError(f"no program {to!r}", f"choose one of {', '.join(PROGRAMS)}")
    if dtype not in (None, "float16", "float32"):
        raise UsageError(f"no number type {dtype!r}", "choose float16 or float32")
    program = PROGRAMS[to]
    _check_fit(embedding, program)
    form, word = program.forms[embedding.layout], embedding.token.strip("<>")
    if form == "same":
        same = _renamed(embedding, dtype)
        files = {f"{word}.safetensors": same.data}
    elif form == "pt":
        files = {f"{word}.pt": _write_pt(embedding, _cast(embedding, dtype)["emb_params"])}
    else:
        files = _write_by_token(embedding, _cast(embedding, dtype))
    prompt = program.prompt.format(word=word, token=embedding.token)
    return Exported(files, prompt, program.put, unchanged=list(files.values()) == [embedding.data])


def export_file(
    embedding: Embedding, folder: str | Path, *, to: str, dtype: str | None = None, overwrite: bool = False
) -> Exported:
    """`convert`, written into `folder`: each file whole or not at all; what is there stays, unless `overwrite`."""
    folder = Path(folder)
    destinations.check_folder(folder)
    made = convert(embedding, to=to, dtype=dtype)
    if (there := [name for name in made.files if (folder / name).exists()]) and not overwrite:
        raise UsageError(f"{folder / there[0]} exists", "choose another folder, or pass --overwrite")
    for name, data in made.files.items():
        write_atomic(folder / name, data)
    return made


def _check_fit(embedding: Embedding, program: Program) -> None:
    if embedding.layout not in program.forms:
        loadable = [name for name, other in PROGRAMS.items() if embedding.layout in other.forms]
        hint = f"{' and '.join(loadable)} can" if loadable else "use `embhub generate`, or load_into from Python"
        raise UsageError(f"{program.title} cannot load an embedding of layout {embedding.layout}", hint)
    widths = [item.dim for item in embedding.vectors]
    if embedding.layout == "sd" and program.clip_widths and widths[0] not in program.clip_widths:
        raise UsageError(
            f"{program.title} has no base whose words are {widths[0]} wide, as those of {embedding.base_name} are",
            "use `embhub generate`, or export for diffusers",
        )
    kinds = {str(part["kind"]) for part in (embedding.base or {}).get("encoders", {}).values()}
    if program.clip_widths and "bert" in kinds:
        raise UsageError(
            f"{program.title} has no base with a BERT encoder, as {embedding.base_name} has",
            "use `embhub generate`, or export for diffusers",
        )


def _renamed(embedding: Embedding, dtype: str | None) -> Embedding:
    """The file itself, unless its numbers or a tensor's name must change: ComfyUI looks for `t5xxl`, not for `t5`."""
    names = set(LAYOUTS[embedding.layout])
    stored = {item.dtype for item in embedding.vectors}
    if set(embedding.tensors) == names and dtype in (None, *stored) and len(stored) == 1:
        return embedding
    arrays = {"t5xxl" if name == "t5" else name: values for name, values in _cast(embedding, dtype).items()}
    return artifact.build(
        arrays,
        token=embedding.token,
        base=embedding.base,
        base_name=embedding.base_name,
        training=embedding.training,
        privacy=embedding.privacy,
        dtype=max((values.dtype.name for values in arrays.values()), key=("float16", "float32").index),
    )


def _cast(embedding: Embedding, dtype: str | None) -> dict[str, NDArray[Any]]:
    """Each matrix in `dtype`, or as it is stored."""
    cast = {}
    for name, values in embedding.tensors.items():
        with np.errstate(over="ignore"):  # what overflows is refused next, with its reason
            cast[name] = np.ascontiguousarray(values.astype(dtype or values.dtype))
        if not np.isfinite(cast[name]).all():
            raise tensors.NotFiniteError(f"numbers up to {np.abs(values).max():.3g} do not fit {dtype}", "keep float32")
    return cast


def _write_pt(embedding: Embedding, rows: NDArray[Any]) -> bytes:
    """AUTOMATIC1111's own form; `name` is what diffusers takes for the token, the web UI goes by the file's name."""
    steps = embedding.training.get("steps", embedding.training.get("source_steps"))
    content = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": torch.from_numpy(rows)},
        "name": embedding.token,
        "step": steps if isinstance(steps, int) else None,
        "sd_checkpoint": None,
        "sd_checkpoint_name": embedding.base_name,
    }
    stream = io.BytesIO()
    torch.save(content, stream)
    members = pickles.unpack(stream.getvalue())
    return pickles.pack({name: members[name] for name in (f"archive/{part}" for part in _ARCHIVE)})


def _write_by_token(embedding: Embedding, arrays: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """diffusers' own form: one tensor a file, called as the token; several encoders give several files."""
    said = {key: value for key, value in embedding.metadata.items() if key != "embhub.schema"}
    word, files = embedding.token.strip("<>"), {}
    for name, rows in arrays.items():
        encoder = LAYOUTS[embedding.layout]["t5xxl" if name == "t5" else name]
        body = tensors.serialize_body({embedding.token: rows})
        said["modelspec.hash_sha256"] = f"0x{hashlib.sha256(body).hexdigest()}"
        stem = word if len(arrays) == 1 else f"{word}.{encoder}"
        files[f"{stem}.safetensors"] = tensors.serialize({embedding.token: rows}, said)
    return files
