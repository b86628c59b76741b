"""Graphs of a built-in base for onnxruntime-web: what a page of the registry computes images with.

    python -m bases.workshop.browser_graphs builtin OUT

writes `text_encoder.onnx`, `unet.onnx`, `vae_decoder.onnx` and `sampling.json`. It needs `onnx` and `onnxscript`. The
graphs hold no weights of their own: they name tensors of the base's safetensors files by their place in them, so that
a page loads the weights that the base ships.
"""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embhub.artifact import fingerprint
from embhub.builtin_bases import BaseInfo, info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.phantoms.findings import PREFIXES

WEIGHTS = {
    "text_encoder": "text_encoder/model.safetensors",
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae_decoder": "vae/diffusion_pytorch_model.safetensors",
}
SMALLEST = 64
"""Values. A smaller tensor stays in the graph."""


class _Text(torch.nn.Module):
    """From rows of the token table, (n, length, d), to what the denoiser reads."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        length = rows.shape[1]
        state = rows + self.encoder.embeddings.position_embedding.weight[:length][None]
        causal = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)[None, None]
        for layer in self.encoder.encoder.layers:
            state = layer(state, causal)
        normed: torch.Tensor = self.encoder.final_layer_norm(state)
        return normed


class _Denoiser(torch.nn.Module):
    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        predicted: torch.Tensor = self.unet(latents, time, encoder_hidden_states=text, return_dict=False)[0]
        return predicted


class _Decoder(torch.nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        scaled = latents / self.vae.config.scaling_factor
        images: torch.Tensor = self.vae.decode(scaled, return_dict=False)[0]
        return images


def write(name: str, out: Path) -> None:
    """Write the graphs of a built-in base, and how to sample with them."""
    out.mkdir(parents=True, exist_ok=True)
    base = info(name)
    pipe: Any = load_pipeline(base.path)
    length, width = pipe.tokenizer.model_max_length, pipe.text_encoder.config.hidden_size
    shape = (2, pipe.unet.config.in_channels, pipe.unet.config.sample_size, pipe.unet.config.sample_size)
    rows, latents, times = torch.randn(2, length, width), torch.randn(shape), torch.full((2,), 500.0)
    for part, (model, given) in {
        "text_encoder": (_Text(pipe.text_encoder), (rows,)),
        "unet": (_Denoiser(pipe.unet), (latents, times, rows)),
        "vae_decoder": (_Decoder(pipe.vae), (latents,)),
    }.items():
        _export(model.eval(), given, out / f"{part}.onnx", weights=base.path / WEIGHTS[part])
    (out / "sampling.json").write_text(json.dumps(_settings(base, pipe), indent=1) + "\n", encoding="utf-8")


def _export(model: torch.nn.Module, given: tuple[torch.Tensor, ...], path: Path, *, weights: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad():
        made: Any = torch.onnx.export(model, given, dynamo=True, dynamic_shapes=tuple({0: batch} for _ in given))
    graph = made.model_proto
    _point_to_weights(graph, _read(weights))
    path.write_bytes(graph.SerializeToString())


@dataclass(frozen=True)
class _Stored:
    """A tensor of a safetensors file: its values, and where their bytes are in that file."""

    values: Any
    offset: int
    length: int


def _read(path: Path) -> list[_Stored]:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    stored = []
    for name, facts in header.items():
        if name == "__metadata__" or facts["dtype"] != "F16":
            continue
        first, last = facts["data_offsets"]
        values = np.frombuffer(data, np.float16, (last - first) // 2, 8 + size + first).reshape(facts["shape"])
        stored.append(_Stored(values, 8 + size + first, last - first))
    return stored


def _point_to_weights(model: Any, stored: list[_Stored]) -> None:
    """Replace every tensor of the graph that the file holds, as it is or transposed, by its place in the file."""
    from onnx import TensorProto, helper, numpy_helper

    added = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST:
            continue
        found, turned = _find(values, stored)
        if found is None:
            continue
        name, shape = tensor.name, values.T.shape if turned else values.shape
        half = TensorProto(name=f"{name}.stored", data_type=TensorProto.FLOAT16, dims=shape)
        half.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "weights", "offset": found.offset, "length": found.length}.items():
            half.external_data.add(key=key, value=str(value))
        added.append(helper.make_node("Cast", [half.name], [f"{name}.read" if turned else name], to=TensorProto.FLOAT))
        if turned:
            added.append(helper.make_node("Transpose", [f"{name}.read"], [name]))
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(half)
    nodes = [*added, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for node in model.graph.node:
        del node.metadata_props[:]  # where in the source it came from, with paths of this machine
        node.doc_string = ""
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]


def _find(values: Any, stored: list[_Stored]) -> tuple[_Stored | None, bool]:
    for one in stored:
        if one.values.size != values.size:
            continue
        if one.values.shape == values.shape and np.array_equal(one.values, values):
            return one, False
        if values.ndim == 2 and one.values.ndim == 2 and np.array_equal(one.values.T, values):
            return one, True
    return None, False


def _settings(base: BaseInfo, pipe: Any) -> dict[str, Any]:
    """What the page has to know besides the graphs. Token ids are those of the base's tokenizer."""
    ids = pipe.tokenizer("").input_ids
    return {
        "base": base.name,
        "fingerprint": fingerprint.digest(fingerprint.take(base.path)),
        "side": base.resolution,
        "latents": [pipe.unet.config.in_channels, pipe.unet.config.sample_size, pipe.unet.config.sample_size],
        "guidance": base.recommended["guidance"],
        "length": pipe.tokenizer.model_max_length,
        "width": pipe.text_encoder.config.hidden_size,
        "start": ids[0],
        "end": ids[-1],
        "table": _place(base.path / WEIGHTS["text_encoder"], pipe.text_encoder),
        "prompts": [_prompt(pipe, text) for text in _prompts(base)],
        "steps": coefficients(pipe.scheduler, int(base.recommended["steps"])),
    }


def _prompts(base: BaseInfo) -> list[str]:
    """What embeddings of the base stand in: the beginnings that its prompts have."""
    known = [f"{prefix}, " for prefixes in PREFIXES.values() for prefix in prefixes]
    starts = [start for start in known if any(text.startswith(start) for text in base.prompts.values())]
    starts += [text.removesuffix("normal") for text in base.prompts.values() if text.endswith(", normal")]
    return [f"{start}{{}}" for start in dict.fromkeys(starts)]


def _prompt(pipe: Any, text: str) -> dict[str, Any]:
    before = pipe.tokenizer(text.replace("{}", "")).input_ids[1:-1]
    return {"text": text, "before": before}


def _place(path: Path, encoder: Any) -> dict[str, Any]:
    table = encoder.get_input_embeddings().weight.detach().numpy()
    found, _ = _find(table, _read(path))
    if found is None:
        raise ValueError(f"{path} holds no token table in half precision")
    return {"offset": found.offset, "rows": table.shape[0]}


def coefficients(scheduler: Any, steps: int) -> list[dict[str, float]]:
    """Each step of a second-order multistep sampler as sums.

    With latents x and prediction v, the clean latents are `clean_x` x + `clean_v` v, and the next latents are `x` x +
    `v` v + `before` times the clean latents of the step before. They are read off the scheduler by giving it unit
    vectors.
    """
    scheduler.set_timesteps(steps)
    units = torch.eye(3, dtype=torch.float64)
    found = []
    for time in scheduler.timesteps:
        if scheduler.model_outputs[-1] is not None:
            scheduler.model_outputs[-1] = units[2]
        if scheduler.step_index is None:
            scheduler._init_step_index(time)
        clean = scheduler.convert_model_output(units[1], sample=units[0])
        following = scheduler.step(units[1], time, units[0], return_dict=False)[0]
        names = {"clean_x": clean[0], "clean_v": clean[1], "x": following[0], "v": following[1], "before": following[2]}
        found.append({"time": float(time), **{name: float(value) for name, value in names.items()}})
    return found


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
