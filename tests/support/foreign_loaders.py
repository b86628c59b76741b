"""The rules by which other programs accept an embedding's file, restated from their sources to be tested against.

Each function takes a path, as the program does, and returns the rows that the program would use, or raises Refused
where it would refuse, skip or ignore the file. Nothing here imports embhub: these are other people's rules.

    AUTOMATIC1111   AUTOMATIC1111/stable-diffusion-webui @ 22ecb78b51f7 modules/textual_inversion/textual_inversion.py
                    and @ 05933840f067 modules/safe.py
    Forge           lllyasviel/stable-diffusion-webui-forge @ dfdcbab685e5 backend/text_processing/textual_inversion.py,
                    backend/text_processing/classic_engine.py, backend/diffusion_engine/*.py, modules/safe.py
    ComfyUI         comfyanonymous/ComfyUI @ b55c22476544 comfy/sd1_clip.py, @ 0c853f330c16 comfy/text_encoders/flux.py
    InvokeAI        invoke-ai/InvokeAI @ 8e71a8a51939 invokeai/backend/model_manager/configs/textual_inversion.py,
                    invokeai/backend/textual_inversion.py
    sd-scripts      kohya-ss/sd-scripts @ 48d368fa5577 train_textual_inversion.py, sdxl_train_textual_inversion.py
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

Rows = Mapping[str, torch.Tensor]


class Refused(Exception):
    """The program would not use the file; says why."""


WEBUI_WIDTHS = {"sd1": 768, "sd2": 1024, "sdxl": 2048, "sd3": 768, "flux": 768}
"""The width that a file must have in all, or be skipped. Those of SD 3 and FLUX are Forge's, for CLIP-L: its engine for
T5 reads no embeddings."""
COMFY_KEYS = {
    "sd1": {"clip_l": 768},
    "sd2": {"clip_l": 1024},
    "sdxl": {"clip_l": 768, "clip_g": 1280},
    "sd3": {"clip_l": 768, "clip_g": 1280, "t5xxl": 4096},
    "flux": {"clip_l": 768, "t5xxl": 4096},
}
"""Keys that each of its tokenizers asks for, and the width of its encoder. That of SD 2 asks for SD 1's key."""


def a1111(path: Path, base: str) -> Rows:
    """modules/safe.py looks at a pickle first; then one table, or clip_l and clip_g; then the width."""
    return _webui(path, base, members=r"([^/]+)/((data/\d+)|version|(data\.pkl))")


def forge(path: Path, base: str) -> Rows:
    """The same rules; its modules/safe.py lets two more members of the archive pass."""
    return _webui(path, base, members=r"([^/]+)/((data/\d+)|version|byteorder|.data/serialization_id|(data\.pkl))")


def _webui(path: Path, base: str, *, members: str) -> Rows:
    if path.suffix.upper() in (".BIN", ".PT"):
        _check_pickle(path, members)
        data = torch.load(path, map_location="cpu", weights_only=True)
    elif path.suffix.upper() == ".SAFETENSORS":
        data = load_file(path)
    else:
        raise Refused("another ending: not looked at")
    rows: Rows
    if "string_to_param" in data:
        _refuse_unless(len(data["string_to_param"]) == 1, "multiple terms in it")
        rows = {"": next(iter(data["string_to_param"].values()))}
        width = rows[""].shape[-1]
    elif type(data) is dict and "clip_g" in data and "clip_l" in data:
        rows, width = data, data["clip_g"].shape[-1] + data["clip_l"].shape[-1]
    elif type(data) is dict and isinstance(next(iter(data.values()), None), torch.Tensor):
        _refuse_unless(len(data) == 1, "multiple terms in it")
        rows = {"": torch.atleast_2d(next(iter(data.values())))}
        width = rows[""].shape[-1]
    else:
        raise Refused("neither textual inversion embedding nor diffuser concept")
    _refuse_unless(width == WEBUI_WIDTHS[base], f"{width} wide: skipped for this checkpoint")
    return rows


def _check_pickle(path: Path, members: str) -> None:
    allowed = {
        ("collections", "OrderedDict"),
        *(("torch._utils", name) for name in ("_rebuild_tensor_v2", "_rebuild_parameter")),
        *(("torch", f"{kind}Storage") for kind in ("Float", "Half", "Int", "Long", "Double", "Byte", "BFloat16")),
    }
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                _refuse_unless(re.fullmatch(members, name) is not None, f"bad file inside: {name}")
            inner = [name for name in archive.namelist() if re.fullmatch(r"[^/]+/data\.pkl", name)]
            _refuse_unless(len(inner) == 1, "not one data.pkl")
            asked = {tuple(name.split(" ")) for name in _globals(archive.read(inner[0]))}
            _refuse_unless(asked <= allowed, f"forbidden: {asked - allowed}")


def _globals(data: bytes) -> set[str]:
    return {str(argument) for opcode, argument, _ in pickletools.genops(data) if opcode.name == "GLOBAL"}


def comfyui(path: Path, base: str) -> Rows:
    """load_embed for each tokenizer's key, then set_up_textual_embeddings, which ignores rows of another width."""
    used = {}
    for key, width in COMFY_KEYS[base].items():
        rows = torch.atleast_2d(comfyui_rows(path, key, width))
        _refuse_unless(rows.shape[1] == width, f"{rows.shape[1]} wide for {key}: ignored")
        used[key] = rows
    return used


def comfyui_rows(path: Path, key: str, width: int) -> torch.Tensor:
    """load_embed, of a file that was found, for a tokenizer that asks for this key."""
    data: Any
    if path.name.lower().endswith(".safetensors"):
        data = load_file(path)
    else:
        data = torch.load(path, map_location="cpu", weights_only=True)
    if "string_to_param" in data:
        return next(iter(data["string_to_param"].values()))
    if isinstance(data, list):
        parts = [part for item in data for part in item.values() if part.shape[-1] == width]
        return torch.cat([part.reshape(-1, width) for part in parts])
    if key in data:
        return data[key]
    bundles = ([v for k, v in data.items() if _bundled(k, end)] for end in (".string_to_param.*", f".{key}"))
    found = next((parts for parts in bundles if parts), None)
    return torch.cat(found) if found else next(iter(data.values()))


def _bundled(name: str, end: str) -> bool:
    return name.startswith("bundle_emb.") and name.endswith(end)


def invokeai(path: Path, base: str) -> Rows:
    """The model manager recognises the file and its base; then TextualInversionModelRaw.from_checkpoint reads it."""
    data = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    _refuse_unless(isinstance(data, dict), "no state dict")
    small = len(data) < 10 and all(isinstance(value, torch.Tensor) for value in data.values())
    _refuse_unless(bool({"string_to_param", "emb_params", "clip_g"} & set(data)) or small, "no embedding")
    if "string_to_token" in data:
        width = next(iter(data["string_to_param"].values())).shape[-1]
    elif "emb_params" in data or "clip_g" in data:
        width = data["emb_params" if "emb_params" in data else "clip_g"].shape[-1]
    else:
        width = next(iter(data.values())).shape[0]
    known = {768: "sd1", 1024: "sd2", 1280: "sdxl"}
    _refuse_unless(known.get(width) == base, f"token dimension {width}: {known.get(width, 'unrecognized')}")
    if "string_to_param" in data:
        return {"": next(iter(data["string_to_param"].values()))}
    if "emb_params" in data:
        return {"": data["emb_params"]}
    if "clip_g" in data and "clip_l" in data:
        return {"clip_g": data["clip_g"], "clip_l": data["clip_l"]}
    return {"": torch.atleast_2d(next(iter(data.values())))}


def kohya(path: Path, base: str) -> Rows:
    """load_weights of the trainer for SD, or for SDXL; there is none for SD 3 or FLUX."""
    data = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    if base == "sdxl":
        _refuse_unless("clip_l" in data and "clip_g" in data, "no weights for text encoder 1 or 2")
        return {"clip_l": data["clip_l"], "clip_g": data["clip_g"]}
    _refuse_unless(base in ("sd1", "sd2"), "no trainer of embeddings for this base")
    first = next(iter(OrderedDict(data.get("string_to_param", data)).values()))
    _refuse_unless(isinstance(first, torch.Tensor), "weight file does not contain a tensor")
    return {"": torch.atleast_2d(first)}


def _refuse_unless(fits: bool, reason: str) -> None:
    if not fits:
        raise Refused(reason)


LOADERS = {"a1111": a1111, "forge": forge, "comfyui": comfyui, "invokeai": invokeai, "kohya": kohya}
