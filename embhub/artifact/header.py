"""The header of an embedding: which keys it has, what each may say, and nothing else.

`modelspec.*` follows the Stability ModelSpec 1.0.1, which user interfaces read; `embhub.*` is ours. The lists are
closed: a path, a patient's id, an image hash or a thumbnail of a training image has no place to go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from embhub.artifact import adapter, base_identity
from embhub.artifact.derivation import Derivation, check_tool, read_derivation
from embhub.errors import ArtifactError
from embhub.formats import strict_json
from embhub.options.fits import FITS
from embhub.privacy.claim_or_none import NONE, read_claim, write_claim

if TYPE_CHECKING:
    from embhub.privacy.claim import Claim

SCHEMA = "embhub.embedding/1"

REQUIRED_KEYS = ("embhub.schema", "embhub.token", "embhub.base_name", "embhub.training", "embhub.privacy")
OPTIONAL_KEYS = (
    "embhub.base",
    "embhub.base_weights",
    "embhub.derived_from",
    "embhub.kind",
    "format",
    "modelspec.architecture",
    "modelspec.hash_sha256",
    "modelspec.implementation",
    "modelspec.prediction_type",
    "modelspec.resolution",
    "modelspec.sai_model_spec",
    "modelspec.title",
    "modelspec.trigger_phrase",
)
TRAINING_FACTS = (
    "batch_size",
    "caption",
    "captions",
    "fit",
    "gradient_clip",
    "guidance",
    "initial_word",
    "learning_rate",
    "learning_rate_unit",
    "loss",
    "optimizer",
    "precision",
    "prediction_type",
    "rank",
    "resolution",
    "schedule",
    "snr_gamma",
    "source_format",
    "source_steps",
    "steps",
    "timestep_bias",
    "tool",
    "vectors",
    "weight_decay",
)

PER_IMAGE = "per image"
"""All that a header says of captions that images had of their own: whose, how many and which stays at the site."""
_MAX_TEXT = 300
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"<[a-z0-9-]+>")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_REWRITE = "write the file again with `embhub train` or `embhub import`"


class BadTokenError(ArtifactError):
    """A placeholder that some loader would mangle."""


class ForeignFileError(ArtifactError):
    """A sound safetensors file that embhub did not write: it lacks the header that says what it is."""


class BadHeaderError(ArtifactError):
    """The header's own fields are missing, malformed, or more than an embedding needs."""


def check_token(token: str) -> None:
    """A token that every loader takes: `<`, lower-case letters, digits or hyphens, `>`; at most 64 characters.

    Upper case loses vectors silently in CLIP tokenizers; `_1` is what diffusers appends for further vectors.

    Raises:
        BadTokenError: with the reason.
    """
    shown = ascii(token)[:80]
    example = "write it like <cspca> or <chest-effusion>"
    if len(token) > 64:
        raise BadTokenError(f"the token {shown} is longer than 64 characters", example)
    if token != token.lower():
        raise BadTokenError(
            f"the token {shown} has upper-case letters, of which loaders would lose all vectors but one",
            f"write it as {token.lower()!a}",
        )
    if re.search(r"_\d+>?$", token):
        raise BadTokenError(f"the token {shown} ends in _number, which loaders append for further vectors", example)
    if not _TOKEN.fullmatch(token):
        raise BadTokenError(f"the token {shown} is not lower-case letters, digits and hyphens between < and >", example)


def compose(
    *,
    token: str,
    base: Mapping[str, Any] | None,
    base_name: str,
    training: Mapping[str, Any],
    architecture: str,
    body_digest: str,
    privacy: Claim = NONE,
    derived_from: Derivation | None = None,
    kind: str | None = None,
    base_weights: str | None = None,
) -> dict[str, str]:
    """The metadata of a new file.

    Raises:
        ArtifactError: whatever `check` would refuse.
    """
    metadata = {
        "format": "pt",
        "embhub.schema": SCHEMA,
        "embhub.token": token,
        "embhub.base_name": base_name,
        "embhub.training": _write_json("training", training),
        "embhub.privacy": write_claim(privacy),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": token.strip("<>"),
        "modelspec.trigger_phrase": token,
        "modelspec.hash_sha256": f"0x{body_digest}",
    }
    if kind is not None:
        metadata["embhub.kind"] = kind
    if base_weights is not None:
        metadata["embhub.base_weights"] = base_weights
    if derived_from is not None:
        metadata["embhub.derived_from"] = derived_from.to_text()
    if base is not None:
        metadata["embhub.base"] = _write_json("base", base)
        words = {"epsilon": "epsilon", "v_prediction": "v"}  # ModelSpec's names for them
        if (prediction := words.get(base.get("prediction_type", ""))) is not None:
            metadata["modelspec.prediction_type"] = prediction
    if isinstance(resolution := training.get("resolution"), int):
        metadata["modelspec.resolution"] = f"{resolution}x{resolution}"
    check(metadata)
    return metadata


def check(metadata: Mapping[str, str]) -> None:
    """Refuse a header that is incomplete, malformed, or carries more than it should.

    Raises:
        ForeignFileError, BadTokenError, BadHeaderError: see there.
        UncheckableClaimError: a privacy claim that this version cannot recompute.
        UnsupportedClaimError: a privacy claim that its own parameters do not support.
        BadFingerprintError: the base's fingerprint is malformed.
        BadDerivationError: what it was ported from is malformed.
    """
    if metadata.get("embhub.schema") != SCHEMA:
        raise ForeignFileError(
            f"the file has no header {SCHEMA}", "files of other programs come in with `embhub import`"
        )
    if missing := [key for key in REQUIRED_KEYS if not metadata.get(key)]:
        raise BadHeaderError(f"the header lacks {', '.join(missing)}", _REWRITE)
    if unknown := sorted(set(metadata) - set(REQUIRED_KEYS) - set(OPTIONAL_KEYS)):
        raise BadHeaderError(
            f"the header carries {ascii(unknown[0])[:60]}, which an embedding does not need",
            f"a header can hide private data; {_REWRITE}",
        )
    for key, value in metadata.items():
        if key.startswith("modelspec.") and (len(value) > _MAX_TEXT or not value.isprintable()):
            raise BadHeaderError(f"the header's {key} is not a short line of text", _REWRITE)
    if metadata.get("embhub.kind", adapter.KIND) != adapter.KIND:
        raise BadHeaderError("the header names a kind of file that this version does not know", _REWRITE)
    check_token(metadata["embhub.token"])
    if metadata.get("modelspec.trigger_phrase", metadata["embhub.token"]) != metadata["embhub.token"]:
        raise BadHeaderError("the header names two tokens, modelspec.trigger_phrase and embhub.token", _REWRITE)
    claim = read_claim(metadata["embhub.privacy"])
    if not _NAME.fullmatch(metadata["embhub.base_name"]):
        raise BadHeaderError(
            "the base model's name is not `name` or `owner/name`",
            "a local path would reveal something about this machine: name the base as its publisher does",
        )
    facts = read_object("training", metadata["embhub.training"])
    check_training(facts)
    text = metadata.get("embhub.derived_from")
    check_tool(None if text is None else read_derivation(text), facts.get("tool"))
    if claim != NONE and not isinstance(facts.get("loss", ""), str):
        raise BadHeaderError("the header states a loss beside a privacy claim, which does not cover it", _REWRITE)
    if "embhub.base" in metadata:
        base_identity.check(read_object("base", metadata["embhub.base"]))
    weights = metadata.get("embhub.base_weights")
    if weights is not None and ("embhub.base" not in metadata or not _SHA256.fullmatch(weights)):
        raise BadHeaderError("the header's embhub.base_weights is no SHA-256 beside the base's fingerprint", _REWRITE)


def check_training(facts: Mapping[str, Any]) -> None:
    """Raise BadHeaderError unless every fact is one of TRAINING_FACTS and a number or a short line of text."""
    if unknown := sorted(set(facts) - set(TRAINING_FACTS)):
        raise BadHeaderError(
            f"the training facts carry {ascii(unknown[0])[:60]}",
            f"only these are published: {', '.join(TRAINING_FACTS)}",
        )
    for name, value in facts.items():
        short = isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable()
        if not short and not isinstance(value, int | float):
            raise BadHeaderError(
                f"the training fact {name} is neither a number nor a short line of text", "leave it out"
            )
    if facts.get("captions", PER_IMAGE) != PER_IMAGE:
        raise BadHeaderError(
            "the training fact captions says more than that there were some", f"it is `{PER_IMAGE}`, or left out"
        )
    if facts.get("fit", "crop") not in FITS:
        raise BadHeaderError(
            f"the training fact fit is {ascii(facts['fit'])[:40]}, which names no way to fit images",
            f"it is {', '.join(FITS)}, or left out for crop",
        )


def read_object(name: str, text: str) -> dict[str, Any]:
    """The JSON object under `embhub.<name>`; raises BadHeaderError."""
    try:
        return strict_json.read_object(text.encode("utf-8"), limit=len(text) * 4)
    except strict_json.JsonError as error:
        raise BadHeaderError(f"the header's embhub.{name} cannot be read: {error}", _REWRITE) from error


def _write_json(name: str, value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadHeaderError(
            f"embhub.{name} cannot be written as JSON: {error}", "use numbers and texts only"
        ) from error
