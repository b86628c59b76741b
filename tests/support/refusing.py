"""Commands that must fail, and how: for the tests of what people hand in by mistake or in bad faith."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.releases import make_embedding

USAGE, ARTIFACT, VERIFICATION, REGISTRY, PRIVACY, CONFIG = 2, 3, 4, 5, 6, 7
Refused = Callable[..., str]


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    def look(path: Path) -> tuple[int, bytes]:
        with path.open("rb") as stream:
            return path.stat().st_size, stream.read(2_000_000)

    return {str(path): look(path) for path in sorted(folder.rglob("*")) if path.is_file()}


TRAIN = (
    "--token", "<cspca>", "--caption", "axial t2 mri, {}", "--base", "builtin", "--steps", "2",
    "--out", "out.safetensors",
)  # fmt: skip


def draw(path: Path, *, seed: int = 0, size: tuple[int, int] = (64, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _file(header: bytes, body: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def _edit(change: Callable[[dict[str, Any]], object], body: Callable[[bytes], bytes] = lambda b: b) -> bytes:
    data = make_embedding().data
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header)
    return _file(json.dumps(header).encode(), body(data[8 + length :]))


def _rows(header: dict[str, Any]) -> dict[str, Any]:
    rows: dict[str, Any] = header["emb_params"]
    return rows


def _numbers(value: float) -> bytes:
    rows = np.full((8, 32), 0.1, dtype=np.float16)
    rows[3, 3] = value
    return _edit(lambda header: None, lambda _: rows.tobytes())


MALFORMED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"<html>not found</html>",
    "cut": lambda: make_embedding().data[:-1],
    "trailing bytes": lambda: make_embedding().data + b"x",
    "a gap between header and data": lambda: _edit(
        lambda h: _rows(h).update(data_offsets=[2, 514]), lambda b: b"xx" + b
    ),
    "offsets out of range": lambda: _edit(lambda h: _rows(h).update(data_offsets=[0, 10**12])),
    "offsets backwards": lambda: _edit(lambda h: _rows(h).update(data_offsets=[512, 0])),
    "overlapping tensors": lambda: _edit(lambda h: h.update(other=dict(_rows(h)))),
    "a name twice": lambda: (
        lambda d: _file(b'{"emb_params":{},' + d[9 : 8 + struct.unpack("<Q", d[:8])[0]], d[-512:])
    )(make_embedding().data),
    "a huge header": lambda: struct.pack("<Q", 2**62) + b"{}",
    "a header of half a megabyte": lambda: _edit(lambda h: h["__metadata__"].update(x="y" * 500_000)),
    "a wrong dtype": lambda: _edit(lambda h: _rows(h).update(dtype="I16")),
    "not a number": lambda: _numbers(np.nan),
    "infinity": lambda: _numbers(np.inf),
    "oversized": lambda: make_embedding().data + b"\0" * 1_000_000,
    "a pickle": lambda: pickle.dumps({"string_to_param": [1, 2, 3]}, protocol=2),
    "a zipped pickle": lambda: b"PK\x03\x04" + b"\0" * 100,
    "an unknown layout": lambda: _edit(lambda h: h.update(weights=h.pop("emb_params"))),
    "no header of ours": lambda: _edit(lambda h: h.pop("__metadata__")),
}
