"""The bases: what ships loads in stock diffusers and draws; how captions are read; whose films are in which part."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import save_file

from bases.workshop import card, xray
from bases.workshop.public_images import SETS, rows_seen
from embhub import builtin_bases as base
from embhub.diffusion.adaptation.base_training import text_encoder
from embhub.diffusion.adaptation.base_training.captions import Caption
from embhub.errors import EmbhubError, UsageError
from tests.support.tools import DATA, needs_films


@pytest.fixture(scope="module", params=base.NAMES)
def shipped(request: pytest.FixtureRequest) -> base.BaseInfo:
    return base.info(request.param)


@pytest.fixture(scope="module")
def pipe(shipped: base.BaseInfo) -> Any:
    loaded = StableDiffusionPipeline.from_pretrained(str(shipped.path), use_safetensors=True, local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_a_base_is_small_and_half_precision(shipped: base.BaseInfo) -> None:
    assert sum(path.stat().st_size for path in shipped.path.rglob("*") if path.is_file()) <= 16_000_000
    weights = list(shipped.path.rglob("*.safetensors"))
    assert len(weights) == 3
    for path in weights:
        with safe_open(path, "pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} <= {"F16", "I64"}  # noqa: SIM118  # a safetensors file is no mapping
    assert not [path for path in shipped.path.rglob("*") if path.suffix in {".bin", ".pt", ".ckpt", ".pkl"}]


def test_a_base_draws(pipe: Any, shipped: base.BaseInfo) -> None:
    for prompt in list(shipped.prompts.values())[:2]:
        image = np.asarray(pipe(prompt, num_inference_steps=4, output_type="np").images[0])
        assert image.shape == (shipped.resolution, shipped.resolution, 3)
        assert np.isfinite(image).all()
        assert image.std() > 0.02


def test_a_base_takes_an_embedding(pipe: Any, tmp_path: Path) -> None:
    save_file({"emb_params": torch.randn(8, 128)}, tmp_path / "one.safetensors")
    pipe.load_textual_inversion(str(tmp_path / "one.safetensors"), token="<tested>")
    prompt = pipe.maybe_convert_prompt("axial t2 prostate mri with <tested> in the lower left", pipe.tokenizer)
    assert len(pipe.tokenizer(prompt).input_ids) <= pipe.tokenizer.model_max_length
    image = np.asarray(pipe(prompt, num_inference_steps=2, output_type="np").images[0])
    assert np.isfinite(image).all()


def test_facts_say_what_was_left_out_and_who_to_thank() -> None:
    assert base.info("builtin").left_out == ("prostate-cspca", "cxr-effusion")
    xrays = base.info("builtin-xray")
    assert xrays.left_out == ("bacterial pneumonia", "viral pneumonia")
    assert xrays.licence == "CC-BY-4.0"
    text = (xrays.path / "README.md").read_text(encoding="utf-8")
    for words in ("Kermany", "doi:10.17632/rscbjbr9sj.2", "CC BY 4.0", "resized", "does not cover the base"):
        assert words in " ".join(text.split())


def test_a_card_is_what_its_figures_make_it(shipped: base.BaseInfo) -> None:
    assert shipped.figures
    assert (shipped.path / "README.md").read_text(encoding="utf-8") == card.render(shipped)


def test_names_resolve_to_packaged_folders_and_paths_stay(tmp_path: Path) -> None:
    assert base.resolve("builtin") == base.info("builtin").path
    assert base.resolve(str(tmp_path)) == tmp_path
    assert base.resolve("someone/some-base") is None
    with pytest.raises(UsageError):
        base.info(tmp_path)


def test_accessors_need_no_torch() -> None:
    code = "import sys\nfrom embhub.builtin_bases import info\ninfo('builtin')\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_captions_read_as_the_pipeline_reads_them(tmp_path: Path) -> None:
    tokenizer = text_encoder.make_tokenizer(tmp_path, ["prostate mri with dark oval in lower left"] * 9)
    encoder = text_encoder.make_encoder(tokenizer, 0)
    encode = text_encoder.CaptionEncoder(tokenizer, encoder)
    spoken = Caption("prostate mri with", ("dark oval in lower left",))
    ids = tokenizer(spoken.text, padding="max_length", max_length=text_encoder.LENGTH, return_tensors="pt").input_ids
    assert torch.allclose(encode([spoken])[0], encoder(ids)[0][0], atol=1e-5)
    other = Caption("prostate mri with", ("dark oval in upper left",))
    change = (encode([spoken]) - encode([other])).std() / encode([spoken]).std()
    assert change > 0.1  # a trained encoder had collapsed to a fiftieth of this


def test_merges_make_one_piece_of_a_word_and_break_ties_by_spelling() -> None:
    texts = ["chest heart", "heart chest", "lung"]
    merges = text_encoder.learn_merges(texts)
    assert merges == text_encoder.learn_merges(texts[::-1])
    whole = {"".join(pair) for pair in merges}
    assert {"chest</w>", "heart</w>"} <= whole
    assert "lung</w>" not in whole  # it occurs once


def test_what_is_learned_is_how_clip_reads(tmp_path: Path) -> None:
    texts = ["prostate mri with dark oval in lower left", "chest x-ray, bright ring", "hystology"] * 2
    tokenizer = text_encoder.make_tokenizer(tmp_path, texts)
    for word in ("prostate", "chest", "oval", "lower", "ring"):
        assert tokenizer.tokenize(word) == [f"{word}</w>"]


def test_the_split_is_by_patient_and_as_documented() -> None:
    parts = xray.split()
    assert set(parts.values()) == set(xray.PARTS)
    ids, made = sorted(parts), dict[str, str]()
    random.Random(0).shuffle(ids)
    for sick in (True, False):  # the source's two series of ids, shared out apart
        series = [one for one in ids if one.startswith("person") is sick]
        for index, one in enumerate(series):
            place = (index + 0.5) / len(series)
            shares = zip(xray.PARTS, (0.45, 0.70, 0.85, 1.0), strict=True)
            made[one] = next(part for part, share in shares if place < share)
    assert parts == made


@pytest.mark.thorough
@needs_films
def test_parts_share_no_patient() -> None:
    patients = [set(xray.read(DATA, part).patients) for part in ("judge", "test")]
    assert not patients[0] & patients[1]


@pytest.mark.thorough
@needs_films
def test_two_hospitals_share_no_patient() -> None:
    first, second = xray.hospital(DATA, xray.LEFT_OUT, 100), xray.other_hospital(DATA, xray.LEFT_OUT, 100)
    assert len(first.patients) == 100
    assert not set(first.patients) & set(second.patients)
    assert (second.labels == xray.LABELS.index(xray.LEFT_OUT)).sum() >= 20
    assert not set(first.patients) & set(xray.read(DATA, "test").patients)
    seen = {row["patient_id"] for _, row in rows_seen(DATA, SETS["builtin-xray"])}
    assert not seen & {*first.patients, *second.patients}


def test_xrays_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(EmbhubError, match="chest-xray"):
        xray.read(tmp_path, "base")
