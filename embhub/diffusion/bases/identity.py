"""Which base is it, in words: one base's fingerprint, and two compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embhub.artifact import fingerprint
from embhub.client.pulling.opening import open_path
from embhub.diffusion.bases.adapted import is_adapted
from embhub.diffusion.bases.pipelines import find_base
from embhub.errors import ArtifactError

_MEANING = {
    "exact": "the same base, as far as the fingerprint sees",
    "fine-tuned": "the same token space with other weights: embeddings load, with a warning",
    "different": "another base: embeddings are refused",
}


def identify(base: str | Path) -> dict[str, Any]:
    """The fingerprint of a base, its digest, and what it says in words.

    Raises:
        UsageError, ArtifactError, ConfigError: no such base, or its weights cannot be read.
    """
    found = find_base(base)
    taken = fingerprint.take(found.folder)
    return {
        "base": found.name,
        "digest": fingerprint.digest(taken),
        "prediction_type": taken["prediction_type"],
        "encoders": ", ".join(f"{name}: {one['kind']}, {one['dim']} wide" for name, one in taken["encoders"].items()),
        "privacy": "none: a part was learned from a site's images" if is_adapted(found.folder) else "",
        "fingerprint": taken,
    }


def compare_bases(first: str, second: str) -> dict[str, Any]:
    """How the base `first` fits `second`: a base, or the one that an embedding (a file of that name) was trained on.

    Raises:
        UsageError, ConfigError: no such base.
        ArtifactError: weights that cannot be read, or an embedding that does not tell its base.
    """
    found = find_base(first)
    if Path(second).suffix == ".safetensors":
        embedding = open_path(second).embedding
        name, expected = f"the base of {embedding.token}, {embedding.base_name}", embedding.base
        if expected is None:
            raise ArtifactError(
                f"{second} does not tell its base's weights", f"it names {embedding.base_name}, no more"
            )
    else:
        other = find_base(second)
        name, expected = other.name, fingerprint.take(other.folder)
    match = fingerprint.compare(expected, fingerprint.take(found.folder))
    return {
        "verdict": match.level,
        "meaning": _MEANING[match.level],
        "reason": match.reason,
        "compared": f"{found.name} with {name}",
        "exit_code": 3 if match.level == "different" else 0,
    }
