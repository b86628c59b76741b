"""Folders as real checkpoints come: weights in several files with an index, and in half precision. All are one base."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from embhub.artifact import fingerprint
from embhub.diffusion.bases import live_fingerprint as live_base
from embhub.diffusion.bases.pipelines import load_pipeline
from tests.support import families, newer_families
from tests.support.quick import others_thorough, quick

OLDER = ["sdxl", "sd3", "sd35", "flux"]
NEWER = ["pixart", "sana", "zimage", "qwen-image", "klein"]
EACH = list(itertools.product([*OLDER, *NEWER], [torch.float32, torch.float16, torch.bfloat16]))
FEW = [("zimage", torch.bfloat16)]


@pytest.mark.parametrize(("kind", "dtype"), quick(FEW, thorough=[pair for pair in EACH if pair not in FEW]))
def test_weights_in_several_files_and_any_precision_are_one_base(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    whole = families.write(tmp_path / "whole", kind)
    split = tmp_path / "split"
    families.build(kind).to(dtype).save_pretrained(split, max_shard_size="60KB" if kind in OLDER else "5KB")
    assert list(split.glob("text_encoder*/*.index.json")) and list(split.glob("text_encoder*/*-of-*.safetensors"))
    expected = fingerprint.take(whole)
    assert fingerprint.compare(expected, fingerprint.take(split)).level == "exact"
    assert fingerprint.compare(expected, live_base.take(load_pipeline(split, device="cpu"))).level == "exact"


@pytest.mark.parametrize(
    "kind",
    others_thorough(["sd1", "bert", *OLDER, *NEWER], ("sd1", "sdxl", "sd3", "zimage")),
)
def test_the_fingerprint_names_every_encoder(tmp_path: Path, kind: str) -> None:
    taken = fingerprint.take(families.write(tmp_path / kind, kind))
    widths = {name: encoder["dim"] for name, encoder in taken["encoders"].items()}
    clip_l, clip_g, t5 = families.CLIP_L, families.CLIP_G, families.T5
    assert (
        widths
        == {
            "sd1": {"text_encoder": clip_l},
            "bert": {"text_encoder": clip_l},
            "sdxl": {"text_encoder": clip_l, "text_encoder_2": clip_g},
            "sd3": {"text_encoder": clip_l, "text_encoder_2": clip_g, "text_encoder_3": t5},
            "sd35": {"text_encoder": clip_l, "text_encoder_2": clip_g, "text_encoder_3": t5},
            "flux": {"text_encoder": clip_l, "text_encoder_2": t5},
            "pixart": {"text_encoder": t5},
            "sana": {"text_encoder": newer_families.GEMMA},
            **{kind: {"text_encoder": newer_families.QWEN} for kind in ("zimage", "qwen-image", "klein")},
        }[kind]
    )
    assert taken["prediction_type"] == ("epsilon" if kind in ("sd1", "bert", "sdxl", "pixart") else "flow")
    assert fingerprint.digest(taken) == fingerprint.digest(live_base.take(load_pipeline(tmp_path / kind, device="cpu")))
