"""Tiny pipelines of the real classes, saved by diffusers and transformers themselves."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import (
    BertConfig,
    BertModel,
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from embhub.artifact import fingerprint
from embhub.artifact.fingerprint import BadBaseError, BadFingerprintError
from embhub.artifact.tokenizer_files import BadTokenizerError, hash_vocabulary
from embhub.errors import ArtifactError
from embhub.formats.slices import BadWeightsError

WORDS = {word: number for number, word in enumerate(["[UNK]", "a", "b", "chest", "mri", "é", *map(str, range(90))])}


def _seeded(build: Callable[[], Any], seed: int) -> Any:
    torch.manual_seed(seed)
    return build()


def _clip(*, width: int = 32, seed: int = 0) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(WORDS), hidden_size=width, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4
    )
    return _seeded(lambda: CLIPTextModel(config), seed)


def _bert() -> BertModel:
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4
    )
    return _seeded(lambda: BertModel(config), 0)


def _t5() -> T5EncoderModel:
    config = T5Config(vocab_size=len(WORDS), d_model=32, d_kv=8, d_ff=40, num_layers=2, num_heads=4)
    return _seeded(lambda: T5EncoderModel(config), 0)


def _unet(*, width: int = 32, channels: tuple[int, int] = (32, 64), seed: int = 1) -> UNet2DConditionModel:
    return _seeded(
        lambda: UNet2DConditionModel(
            block_out_channels=channels,
            layers_per_block=1,
            sample_size=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=width,
            norm_num_groups=16,
            attention_head_dim=4,
        ),
        seed,
    )


def _save(
    folder: Path,
    *,
    encoder: Any = None,
    unet: Any = None,
    words: dict[str, int] = WORDS,
    prediction: str = "epsilon",
    dtype: torch.dtype = torch.float32,
) -> Path:
    (encoder or _clip()).to(dtype).save_pretrained(folder / "text_encoder")
    (unet or _unet()).to(dtype).save_pretrained(folder / "unet")
    DDPMScheduler(prediction_type=prediction).save_pretrained(folder / "scheduler")
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def taken(base: Path) -> dict[str, Any]:
    return fingerprint.take(base)


def test_it_is_small_and_the_same_each_time(base: Path, taken: dict[str, Any]) -> None:
    assert fingerprint.take(base) == taken
    assert len(json.dumps(taken)) < 3000
    assert len(fingerprint.digest(taken)) == 64
    assert fingerprint.compare(taken, taken).level == "exact"


def test_its_numbers_do_not_change_between_versions_of_embhub(tmp_path: Path) -> None:
    """Fixed weights, fixed numbers: another choice of rows or signs would orphan every published embedding."""
    folder = _save(tmp_path)
    rising = torch.arange(len(WORDS) * 32, dtype=torch.float32).reshape(len(WORDS), 32) / 1000
    path = folder / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    weights |= {key: rising for key in weights if key.endswith("token_embedding.weight")}
    save_file(weights, path)
    table = fingerprint.take(folder)["encoders"]["text_encoder"]["table"]
    assert table[:4] == [0.034, 0.098, 0.29, 0.546]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_copies_in_half_precision_match(tmp_path: Path, taken: dict[str, Any], dtype: torch.dtype) -> None:
    assert fingerprint.compare(taken, fingerprint.take(_save(tmp_path, dtype=dtype))).level == "exact"


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_fine_tuned_weights_keep_the_token_space(tmp_path: Path, taken: dict[str, Any], part: str) -> None:
    encoder, unet = _clip(), _unet()
    tuned = (
        unet
        if part == "unet"
        else encoder.get_submodule("encoder" if hasattr(encoder, "encoder") else "text_model.encoder")
    )
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in tuned.parameters():
            if weight.ndim > 1:
                weight.add_(0.05 * weight.std() * torch.randn_like(weight))
    match = fingerprint.compare(taken, fingerprint.take(_save(tmp_path, encoder=encoder, unet=unet)))
    assert match.level == "fine-tuned"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prediction": "v_prediction"}, "prediction type v_prediction instead of epsilon"),
        ({"encoder": _clip(width=48), "unet": _unet(width=48)}, "text_encoder is 48 wide instead of 32"),
        ({"words": {**WORDS, "chest": WORDS["mri"], "mri": WORDS["chest"]}}, "another vocabulary"),
        ({"encoder": _clip(seed=9)}, "another token table"),
        ({"unet": _unet(channels=(32, 96))}, "another architecture"),
        ({"unet": _unet(seed=7)}, "the weights of the denoiser are unrelated"),
    ],
)
def test_another_base_is_refused_with_the_reason(
    tmp_path: Path, taken: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    match = fingerprint.compare(taken, fingerprint.take(_save(tmp_path, **change)))
    assert match.level == "different"
    assert reason in match.reason


def test_an_encoder_that_the_base_lacks_is_named(taken: dict[str, Any]) -> None:
    two = copy.deepcopy(taken)
    two["encoders"]["text_encoder_2"] = two["encoders"]["text_encoder"]
    assert fingerprint.compare(two, taken).reason == "the base has no text_encoder_2"
    assert fingerprint.compare(taken, two).level == "exact"


@pytest.mark.parametrize("encoder", [_bert, _t5])
def test_other_encoders_are_known(tmp_path: Path, encoder: Callable[[], Any]) -> None:
    taken = fingerprint.take(_save(tmp_path, encoder=encoder()))
    assert taken["encoders"]["text_encoder"]["dim"] == 32
    fingerprint.check(taken)


def test_flow_matching_is_a_prediction_type_of_its_own(tmp_path: Path, base: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "flow")
    FlowMatchEulerDiscreteScheduler().save_pretrained(folder / "scheduler")
    assert fingerprint.take(folder)["prediction_type"] == "flow"


def test_shards_and_a_variant_read_like_one_file(tmp_path: Path, base: Path, taken: dict[str, Any]) -> None:
    folder = shutil.copytree(base, tmp_path / "sharded")
    whole = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = list(load_file(whole).items())
    whole.unlink()
    half = len(weights) // 2
    for number, part in enumerate((weights[:half], weights[half:]), start=1):
        save_file(dict(part), folder / "unet" / f"diffusion_pytorch_model-0000{number}-of-00002.safetensors")
    (folder / "text_encoder" / "model.safetensors").rename(folder / "text_encoder" / "model.fp16.safetensors")
    assert fingerprint.take(folder) == taken


def test_one_vocabulary_hashes_alike_in_every_file(tmp_path: Path) -> None:
    listed = [word for word, _ in sorted(WORDS.items(), key=lambda item: item[1])]
    files = {
        "tokenizer.json": json.dumps({"model": {"vocab": WORDS}}).encode(),
        "vocab.json": json.dumps(WORDS).encode(),
        "vocab.txt": "\n".join([*listed, ""]).encode(),
        "spiece.model": b"".join(_field(1, _field(1, word.encode()) + b"\x15\0\0\0\0") for word in listed),
    }
    hashes = set()
    for name, data in files.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(data)
        hashes.add(hash_vocabulary(folder))
    listed_with_scores = {"model": {"vocab": [[word, -1.0] for word in [*listed, "<extra_id_0>"]]}}
    (tmp_path / "tokenizer.json" / "tokenizer.json").write_text(json.dumps(listed_with_scores))
    hashes.add(hash_vocabulary(tmp_path / "tokenizer.json"))
    assert len(hashes) == 1


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda folder: shutil.rmtree(folder / "text_encoder"), BadBaseError),
        (lambda folder: shutil.rmtree(folder / "unet"), BadBaseError),
        (lambda folder: shutil.rmtree(folder / "scheduler"), BadBaseError),
        (lambda folder: (folder / "text_encoder" / "config.json").write_text("{"), BadBaseError),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), BadTokenizerError),
        (lambda folder: (folder / "tokenizer" / "tokenizer.json").write_text("{}"), BadTokenizerError),
        (
            lambda folder: (folder / "tokenizer" / "tokenizer.json").write_text('{"model":{"vocab":null}}'),
            BadTokenizerError,
        ),
        (
            lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\xff" * 40),
            BadWeightsError,
        ),
        (lambda folder: _cut(folder / "unet" / "diffusion_pytorch_model.safetensors"), BadWeightsError),
        (
            lambda folder: (folder / "text_encoder" / "model.safetensors").rename(
                folder / "text_encoder" / "model.bin"
            ),
            BadWeightsError,
        ),
    ],
)
def test_a_damaged_base_is_an_artifact_error(
    tmp_path: Path, base: Path, damage: Callable[[Path], object], error: type[ArtifactError]
) -> None:
    folder = shutil.copytree(base, tmp_path / "copy")
    damage(folder)
    with pytest.raises(error) as caught:
        fingerprint.take(folder)
    assert caught.value.hint


def _cut(path: Path) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    path.write_bytes(data[: 8 + length + 100])


@pytest.mark.parametrize(
    "change",
    [
        lambda fp: fp.clear(),
        lambda fp: fp.update(extra=1),
        lambda fp: fp.update(schema="embhub.base/2"),
        lambda fp: fp.update(encoders=dict.fromkeys("abcde", fp["encoders"]["text_encoder"])),
        lambda fp: fp.update(encoders=[]),
        lambda fp: fp.update(denoiser=None),
        lambda fp: fp["encoders"]["text_encoder"].update(dim=True),
        lambda fp: fp["encoders"]["text_encoder"].update(table=["x"]),
        lambda fp: fp["encoders"]["text_encoder"].update(table=[0.0] * 65),
        lambda fp: fp["encoders"]["text_encoder"].update(vocabulary="../x y"),
        lambda fp: fp["denoiser"].update(probe=[float("nan")]),
    ],
)
def test_a_fingerprint_from_a_stranger_is_checked(taken: dict[str, Any], change: Callable[[Any], object]) -> None:
    broken = copy.deepcopy(taken)
    change(broken)
    with pytest.raises(BadFingerprintError):
        fingerprint.compare(taken, broken)
    with pytest.raises(BadFingerprintError):
        fingerprint.digest(broken)
