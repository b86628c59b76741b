"""A base with parts from elsewhere, put together as a pipeline folder: from there on it is a base like any other.

Parts are linked, not copied; a LoRA is fused into the weights that it changes, by diffusers and peft. The folder lies
in this machine's cache under a hash of all that went into it, and appears whole, in one rename.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
from safetensors import SafetensorError, safe_open

from embhub.diffusion.bases.adapted import MARK, is_adapted, read_lora_mark
from embhub.diffusion.bases.found import FoundBase, download_part, quiet
from embhub.diffusion.bases.replaced_parts import Part, check_part, find_part
from embhub.diffusion.bases.replacements import LORA, Replacement
from embhub.diffusion.families.pipeline import Pipeline
from embhub.errors import ConfigError, UsageError
from embhub.site import config

_WEIGHT_NAME = "pytorch_lora_weights.safetensors"


def assemble(found: FoundBase, replacements: Sequence[Replacement]) -> FoundBase:
    """The base with these parts in place of its own.

    Raises:
        UsageError: no such part or source; a part of another class, shape or latent space; a LoRA that fits nothing.
        ArtifactError: weights that are missing, pickled or damaged.
        ConfigError: the cache cannot be written.
    """
    parts = [find_part(found, one) for one in replacements if one.part != LORA]
    loras = [_find_lora(one.source) for one in replacements if one.part == LORA]
    names = [part.name for part in parts] + [LORA] * bool(loras)
    name = f"{found.name[:60]}-with-{'-'.join(names)}"[:96]
    sources = [found.folder, *(part.folder for part in parts), *loras]
    folder = config.paths().cache / "bases" / _key([part.name for part in parts], sources)
    if not folder.exists():
        for part in parts:
            check_part(found, part)
        _build(folder, found, parts, loras)
    return FoundBase(name, folder, found.recommended)


def _build(folder: Path, found: FoundBase, parts: Sequence[Part], loras: Sequence[Path]) -> None:
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        partial.mkdir(parents=True)
        shutil.copy(found.folder / "model_index.json", partial)
        replaced = {part.name: part.folder for part in parts}
        for own in found.folder.iterdir():
            if own.is_dir():
                (partial / own.name).symlink_to(replaced.get(own.name, own).resolve())
        if is_adapted(found.folder) and not any(found.folder.glob(f"*/{MARK}")):  # nothing says which part it is
            (partial / MARK).write_text("{}\n", encoding="utf-8")
        if loras:
            _fuse(partial, found, loras)
        partial.rename(folder)
    except OSError as error:
        if folder.exists():  # another process was faster
            return
        raise ConfigError(f"the base cannot be put together in {folder.parent}: {error}", "free space there") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fuse(partial: Path, found: FoundBase, loras: Sequence[Path]) -> None:
    with quiet():
        pipe = diffusers.DiffusionPipeline.from_pretrained(str(partial), use_safetensors=True, local_files_only=True)
        changed: set[str] = set()
        for path in loras:
            changed |= _add(pipe, path, found.name)
    for name in changed:
        marks = [mark for path in loras if (mark := read_lora_mark(path))]
        own = partial / name / MARK
        marks += [own.read_text(encoding="utf-8")] if own.is_file() else []
        (partial / name).unlink()
        with quiet():
            getattr(pipe, name).save_pretrained(str(partial / name), safe_serialization=True)
        if marks:
            own.write_text(marks[0], encoding="utf-8")


def _add(pipe: Pipeline, path: Path, base: str) -> set[str]:
    """Fuse one LoRA; the parts that it changed."""
    try:
        with safe_open(path, framework="pt") as file:
            given = [key for key in file.keys() if not key.endswith("alpha")]  # noqa: SIM118 - no mapping
        with _without_logs():
            pipe.load_lora_weights(str(path.parent), weight_name=path.name, use_safetensors=True, local_files_only=True)
    except (OSError, SafetensorError, ValueError, RuntimeError, KeyError, AttributeError, IndexError) as error:
        reason = _first_reason(str(error))
        raise UsageError(f"{path.name} does not go into {base} as a LoRA: {reason}", _OTHER_LORA) from error
    parts = set(pipe.get_list_adapters())
    used = sum("lora_" in key for part in parts for key in getattr(pipe, part).state_dict())
    if used < len(given) or not parts:
        pipe.unload_lora_weights()
        raise UsageError(
            f"{len(given) - used} of {len(given)} tensors of {path.name} fit nothing in {base}", _OTHER_LORA
        )
    pipe.fuse_lora(components=sorted(parts))
    pipe.unload_lora_weights()
    return parts


_OTHER_LORA = "use a LoRA that was made for this family of bases, in safetensors"


def _first_reason(text: str) -> str:
    if wrong := re.search(r"size mismatch for (\S+):.*?Size\(\[(.*?)\]\).*?Size\(\[(.*?)\]\)", text, re.S):
        return f"{wrong[1]} is {wrong[2].replace(', ', ' x ')} there and {wrong[3].replace(', ', ' x ')} here"
    return re.sub(r"\s+", " ", text)[:200]


@contextmanager
def _without_logs() -> Iterator[None]:
    """diffusers logs a page about each tensor that does not fit, and then raises it all the same."""
    logger = logging.getLogger("diffusers")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _find_lora(source: str) -> Path:
    """The one safetensors file of a LoRA: itself, in a folder, or in a repository of the Hub."""
    path = Path(source)
    if path.is_file():
        if path.suffix != ".safetensors":
            raise UsageError(f"{path.name} is not in safetensors", "pickled LoRAs are not opened")
        return path.resolve()
    if not path.is_dir():
        path = download_part(source, ("*.json", "*.safetensors"))
    if (path / _WEIGHT_NAME).is_file():
        return (path / _WEIGHT_NAME).resolve()
    files = sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        raise UsageError(f"{source} holds {len(files)} safetensors files", "name the file of the LoRA")
    return files[0].resolve()


def _key(names: Sequence[str], sources: Sequence[Path]) -> str:
    """A hash of what goes in: every file's path, size and time of change."""
    told: list[Any] = [diffusers.__version__, *names]
    for source in sources:
        files = (
            [source] if source.is_file() else sorted(Path(at, name) for at, _, all_ in os.walk(source) for name in all_)
        )
        told += [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
