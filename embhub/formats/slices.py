"""Single rows out of large safetensors files, without loading the rest."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

from embhub.errors import ArtifactError
from embhub.formats import strict_json
from embhub.formats.tensors import DTYPES, widen_bfloat16

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_HEADER = 100_000_000  # what the format's own library allows
_MAX_NODES = 10_000_000  # a large model has some ten thousand tensors
_PLAIN = re.compile(r"(?:model|diffusion_pytorch_model)(?:-\d+-of-\d+)?\.safetensors")
_AGAIN = "download the base model again"


class BadWeightsError(ArtifactError):
    """A weights file of a base model that is missing, damaged or of an unknown number type."""


class _Entry(NamedTuple):
    stream: BinaryIO
    offset: int
    width: int
    kind: str


def find_weights(folder: Path) -> list[Path]:
    """The safetensors files of one component: the plain ones, else one variant (`model.fp16.safetensors`).

    Raises:
        BadWeightsError: none there.
    """
    files = sorted(folder.glob("*.safetensors"))
    if plain := [path for path in files if _PLAIN.fullmatch(path.name)]:
        return plain
    variants: dict[str, list[Path]] = {}
    for path in files:
        variants.setdefault(re.sub(r"-\d+-of-\d+", "", path.name), []).append(path)
    if variants:
        return variants[min(variants)]
    if any(folder.glob("*.bin")):
        raise BadWeightsError(f"{folder} holds pickled weights only", "use a copy of the base model in safetensors")
    raise BadWeightsError(f"{folder} holds no weights", _AGAIN)


class SliceReader:
    """Rows of tensors in some files: `matrices` maps the names of those of two dimensions to (rows, width), `kernels`
    those of convolutions, of four, flattened but for the first."""

    def __init__(self, files: list[Path]) -> None:
        self.matrices: dict[str, tuple[int, int]] = {}
        self.kernels: dict[str, tuple[int, int]] = {}
        self._entries: dict[str, _Entry] = {}
        self._streams: list[BinaryIO] = []
        try:
            for path in files:
                self._open(path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for stream in self._streams:
            stream.close()

    def read_row(self, key: str, row: int) -> NDArray[np.float64]:
        """One row as float64 (width,).

        Raises:
            BadWeightsError: a type other than F32, F16, BF16, or a file that ends too early.
        """
        import numpy as np

        entry = self._entries[key]
        if entry.kind not in DTYPES:
            raise BadWeightsError(
                f"{entry.stream.name} holds numbers of type {entry.kind}", "F32, F16 and BF16 are read"
            )
        stride = entry.width * DTYPES[entry.kind][1]
        entry.stream.seek(entry.offset + row * stride)
        raw = entry.stream.read(stride)
        if len(raw) != stride:
            raise BadWeightsError(f"{entry.stream.name} ends too early", _AGAIN)
        if entry.kind == "BF16":
            return widen_bfloat16(raw).astype(np.float64)
        return np.frombuffer(raw, dtype=f"<f{DTYPES[entry.kind][1]}").astype(np.float64)

    def _open(self, path: Path) -> None:
        try:
            stream = path.open("rb")
            self._streams.append(stream)
            length = int.from_bytes(stream.read(8), "little")
            if length > _MAX_HEADER:
                raise BadWeightsError(f"{path} is not a safetensors file", _AGAIN)
            header = strict_json.read_object(stream.read(length), limit=_MAX_HEADER, nodes=_MAX_NODES, items=_MAX_NODES)
        except OSError as error:
            raise BadWeightsError(f"cannot read {path}: {error.strerror}", "check the base model's folder") from error
        except strict_json.JsonError as error:
            raise BadWeightsError(f"{path} is not a safetensors file: {error}", _AGAIN) from error
        header.pop("__metadata__", None)
        for key, entry in header.items():
            self._add(path, stream, key, entry, start=8 + length)

    def _add(self, path: Path, stream: BinaryIO, key: str, entry: Any, *, start: int) -> None:
        try:
            shape, kind, offset = entry["shape"], entry["dtype"], entry["data_offsets"][0]
        except (TypeError, KeyError, IndexError) as error:
            raise BadWeightsError(f"{path} has a malformed header", _AGAIN) from error
        if len(shape) in (2, 4) and all(type(size) is int and size > 0 for size in shape) and type(offset) is int:
            width = math.prod(shape[1:])
            (self.matrices if len(shape) == 2 else self.kernels)[key] = (shape[0], width)
            self._entries[key] = _Entry(stream, start + offset, width, str(kind))
