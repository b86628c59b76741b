"""A part of a pipeline from elsewhere: found, loaded by diffusers or transformers, and compared with the base's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError

from embhub.diffusion.bases.found import FoundBase, download_part, quiet
from embhub.diffusion.bases.replacements import Replacement
from embhub.errors import UsageError
from embhub.formats.slices import find_weights

_LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
_LATENT_SPACE = ("scaling_factor", "shift_factor", "latents_mean", "latents_std")


@dataclass(frozen=True)
class Part:
    """A part's name in the pipeline, its class there, and the folder to take it from."""

    name: str
    library: str
    kind: str
    folder: Path


def find_part(found: FoundBase, replacement: Replacement) -> Part:
    """Where a replacement lies, after a look at what it says of itself; no weight is read.

    A source is a folder of the part, a pipeline folder that holds it, or `owner/name[@revision]` of the Hub.

    Raises:
        UsageError: the base has no such part, the source is not there, or it is of another class.
        ArtifactError: no weights, or pickled ones.
    """
    name, source = replacement
    index = json.loads((found.folder / "model_index.json").read_text(encoding="utf-8"))
    models = {
        key: value
        for key, value in index.items()
        if isinstance(value, list) and value[0] in _LIBRARIES and (found.folder / key / "config.json").is_file()
    }
    if name not in models:
        words = (
            "tokenizers cannot be replaced: embeddings depend on their vocabulary; "
            if name.startswith("tokenizer")
            else ""
        )
        raise UsageError(f"{found.name} has no part {name} to replace", f"{words}choose {', '.join(models)} or lora")
    library, kind = models[name]
    folder = Path(source) if Path(source).exists() else download_part(source, _files_of(name))
    inner = folder / name
    folder = inner if (inner / "config.json").is_file() else folder
    config = _read_config(folder, source)
    said = config.get("_class_name") or next(iter(config.get("architectures") or [""]))
    if said not in (kind, ""):
        raise UsageError(f"{source} is of class {said}, and the {name} of {found.name} of class {kind}", _FITTING)
    find_weights(folder)
    return Part(name, library, kind, folder.resolve())


def check_part(found: FoundBase, part: Part) -> None:
    """Load the part and compare it with the base's own: the same tensors in the same shapes, the same latent space.

    Raises:
        UsageError: it cannot be loaded, or differs, with the first difference.
    """
    kind = getattr(_LIBRARIES[part.library], part.kind)
    own, other = (_read_config(folder, part.name) for folder in (found.folder / part.name, part.folder))
    different = next((key for key in _LATENT_SPACE if own.get(key) != other.get(key)), None)
    if different and part.kind.startswith("Autoencoder"):
        raise UsageError(
            f"the {part.name} has another latent space: {different} {other.get(different)} instead of "
            f"{own.get(different)}",
            _FITTING,
        )
    given = _load_shapes(kind, part)
    with quiet():
        wanted = _shapes(_empty(kind, found.folder / part.name))
    for key in sorted({*given, *wanted}):
        if given.get(key) != wanted.get(key):
            raise UsageError(
                f"the {part.name} does not fit {found.name}: {key} is {_size(given.get(key))} instead of "
                f"{_size(wanted.get(key))}",
                _FITTING,
            )


_FITTING = "use a part made for this base, or a fine-tune of it"


def _files_of(name: str) -> tuple[str, ...]:
    """Of a repository: the part's folder in a pipeline, or a part alone. Single files of whole models stay there."""
    alone = ("config.json", "model*.safetensors", "diffusion_pytorch_model*.safetensors", "*.safetensors.index.json")
    return (f"{name}/*.json", f"{name}/*.safetensors", *alone)


def _load_shapes(kind: Any, part: Part) -> dict[str, tuple[int, ...]]:
    """Shapes of the part's weights once it is loaded for real: whatever is missing would have been drawn at random."""
    try:
        with quiet():
            model, told = kind.from_pretrained(
                str(part.folder), use_safetensors=True, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"the {part.name} cannot be loaded as a {part.kind}: {reason}", _FITTING) from error
    if missing := sorted(map(str, [*told["missing_keys"], *told.get("mismatched_keys", [])])):
        raise UsageError(f"the {part.name} lacks {len(missing)} weights, such as {missing[0]}", _FITTING)
    return _shapes(model)


def _empty(kind: Any, folder: Path) -> Any:
    """The base's own part without its weights."""
    with torch.device("meta"):
        if hasattr(kind, "load_config"):
            return kind.from_config(kind.load_config(str(folder), local_files_only=True))
        return kind(kind.config_class.from_pretrained(str(folder), local_files_only=True))


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def _size(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "one number"


def _read_config(folder: Path, source: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{source} holds no readable config.json", "name a folder as diffusers saves it") from error
    return config if isinstance(config, dict) else {}
