"""A base's fingerprint as it stands in files: its form, its digest, and whether a base fits another's. Nothing is read.

`embhub.artifact.fingerprint` takes one from a base's folder, and says what it is.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import rfc8785

from embhub.errors import ArtifactError

SCHEMA = "embhub.base/1"
TOLERANCE = 5e-3
UNRELATED = 0.7  # independent weights are about 1.4 apart; no fine-tune goes half as far
TABLE_ROWS = 64
DEEP_ROWS = 16
DENOISER_TENSORS = 8
DENOISER_ROWS = 4
BODY_TENSORS = 24
BODY_ROWS = 2


class BadFingerprintError(ArtifactError):
    """A fingerprint that `take` did not write."""


@dataclass(frozen=True)
class Match:
    """How a base fits what an embedding was trained on; only "different" must not be loaded."""

    level: Literal["exact", "fine-tuned", "different"]
    reason: str


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
        body_distance(encoder["body"], actual["encoders"][name]["body"])
        for name, encoder in expected["encoders"].items()
    ]
    drift = max(drift, body_distance(expected["denoiser"]["body"], actual["denoiser"]["body"]))
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
            and ("autoencoder" not in fingerprint or _is_body(fingerprint["autoencoder"]))
            and fingerprint["schema"] == SCHEMA
            and _is_word(fingerprint["prediction_type"])
            and len(fingerprint["encoders"]) <= 4
            and all(_is_word(name) and _is_encoder(item) for name, item in fingerprint["encoders"].items())
            and set(fingerprint["denoiser"]) == {"tensors", "probe", "body"}
            and _is_body(fingerprint["denoiser"]["body"])
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
        and _is_body(value["body"])
    )


def _is_body(value: Any) -> bool:
    """Whether a value has the form that `body_probe.take` gives."""
    known = isinstance(value, dict) and set(value) <= {"matrices", "kernels"} and bool(value)
    return known and all(_is_probe(part, BODY_TENSORS * BODY_ROWS) for part in value.values())


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
    return body_distance(expected[key], actual[key]) if key in expected and key in actual else 0.0


def body_distance(expected: Mapping[str, Sequence[float]], actual: Mapping[str, Sequence[float]]) -> float:
    """Largest relative distance over the groups of `body_probe`; infinite where they do not compare."""
    if {name: len(part) for name, part in expected.items()} != {name: len(part) for name, part in actual.items()}:
        return float("inf")
    return max((_distance(expected[name], actual[name]) for name in expected), default=0.0)


def _distance(left: Sequence[float], right: Sequence[float]) -> float:
    """Relative Euclidean distance; infinite between lists of different length."""
    if len(left) != len(right):
        return float("inf")
    scale, gap = math.hypot(*left), math.dist(left, right)
    return gap / scale if scale else (0.0 if gap == 0 else float("inf"))
