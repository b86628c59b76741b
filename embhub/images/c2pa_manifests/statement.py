"""What a manifest of generated images says: how they were made, with which embeddings, on which base. Pure.

Only what embhub puts into metadata and manifests anyway: no time, no name of a file, nothing of an image that was
redrawn. A digest of a patient's image would let everybody who holds that image confirm that it was used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embhub.artifact.embedding import Embedding
from embhub.cards.personal_data import personal_data
from embhub.errors import PrivacyError
from embhub.formats.synthetic_mark import GENERATED, SourceType
from embhub.images.c2pa_manifests.library import ACTIONS, ASSERTION
from embhub.privacy.claim import plain
from embhub.version import __version__

SCHEMA = "embhub.generation/1"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@dataclass(frozen=True)
class Statement:
    """How images were made. `facts` is the assertion of embhub, plain data."""

    facts: Mapping[str, Any]
    source_type: SourceType = GENERATED

    def to_manifest(self) -> dict[str, Any]:
        """The manifest as c2pa's library takes it: no thumbnail and no ingredient."""
        created = {"action": "c2pa.created", "digitalSourceType": f"{SOURCE_TYPES}{self.source_type}"}
        return {
            "claim_version": 2,
            "claim_generator_info": [{"name": "embhub", "version": __version__}],
            "assertions": [
                {"label": ACTIONS, "data": {"actions": [created]}},
                {"label": ASSERTION, "data": {"schema": SCHEMA, **self.facts}},
            ],
        }


def describe_embedding(embedding: Embedding, release: str | None = None) -> dict[str, Any]:
    """Token, digest and privacy claim of an embedding, and the release that it is, where it was verified."""
    facts: dict[str, Any] = {"token": embedding.token, "sha256": embedding.digest, "claim": plain(embedding.privacy)}
    return {**facts, **({"release": release} if release else {})}


def check_prompts(prompts: Sequence[str]) -> None:
    """Refuse a prompt that looks like it names a person: a manifest goes wherever its image goes.

    Raises:
        PrivacyError: one does.
    """
    if personal_data("\n".join(prompts)):
        raise PrivacyError(
            "a prompt looks like it names a person, and a C2PA manifest would say it",
            "describe findings, never patients; or leave out --c2pa",
        )
