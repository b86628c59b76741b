"""Which base model is it? A fingerprint of a few kilobytes, read from slices of the weights in a blink.

Rows of a textual inversion mean something only in the token space they were learned in. The fingerprint records, per
text encoder, the vocabulary's hash, 64 rows of the token table and one deep layer, each row projected to one number by
fixed signs; the same of the denoiser's cross-attention; figures of the other weights of both and of the autoencoder's
(`embhub.artifact.body_probe`); and the prediction type. Copies in float32, float16 and bfloat16 agree within TOLERANCE.
A fine-tune that moves the probed weights by less than that reads as exact.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import rfc8785

from embhub.artifact import body_probe
from embhub.artifact.tokenizer_files import hash_vocabulary
from embhub.errors import ArtifactError
from embhub.formats import strict_json
from embhub.formats.slices import SliceReader, find_weights

SCHEMA = "embhub.base/1"
TOLERANCE = 5e-3
UNRELATED = 0.7  # independent weights are about 1.4 apart; no fine-tune goes half as far
TABLE_ROWS = 64
DEEP_ROWS = 16
DENOISER_TENSORS = 8
DENOISER_ROWS = 4
AUTOENCODERS = ("vae", "movq")

_TABLES = ("token_embedding.weight", "word_embeddings.weight", "shared.weight", "embed_tokens.weight")
_DEEP = re.compile(
    r"(?:layers|layer|block)\.(\d+)\.(?:self_attn\.k_proj|attention\.self\.key|layer\.0\.SelfAttention\.k)\.weight$"
)
_LAYERS = re.compile(r"(?:layers|layer|block)\.\d+\..+\.weight$")
_CROSS = re.compile(r"(?:attn2\.to_[kv]|add_k_proj|context_embedder|attn\.to_k)\.weight$")
_MAX_CONFIG = 1_000_000


class BadBaseError(ArtifactError):
    """The base is not a diffusers pipeline that can be fingerprinted, trained on, or drawn at a size that is known."""


class BadFingerprintError(ArtifactError):
    """A fingerprint that `take` did not write."""


@dataclass(frozen=True)
class Match:
    """How a base fits what an embedding was trained on; only "different" must not be loaded."""

    level: Literal["exact", "fine-tuned", "different"]
    reason: str


def take(folder: Path) -> dict[str, Any]:
    """Fingerprint a pipeline in diffusers' folder format (text_encoder*, tokenizer*, unet or transformer, scheduler).

    A decoder of image embeddings has no text encoder: its denoiser alone is looked at.

    Reads slices of the safetensors files and the JSON beside them; no weights are loaded.

    Raises:
        BadBaseError: a part is missing, or its weights are pickles.
        ArtifactError: a weights file that cannot be read.
    """
    folder = Path(folder)
    parts = sorted(path.name for path in folder.glob("text_encoder*") if path.is_dir())
    if not parts and not _reads_images(folder):
        raise BadBaseError(f"{folder} has no text_encoder folder", "give a pipeline folder as diffusers saves it")
    taken = {
        "schema": SCHEMA,
        "prediction_type": _prediction_type(folder / "scheduler" / "scheduler_config.json"),
        "encoders": {name: _take_encoder(folder, name) for name in parts},
        "denoiser": _take_denoiser(folder),
    }
    if autoencoder := next((folder / name for name in AUTOENCODERS if (folder / name).is_dir()), None):
        with SliceReader(find_weights(autoencoder)) as weights:
            taken["autoencoder"] = body_probe.take(weights)
    return taken


def digest(fingerprint: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the fingerprint's canonical JSON (RFC 8785)."""
    check(fingerprint)
    return hashlib.sha256(rfc8785.dumps(dict(fingerprint))).hexdigest()


def compare(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> Match:
    """Does the base `actual` fit an embedding trained on `expected`?

    Raises:
        BadFingerprintError: either was not written by `take`.
    """
    check(expected)
    check(actual)
    if expected["prediction_type"] != actual["prediction_type"]:
        reason = f"prediction type {actual['prediction_type']} instead of {expected['prediction_type']}"
        return Match("different", f"the base has the {reason}")
    for name, encoder in expected["encoders"].items():
        if problem := _compare_tokens(name, encoder, actual["encoders"].get(name)):
            return Match("different", problem)
    if expected["denoiser"]["tensors"] != actual["denoiser"]["tensors"]:
        return Match("different", "the denoiser has another architecture")
    pairs = [(encoder["deep"], actual["encoders"][name]["deep"]) for name, encoder in expected["encoders"].items()]
    moved = max((_distance(left, right) for left, right in pairs), default=0.0)
    drift = _distance(expected["denoiser"]["probe"], actual["denoiser"]["probe"])
    if max(moved, drift) > UNRELATED:
        part = "text encoder" if moved > UNRELATED else "denoiser"
        return Match("different", f"the weights of the {part} are unrelated")
    bodies = [
        body_probe.distance(encoder["body"], actual["encoders"][name]["body"])
        for name, encoder in expected["encoders"].items()
    ]
    drift = max(drift, body_probe.distance(expected["denoiser"]["body"], actual["denoiser"]["body"]))
    moved, decoding = max([moved, *bodies]), _decoding(expected, actual)
    if max(moved, drift, decoding) <= TOLERANCE:
        return Match("exact", "the same weights")
    also = f", {decoding:.1%} (autoencoder)" if decoding > TOLERANCE else ""
    return Match(
        "fine-tuned", f"same token space, weights moved by {moved:.1%} (text encoder), {drift:.1%} (denoiser){also}"
    )


def check(fingerprint: Mapping[str, Any]) -> None:
    """Raise BadFingerprintError unless the value has the form that `take` writes."""
    try:
        sound = (
            set(fingerprint) - {"autoencoder"} == {"schema", "prediction_type", "encoders", "denoiser"}
            and ("autoencoder" not in fingerprint or body_probe.is_sound(fingerprint["autoencoder"], _is_probe))
            and fingerprint["schema"] == SCHEMA
            and _is_word(fingerprint["prediction_type"])
            and len(fingerprint["encoders"]) <= 4
            and all(_is_word(name) and _is_encoder(item) for name, item in fingerprint["encoders"].items())
            and set(fingerprint["denoiser"]) == {"tensors", "probe", "body"}
            and body_probe.is_sound(fingerprint["denoiser"]["body"], _is_probe)
            and _is_word(fingerprint["denoiser"]["tensors"])
            and _is_probe(fingerprint["denoiser"]["probe"], DENOISER_TENSORS * DENOISER_ROWS)
        )
    except (TypeError, AttributeError, KeyError):
        sound = False
    if not sound:
        raise BadFingerprintError("the base's fingerprint is malformed", "take it again from the base model's folder")


def _is_encoder(value: Mapping[str, Any]) -> bool:
    return (
        set(value) == {"kind", "dim", "vocabulary", "table", "deep", "body"}
        and _is_word(value["kind"])
        and type(value["dim"]) is int
        and _is_word(value["vocabulary"])
        and _is_probe(value["table"], TABLE_ROWS)
        and _is_probe(value["deep"], DEEP_ROWS)
        and body_probe.is_sound(value["body"], _is_probe)
    )


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,80}", value) is not None


def _is_probe(value: Any, most: int) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= most and all(_is_number(item) for item in value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _compare_tokens(name: str, expected: Mapping[str, Any], actual: Mapping[str, Any] | None) -> str:
    if actual is None:
        return f"the base has no {name}"
    if expected["dim"] != actual["dim"]:
        return f"{name} is {actual['dim']} wide instead of {expected['dim']}"
    if expected["vocabulary"] != actual["vocabulary"]:
        return f"{name} has another vocabulary"
    if (moved := _distance(expected["table"], actual["table"])) > TOLERANCE:
        return f"{name} has another token table (off by {moved:.1%})"
    return ""


def _decoding(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> float:
    """Distance of the autoencoders' figures: 0 where one of the two was loaded without an autoencoder."""
    key = "autoencoder"
    return body_probe.distance(expected[key], actual[key]) if key in expected and key in actual else 0.0


def _distance(left: Sequence[float], right: Sequence[float]) -> float:
    """Relative Euclidean distance; infinite between lists of different length."""
    if len(left) != len(right):
        return float("inf")
    scale, gap = math.hypot(*left), math.dist(left, right)
    return gap / scale if scale else (0.0 if gap == 0 else float("inf"))


def _reads_images(folder: Path) -> bool:
    """A decoder that is told of a CLIP image embedding and of no words: it has no text encoder."""
    path = folder / "unet" / "config.json"
    return path.is_file() and _read_config(path).get("encoder_hid_dim_type") == "image_proj"


def _take_encoder(folder: Path, name: str) -> dict[str, Any]:
    config = _read_config(folder / name / "config.json")
    with SliceReader(find_weights(folder / name)) as weights:
        table = next((key for end in _TABLES for key in weights.matrices if key.endswith(end)), None)
        layers = {key: int(match[1]) for key in weights.matrices if (match := _DEEP.search(key))}
        if table is None or not layers:
            raise BadBaseError(
                f"{folder / name} holds no text encoder known here", "CLIP, BERT, T5, Gemma and Qwen encoders are known"
            )
        deep = max(sorted(layers), key=lambda key: layers[key])
        return {
            "kind": re.sub(r"[^A-Za-z0-9._-]", "-", str(config.get("model_type", "unknown")))[:80] or "unknown",
            "dim": weights.matrices[table][1],
            "vocabulary": hash_vocabulary(folder / name.replace("text_encoder", "tokenizer")),
            "table": _probe(weights, table, TABLE_ROWS),
            "deep": _probe(weights, deep, DEEP_ROWS),
            "body": body_probe.take(weights, but=beside_layers),
        }


def beside_layers(key: str) -> bool:
    """Is a matrix none of an encoder's layers'? Tables are looked at apart; files may hold heads that nobody loads."""
    return _LAYERS.search(key) is None


def _take_denoiser(folder: Path) -> dict[str, Any]:
    part = next((folder / name for name in ("unet", "transformer", "prior") if (folder / name).is_dir()), None)
    if part is None:
        raise BadBaseError(
            f"{folder} has neither a unet nor a transformer folder", "give a pipeline folder as diffusers saves it"
        )
    with SliceReader(find_weights(part)) as weights:
        keys = sorted(key for key in weights.matrices if _CROSS.search(key)) or sorted(weights.matrices)
        if not keys:
            raise BadBaseError(
                f"{part} holds no weights that can be probed", "give a pipeline folder as diffusers saves it"
            )
        chosen = [keys[index * len(keys) // DENOISER_TENSORS] for index in range(min(DENOISER_TENSORS, len(keys)))]
        chosen = list(dict.fromkeys(chosen)) if len(keys) >= DENOISER_TENSORS else keys
        shapes = "\n".join(f"{key} {weights.matrices[key]}" for key in keys)
        return {
            "tensors": hashlib.sha256(shapes.encode("utf-8")).hexdigest()[:32],
            "probe": [value for key in chosen for value in _probe(weights, key, DENOISER_ROWS)],
            "body": body_probe.take(weights, but=_CROSS.search),
        }


def _probe(weights: SliceReader, key: str, count: int) -> list[float]:
    """`count` rows of a matrix, each projected to one number by fixed signs, to four significant digits."""
    rows, width = weights.matrices[key]
    picked = sorted({body_probe.pick_row(index, rows) for index in range(count)})
    signs = body_probe.fixed_signs(width)
    return [float(f"{float(weights.read_row(key, row) @ signs):.4g}") for row in picked]


def _prediction_type(path: Path) -> str:
    """As the scheduler states it; where it does not, diffusers takes epsilon, and flow matching needs no word."""
    config = _read_config(path)
    if str(config.get("_class_name", "")).startswith("FlowMatch") or config.get("prediction_type") == "flow_prediction":
        return "flow"
    return str(config.get("prediction_type") or "epsilon")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        # diffusers itself writes -Infinity into the configuration of DPM-Solver schedulers
        data = path.read_bytes()
        value = strict_json.loads(data) if len(data) <= _MAX_CONFIG else None
    except OSError as error:
        raise BadBaseError(
            f"cannot read {path}: {error.strerror}", "give a pipeline folder as diffusers saves it"
        ) from error
    except ValueError as error:
        raise BadBaseError(f"cannot read {path}: {error}", "download the base model again") from error
    if not isinstance(value, dict):
        raise BadBaseError(
            f"{path} is not a JSON object of at most {_MAX_CONFIG:,} bytes", "download the base model again"
        )
    return value
