"""Which base model is it? A fingerprint of a few kilobytes, read from slices of the weights in a blink.

Rows of a textual inversion mean something only in the token space they were learned in. The fingerprint records, per
text encoder, the vocabulary's hash, 64 rows of the token table and one deep layer, each row projected to one number by
fixed signs; the same of the denoiser's cross-attention; figures of the other weights of both and of the autoencoder's
(`embhub.artifact.body_probe`); and the prediction type. Copies in float32, float16 and bfloat16 agree within TOLERANCE.
A fine-tune that moves the probed weights by less than that reads as exact.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from embhub.artifact import body_probe
from embhub.artifact.base_identity import DEEP_ROWS, DENOISER_ROWS, DENOISER_TENSORS, TABLE_ROWS
from embhub.artifact.base_identity import SCHEMA as SCHEMA
from embhub.artifact.base_identity import BadFingerprintError as BadFingerprintError
from embhub.artifact.base_identity import Match as Match
from embhub.artifact.base_identity import check as check
from embhub.artifact.base_identity import compare as compare
from embhub.artifact.base_identity import digest as digest
from embhub.artifact.tokenizer_files import hash_vocabulary
from embhub.errors import ArtifactError
from embhub.formats import strict_json
from embhub.formats.slices import SliceReader, find_weights

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
        "encoders": {name: _read_encoder(folder, name) for name in parts},
        "denoiser": _read_denoiser(folder),
    }
    if autoencoder := next((folder / name for name in AUTOENCODERS if (folder / name).is_dir()), None):
        with SliceReader(find_weights(autoencoder)) as weights:
            taken["autoencoder"] = body_probe.take(weights)
    return taken


def _reads_images(folder: Path) -> bool:
    """A decoder that is told of a CLIP image embedding and of no words: it has no text encoder."""
    path = folder / "unet" / "config.json"
    return path.is_file() and _read_config(path).get("encoder_hid_dim_type") == "image_proj"


def _read_encoder(folder: Path, name: str) -> dict[str, Any]:
    kind = _read_config(folder / name / "config.json").get("model_type", "unknown")
    with SliceReader(find_weights(folder / name)) as weights:
        return take_encoder(weights, str(kind), folder / name.replace("text_encoder", "tokenizer"), what=folder / name)


def take_encoder(weights: SliceReader, kind: str, tokenizer: Path, *, what: object) -> dict[str, Any]:
    """What tells a text encoder, by its kind in its configuration and the folder of its tokenizer.

    Raises:
        BadBaseError: `what` holds no encoder known here, or its vocabulary cannot be read.
    """
    table = next((key for end in _TABLES for key in weights.matrices if key.endswith(end)), None)
    layers = {key: int(match[1]) for key in weights.matrices if (match := _DEEP.search(key))}
    if table is None or not layers:
        raise BadBaseError(
            f"{what} holds no text encoder known here", "CLIP, BERT, T5, Gemma and Qwen encoders are known"
        )
    return {
        "kind": re.sub(r"[^A-Za-z0-9._-]", "-", kind)[:80] or "unknown",
        "dim": weights.matrices[table][1],
        "vocabulary": hash_vocabulary(tokenizer),
        "table": _probe(weights, table, TABLE_ROWS),
        "deep": _probe(weights, max(sorted(layers), key=lambda key: layers[key]), DEEP_ROWS),
        "body": body_probe.take(weights, but=_beside_layers),
    }


def _beside_layers(key: str) -> bool:
    """Is a matrix none of an encoder's layers'? Tables are looked at apart; files may hold heads that nobody loads."""
    return _LAYERS.search(key) is None


def _read_denoiser(folder: Path) -> dict[str, Any]:
    part = next((folder / name for name in ("unet", "transformer", "prior") if (folder / name).is_dir()), None)
    if part is None:
        raise BadBaseError(
            f"{folder} has neither a unet nor a transformer folder", "give a pipeline folder as diffusers saves it"
        )
    with SliceReader(find_weights(part)) as weights:
        if not weights.matrices:
            raise BadBaseError(
                f"{part} holds no weights that can be probed", "give a pipeline folder as diffusers saves it"
            )
        return take_denoiser(weights)


def take_denoiser(weights: SliceReader) -> dict[str, Any]:
    """What tells a denoiser that has matrices."""
    keys = sorted(key for key in weights.matrices if _CROSS.search(key)) or sorted(weights.matrices)
    count = DENOISER_TENSORS
    chosen = [keys[index * len(keys) // count] for index in range(count)] if len(keys) >= count else keys
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
