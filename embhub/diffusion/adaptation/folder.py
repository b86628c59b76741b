"""What an adaptation leaves, whole or not at all: a pipeline folder in diffusers' format, or LoRA weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from embhub import destinations
from embhub.diffusion.adaptation.components import LORA_FILE, save_lora
from embhub.diffusion.adaptation.naming import check_name
from embhub.diffusion.bases.adapted import MARK, Adaptation, base_facts, mark_lora, render_card
from embhub.diffusion.bases.found import FoundBase, quiet
from embhub.diffusion.families import detect, resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.durable import sync
from embhub.errors import ConfigError, UsageError

_PICKLES = ("*.bin", "*.bin.*", "*.ckpt", "*.pt", "*.pth", "*.pkl", "*.msgpack", "*.onnx", "*.onnx_data", "*.h5")


def check_place(out: Path, overwrite: bool, found: FoundBase) -> None:
    """Refuse a folder that cannot be written, or has no room for the base, before hours are spent.

    Its last name becomes the base's, which every embedding learned on it publishes.

    Raises:
        UsageError: it is there and `overwrite` is off, it is the base itself, or no folder that this wrote; a name that
            cannot be published, or is a built-in base's.
        PrivacyError: a name that looks like a person's.
        ConfigError: it cannot be made or written, or the disk has no room.
    """
    check_name(out, overwrite=overwrite, base=found.folder)
    if out.exists() and not (out / MARK).is_file():
        raise UsageError(f"{out} was not written by `embhub base train-component`", "choose another folder")
    size = sum(path.stat().st_size for path in _files(found.folder))
    room = shutil.disk_usage(destinations.nearest(out)).free
    if room < size:
        raise ConfigError(
            f"{out} needs {size // 10**6 + 1} MB or more, and {room // 10**6} MB are free", "choose another disk"
        )


def write_base(out: Path, pipe: Pipeline, found: FoundBase, modules: Mapping[str, nn.Module], done: Adaptation) -> None:
    """Write the base with its changed parts, or the LoRA alone; `out` appears whole, in one rename.

    Raises:
        ConfigError: the disk is full or cannot be written; what was there before stays.
    """
    partial = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if done.lora_rank:
            save_lora(pipe, modules, partial)
            mark_lora(partial / LORA_FILE, done.to_json())
        else:
            _write_parts(partial, found.folder, modules, done)
            facts = base_facts(out.name, found, resolution(pipe), detect(pipe).name, done)
            (partial / "base.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (partial / MARK).write_text(done.to_json(), encoding="utf-8")
        (partial / "README.md").write_text(render_card(out.name, found, done), encoding="utf-8")
        for path in (*_files(partial), partial):
            sync(path)
        _exchange(partial, out)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ConfigError(
            f"{out} cannot be written: {error}", "free space and pass --resume to resume from the last checkpoint"
        ) from error


def _write_parts(partial: Path, base: Path, modules: Mapping[str, nn.Module], done: Adaptation) -> None:
    index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    shutil.copy(base / "model_index.json", partial)
    for name in index:
        if name in modules:
            module: Any = modules[name]
            with quiet():
                module.save_pretrained(str(partial / name), safe_serialization=True)
            (partial / name / MARK).write_text(done.to_json(), encoding="utf-8")
        elif (base / name).is_dir():
            shutil.copytree(base / name, partial / name, ignore=shutil.ignore_patterns(*_PICKLES))


def _exchange(partial: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.replace(old)
    partial.replace(out)
    sync(out.absolute().parent)
    shutil.rmtree(old, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]
