"""The artifact: same input same bytes, readable by the loaders people use, refused where it says too much."""

from __future__ import annotations

import hashlib
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from embhub.artifact import embedding
from embhub.artifact.embedding import BadLayoutError
from embhub.errors import ArtifactError, UsageError
from embhub.formats import tensors
from embhub.formats.tensors import (
    BadTensorShapeError,
    BadTensorTypeError,
    FileTooLargeError,
    NotFiniteError,
    PickleFileError,
)
from tests.support import pipelines

ROWS = np.linspace(-2, 2, 8 * 16).reshape(8, 16)
FACTS = {"steps": 200, "learning_rate": 0.03, "caption": "axial t2 prostate mri, {}", "resolution": 64}


def build(names: tuple[str, ...] = ("emb_params",), **changes: Any) -> embedding.Embedding:
    arguments: dict[str, Any] = {"token": "<cspca>", "base": None, "base_name": "builtin", "training": FACTS} | changes
    return embedding.build(dict.fromkeys(names, ROWS), **arguments)


def test_the_same_input_gives_the_same_file() -> None:
    first, second = build(), build(training=dict(reversed(FACTS.items())))
    assert first.data == second.data
    assert first.digest == hashlib.sha256(first.data).hexdigest()
    assert build(token="<other>").digest != first.digest


def test_it_says_what_it_is() -> None:
    built = build()
    assert (built.token, built.layout, built.base_name, built.privacy, built.base) == (
        "<cspca>", "sd", "builtin", "none", None
    )  # fmt: skip
    assert built.training == FACTS
    assert built.vectors == (embedding.Vectors("text_encoder", 8, 16, "float16"),)
    np.testing.assert_allclose(built.tensors["emb_params"], ROWS, atol=2e-3)


def test_the_header_follows_modelspec(tmp_path: Path) -> None:
    """Keys and forms of Stability ModelSpec 1.0.1; the hash is over the numbers, with 0x before it."""
    path = tmp_path / "x.safetensors"
    built = build()
    path.write_bytes(built.data)
    with safe_open(path, "np") as file:
        header = file.metadata()
        numbers = file.get_tensor("emb_params").tobytes()
    assert header["modelspec.sai_model_spec"] == "1.0.1"
    assert header["modelspec.architecture"] == "stable-diffusion-width-16/textual-inversion"
    assert header["modelspec.trigger_phrase"] == "<cspca>"
    assert header["modelspec.resolution"] == "64x64"
    assert header["modelspec.hash_sha256"] == "0x" + hashlib.sha256(numbers).hexdigest()


@pytest.mark.parametrize(
    ("width", "prediction", "architecture"),
    [
        (768, "epsilon", "stable-diffusion-v1"),
        (1024, "epsilon", "stable-diffusion-v2-512"),
        (1024, "v_prediction", "stable-diffusion-v2-768-v"),
    ],
)
def test_known_bases_are_named_as_modelspec_names_them(width: int, prediction: str, architecture: str) -> None:
    base = {
        "schema": "embhub.base/1",
        "prediction_type": prediction,
        "encoders": {
            "text_encoder": {
                "kind": "clip",
                "dim": width,
                "vocabulary": "0a",
                "table": [1.0],
                "deep": [1.0],
                "body": {"matrices": [1.0]},
            }
        },
        "denoiser": {"tensors": "0b", "probe": [1.0], "body": {"matrices": [1.0]}},
    }
    rows = {"emb_params": np.zeros((1, width))}
    built = embedding.build(rows, token="<a>", base=base, base_name="owner/name", training={})
    assert built.metadata["modelspec.architecture"] == f"{architecture}/textual-inversion"
    assert built.base == base
    assert built.metadata["modelspec.prediction_type"] == prediction.removesuffix("_prediction")


@pytest.mark.parametrize(
    ("names", "layout", "encoders"),
    [
        (("emb_params",), "sd", ["text_encoder"]),
        (("clip_l", "clip_g"), "sdxl", ["text_encoder", "text_encoder_2"]),
        (("clip_l", "clip_g", "t5xxl"), "sd3", ["text_encoder", "text_encoder_2", "text_encoder_3"]),
        (("clip_l", "clip_g", "t5"), "sd3", ["text_encoder", "text_encoder_2", "text_encoder_3"]),
        (("clip_l", "t5xxl"), "flux", ["text_encoder", "text_encoder_2"]),
        (("t5xxl",), "t5", ["text_encoder"]),
        (("clip_g",), "kandinsky22-prior", ["text_encoder"]),
        (("layer_00", "layer_01"), "sd-per-layer", ["text_encoder", "text_encoder"]),
    ],
)
def test_each_layout_names_the_encoders_it_extends(names: tuple[str, ...], layout: str, encoders: list[str]) -> None:
    built = build(names)
    assert (built.layout, [item.encoder for item in built.vectors]) == (layout, encoders)


@pytest.mark.parametrize(
    "names", [("<cxr>",), ("emb_params", "extra"), ("clip_g", "t5"), ("t5", "t5xxl"), ("string_to_param",)]
)
def test_other_tensor_names_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(BadLayoutError):
        build(names)


def test_diffusers_loads_the_file(tmp_path: Path) -> None:
    built = embedding.build(
        {"emb_params": np.random.default_rng(0).normal(size=(3, pipelines.WIDTH))},
        token="<cspca>", base=None, base_name="builtin", training={},
    )  # fmt: skip
    (tmp_path / "learned_embeds.safetensors").write_bytes(built.data)
    pipe = pipelines.build()
    pipe.load_textual_inversion(str(tmp_path), token=built.token, use_safetensors=True)
    table = pipe.text_encoder.get_input_embeddings().weight.detach().numpy()
    numbers = pipe.tokenizer.convert_tokens_to_ids(["<cspca>", "<cspca>_1", "<cspca>_2"])
    np.testing.assert_array_equal(table[numbers], built.tensors["emb_params"].astype(np.float32))
    assert pipe.maybe_convert_prompt("a <cspca>", pipe.tokenizer) == "a <cspca> <cspca>_1 <cspca>_2"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"tensors": {"emb_params": ROWS * np.nan}}, NotFiniteError),
        ({"tensors": {"emb_params": ROWS * 1e6}}, NotFiniteError),
        ({"tensors": {"emb_params": ROWS[0]}}, BadTensorShapeError),
        ({"tensors": {"emb_params": np.zeros((65, 4))}}, BadTensorShapeError),
        ({"tensors": {"emb_params": np.zeros((64, 8192))}}, FileTooLargeError),
        ({"tensors": {}}, BadLayoutError),
        ({"dtype": "int8"}, BadTensorTypeError),
    ],
)
def test_what_would_not_be_read_is_not_written(change: dict[str, Any], error: type[ArtifactError]) -> None:
    arguments: dict[str, Any] = {
        "tensors": {"emb_params": ROWS},
        "token": "<a>",
        "base": None,
        "base_name": "b",
        "training": {},
    }
    arguments |= change
    with pytest.raises(error):
        embedding.build(arguments.pop("tensors"), **arguments)


def test_values_too_large_for_float16_fit_in_float32() -> None:
    built = embedding.build(
        {"emb_params": ROWS * 1e6}, token="<a>", base=None, base_name="b", training={}, dtype="float32"
    )
    assert built.vectors[0].dtype == "float32"


@given(st.data())
def test_one_changed_byte_is_refused_or_changes_the_digest(data: st.DataObject) -> None:
    sound = build().data
    changed = bytearray(sound)
    changed[data.draw(st.integers(0, len(sound) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        parsed = embedding.parse(bytes(changed))
    except ArtifactError:
        return
    assert parsed.digest != hashlib.sha256(sound).hexdigest()


def test_a_file_of_another_program_is_named_as_such() -> None:
    with pytest.raises(ArtifactError) as caught:
        embedding.parse(safetensors.numpy.save({"emb_params": ROWS.astype("float32")}))
    assert "embhub import" in caught.value.hint


def test_a_two_gigabyte_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as stream:
        stream.truncate(2 * 1024**3)
    tracemalloc.start()
    try:
        with pytest.raises(FileTooLargeError, match="2,147,483,648 bytes"):
            embedding.read(path)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_a_pickle_under_a_safetensors_name_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(pickle.dumps({"a": "b" * 2_000_000}))
    with pytest.raises(PickleFileError):
        embedding.read(path)


def test_what_is_no_file_is_a_usage_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UsageError):
            embedding.read(path)


def test_reading_and_writing_round_trip(tmp_path: Path) -> None:
    built = build()
    (tmp_path / "x.safetensors").write_bytes(built.data)
    assert embedding.read(tmp_path / "x.safetensors").data == built.data
    assert tensors.parse(built.data).metadata == built.metadata
