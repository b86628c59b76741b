"""The artifact: a few learned token rows in a safetensors file with a header that says what they are.

Layouts follow the loaders people use (diffusers, Forge, ComfyUI, InvokeAI): `emb_params` for one encoder, `clip_l`,
`clip_g`, `t5xxl` for several. The header carries `modelspec.*` keys (Stability ModelSpec 1.0.1) and `embhub.*` keys;
nothing in it depends on the card or the audit report, which name this file by its digest.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embhub.artifact import adapter, header, numbers
from embhub.artifact.derivation import Derivation, read_derivation
from embhub.artifact.header import check_token as check_token
from embhub.errors import ArtifactError, UsageError
from embhub.formats import tensors as container
from embhub.formats.tensors import MAX_BYTES as MAX_BYTES
from embhub.privacy.claim_or_none import NONE, read_claim

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embhub.options.adapter import TargetModules
    from embhub.privacy.claim import Claim

# Layout -> tensor name -> the pipeline component whose token table the rows extend. A Kandinsky 2.2 decoder has none:
# its embedding is one CLIP image embedding, which its U-Net is told of as `image_embeds`. Encoders that other loaders
# have no name for, such as chat models, have the component's own.
LAYOUTS: Mapping[str, Mapping[str, str]] = {
    "sd": {"emb_params": "text_encoder"},
    "sdxl": {"clip_l": "text_encoder", "clip_g": "text_encoder_2"},
    "sd3": {"clip_l": "text_encoder", "clip_g": "text_encoder_2", "t5xxl": "text_encoder_3"},
    "flux": {"clip_l": "text_encoder", "t5xxl": "text_encoder_2"},
    "t5": {"t5xxl": "text_encoder"},
    "components": {"text_encoder": "text_encoder"},
    "components-2": {name: name for name in ("text_encoder", "text_encoder_2")},
    "components-3": {name: name for name in ("text_encoder", "text_encoder_2", "text_encoder_3")},
    "kandinsky22-prior": {"clip_g": "text_encoder"},
    "kandinsky22-image": {"image_embeds": "image_embeds"},
}

PER_LAYER = "sd-per-layer"
"""Rows of their own for each place where a denoiser of Stable Diffusion's shape reads text (P+, arXiv 2303.09522):
tensors layer_00, layer_01, … of one shape, in the denoiser's own order. No other program reads them."""
MOST_LAYERS = 64


class BadLayoutError(ArtifactError):
    """Tensor names that no known loader expects together."""


@dataclass(frozen=True)
class Vectors:
    """`count` rows of `dim` numbers for one text encoder, stored as `dtype`.

    Of an adapter: its rank, and the width of the text that the denoiser reads.
    """

    encoder: str
    count: int
    dim: int
    dtype: str


class Matrices(Mapping[str, "NDArray[Any]"]):
    """Arrays by tensor name, each made when it is asked for from what is `stored`."""

    def __init__(self, stored: Mapping[str, container.Tensor]) -> None:
        self.stored = stored

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.stored[name].values

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)


@dataclass(frozen=True)
class Embedding:
    """A checked embedding file: its exact bytes, and what was read from them.

    Attributes:
        data: The bytes of the safetensors file.
        tensors: Embedding vectors by tensor name, each (num_vectors, d).
        metadata: The header, text by key.
        layout: Which text encoders the tensors are for, such as `sd` or `sdxl`.
        vectors: Number, width and number type of the vectors of each text encoder.

    Example:
        >>> from embhub.artifact import embedding
        >>> file = embedding.read("prostate-cspca.safetensors")
        >>> file.token, file.base_name, file.privacy
        ('<cspca>', 'builtin', 'none')
        >>> file.tensors["emb_params"].shape
        (8, 128)
    """

    data: bytes
    tensors: Matrices
    metadata: Mapping[str, str]
    layout: str
    vectors: Sequence[Vectors]

    def __repr__(self) -> str:
        rows = ", ".join(f"{part.count} x {part.dim} {part.dtype} for {part.encoder}" for part in self.vectors)
        return f"<Embedding {self.token} for {self.base_name}: {rows}; sha256 {self.digest[:16]}…>"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file in lower-case hex: its name everywhere else."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def numbers(self) -> str:
        """SHA-256 of the numbers alone (see `embhub.artifact.numbers`): the same under another header."""
        return numbers.digest(self.tensors.stored)

    @property
    def token(self) -> str:
        """The placeholder token to write in a prompt, such as `<cspca>`."""
        return self.metadata["embhub.token"]

    @property
    def base_name(self) -> str:
        """The name that the publisher gives the base model."""
        return self.metadata["embhub.base_name"]

    @cached_property
    def base(self) -> dict[str, Any] | None:
        """Fingerprint of the base model (see `embhub.artifact.fingerprint`), or None where it is unknown."""
        text = self.metadata.get("embhub.base")
        return None if text is None else header.read_object("base", text)

    @property
    def base_weights(self) -> str | None:
        """SHA-256 (hex) of all weights of the base, see `embhub.diffusion.bases.live_weights`; None where not told."""
        return self.metadata.get("embhub.base_weights")

    @cached_property
    def training(self) -> dict[str, Any]:
        """Training facts, under the names in `header.TRAINING_FACTS`."""
        return header.read_object("training", self.metadata["embhub.training"])

    @cached_property
    def privacy(self) -> Claim:
        """The privacy claim, recomputed: the text `none`, or a `PrivacyClaim`."""
        return read_claim(self.metadata["embhub.privacy"])

    @property
    def kind(self) -> str:
        """`embedding` for token embeddings, `adapter` for a compact adapter (see `embhub.artifact.adapter`)."""
        return "adapter" if self.layout == adapter.LAYOUT else "embedding"

    @property
    def target_modules(self) -> TargetModules | None:
        """Which modules of the denoiser an adapter changes; None for token embeddings."""
        return adapter.target_modules(self.tensors) if self.kind == adapter.KIND else None

    @cached_property
    def derived_from(self) -> Derivation | None:
        """What it was ported from, or None where it was trained."""
        text = self.metadata.get("embhub.derived_from")
        return None if text is None else read_derivation(text)


def parse(data: bytes) -> Embedding:
    """Validate the bytes of an embedding.

    Raises:
        ArtifactError: a subclass of it from `formats.tensors`, `formats.header` or this module, saying what is wrong.
    """
    return interpret(data, container.parse(data))


def interpret(data: bytes, file: container.TensorFile) -> Embedding:
    """The embedding that `data` holds, whose container was read as `file`. Raises as `parse`."""
    header.check(file.metadata)
    told = file.metadata.get("embhub.derived_from")
    adapter.check_header(
        file.tensors, kind=file.metadata.get("embhub.kind"), has_base="embhub.base" in file.metadata,
        claim=read_claim(file.metadata["embhub.privacy"]), derived=None if told is None else read_derivation(told),
    )  # fmt: skip
    layout, components = _find_layout(set(file.tensors))
    if layout == "kandinsky22-image" and file.tensors["image_embeds"].shape[0] != 1:
        raise BadLayoutError("image_embeds holds more than one image embedding", "a decoder receives one")
    base = header.read_object("base", file.metadata["embhub.base"]) if "embhub.base" in file.metadata else None
    if base is not None and (not base["encoders"]) != (layout == "kandinsky22-image"):
        raise BadLayoutError("the base's fingerprint has not the text encoders that the rows are for", "train again")
    if layout == PER_LAYER and len({(part.shape, part.dtype) for part in file.tensors.values()}) > 1:
        raise BadLayoutError("the layers differ in shape or number type", "write the file again with `embhub train`")
    if layout == adapter.LAYOUT:
        rank, width, dtype = adapter.check(file.tensors)
        return Embedding(data, Matrices(file.tensors), file.metadata, layout, (Vectors("unet", rank, width, dtype),))
    vectors = tuple(Vectors(components[name], *tensor.shape, tensor.dtype) for name, tensor in file.tensors.items())
    return Embedding(
        data, Matrices(file.tensors), file.metadata, layout, tuple(sorted(vectors, key=lambda item: item.encoder))
    )


def read(path: str | Path) -> Embedding:
    """Read and validate a file; one that is too large is refused unread.

    Raises:
        UsageError: no such file, or not a regular one.
        ArtifactError: as `parse`.
    """
    return parse(read_bytes(path))


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a regular file of at most MAX_BYTES; a pickle or an oversized file is named as such, unread."""
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path} is not a file", "pass the .safetensors file itself")
        with path.open("rb") as stream:
            start = stream.read(64)
            container.check_kind(start)
            container.check_size(status.st_size)
            data = start + stream.read(MAX_BYTES + 1 - len(start))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "check the path") from error
    container.check_size(len(data))
    return data


def build(
    tensors: Mapping[str, NDArray[Any]],
    *,
    token: str,
    base: Mapping[str, Any] | None,
    base_name: str,
    training: Mapping[str, Any],
    privacy: Claim = NONE,
    dtype: str = "float16",
    derived_from: Derivation | None = None,
    base_weights: str | None = None,
) -> Embedding:
    """Write an embedding; the same input gives the same bytes.

    Args:
        tensors: matrices (rows, width) under the names of one of LAYOUTS; cast to `dtype` (float16 or float32).
        token: the placeholder, see `check_token`.
        base: the fingerprint that `embhub.artifact.fingerprint.take`, None where the base is not at hand.
        base_name: the base as its publisher calls it; never a local path.
        training: facts under names of header.TRAINING_FACTS; numbers and short texts.
        privacy: the claim of the training that made the rows (`privacy.build_claim`), or "none".
        derived_from: what it was ported from, None for a training.
        base_weights: what `embhub.diffusion.bases.live_weights.digest` says of the base, so that a claim can be ported.

    Raises:
        ArtifactError: whatever `parse` would refuse.
    """
    if dtype not in ("float16", "float32"):
        raise container.BadTensorTypeError(f"cannot write numbers as {dtype}", "float16 and float32 are written")
    import numpy as np

    layout, _ = _find_layout(set(tensors))
    with np.errstate(over="ignore"):  # what overflows becomes infinite, which parse refuses
        arrays = {name: np.asarray(values).astype(dtype) for name, values in tensors.items()}
    metadata = header.compose(
        token=token,
        base=base,
        base_name=base_name,
        training=training,
        architecture=_architecture(layout, arrays, base),
        body_digest=hashlib.sha256(container.serialize_body(arrays)).hexdigest(),
        privacy=privacy,
        derived_from=derived_from,
        kind=adapter.KIND if layout == adapter.LAYOUT else None,
        base_weights=base_weights,
    )
    return parse(container.serialize(arrays, metadata))


def layer_names(count: int) -> tuple[str, ...]:
    """The tensors of the layout PER_LAYER for so many places; none where there are too few or too many."""
    return tuple(f"layer_{number:02}" for number in range(count)) if 2 <= count <= MOST_LAYERS else ()


def _find_layout(names: set[str]) -> tuple[str, Mapping[str, str]]:
    if adapter.is_adapter(names):
        return adapter.LAYOUT, {}
    if names and names == set(layer_names(len(names))):
        return PER_LAYER, dict.fromkeys(names, "text_encoder")
    known = {"t5xxl" if name == "t5" else name for name in names}
    for layout, components in LAYOUTS.items():
        if known == set(components) and len(known) == len(names):
            return layout, {**components, "t5": components.get("t5xxl", "")}
    raise BadLayoutError(
        f"the tensors {', '.join(ascii(name)[:40] for name in sorted(names)[:6])} are of no known layout",
        "convert the file with `embhub import`",
    )


def _architecture(layout: str, arrays: Mapping[str, NDArray[Any]], base: Mapping[str, Any] | None) -> str:
    """ModelSpec's architecture id; a base of our own size is called after its width."""
    names = {
        "sdxl": "stable-diffusion-xl-v1-base",
        "sd3": "stable-diffusion-3",
        "flux": "flux-1",
        "t5": "t5-conditioned",
        "kandinsky22-prior": "kandinsky-2-2-prior",
    }
    if layout == adapter.LAYOUT:
        return "stable-diffusion/lora"
    if layout == "kandinsky22-image":
        return "kandinsky-2-2-decoder/image-embedding"
    if layout in names:
        return f"{names[layout]}/textual-inversion"
    if layout.startswith("components"):
        encoders = base["encoders"] if base is not None else {}
        kinds = [str(encoders[name]["kind"]) for name in LAYOUTS[layout].values() if name in encoders]
        return f"{'-'.join(kinds or ['text'])}-conditioned/textual-inversion"
    kind = "textual-inversion-per-layer" if layout == PER_LAYER else "textual-inversion"
    width = next(iter(arrays.values())).shape[-1]
    velocity = base is not None and base.get("prediction_type") == "v_prediction"
    sizes = {768: "stable-diffusion-v1", 1024: "stable-diffusion-v2-768-v" if velocity else "stable-diffusion-v2-512"}
    return f"{sizes.get(width, f'stable-diffusion-width-{width}')}/{kind}"
