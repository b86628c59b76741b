"""What an embedding was ported from: the source's digest, and all that is needed to repeat the port. Pure.

A port draws images from the source alone and learns from them on another base. What its publisher's signature says of
it, and what nobody else can check, stands in docs/how-to/port-an-embedding.md.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.errors import ArtifactError
from embhub.formats import strict_json
from embhub.formats.validation import explain

SCHEMA: Final = "embhub.derivation/1"
TOOL: Final = "embhub port"
"""What `training.tool` says of a port, and of nothing else."""
MAX_BYTES = 2_000
FEWEST, MOST = 2, 4096  # images
_REWRITE = "write the file again with `embhub research port`"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BadDerivationError(ArtifactError):
    """What a header or a card says of a port cannot be read, or contradicts the rest of it."""


class Derivation(BaseModel):
    """Where a ported embedding comes from.

    `source` is the SHA-256 of the embedding that the images were generated with, `source_base` the digest of the
    fingerprint of the base that generated them, None where the source's header has none. The other numbers are those
    of the generation. The seed is public: no image of a patient is learned from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, defer_build=True)

    schema_: Literal["embhub.derivation/1"] = Field(default=SCHEMA, alias="schema")
    method: Literal["port"] = "port"
    source: Digest
    source_base: Digest | None = None
    source_base_name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$")
    images: int = Field(ge=FEWEST, le=MOST)
    seed: int = Field(ge=0, lt=2**53)
    steps: int = Field(ge=1, le=1000)
    guidance: float = Field(ge=0.0, le=100.0, allow_inf_nan=False)
    resolution: int = Field(ge=8, le=8192)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as headers and cards have it."""
        return self.model_dump(mode="json", by_alias=True)

    def to_text(self) -> str:
        """Canonical JSON (RFC 8785)."""
        return rfc8785.dumps(self.to_dict()).decode("utf-8")

    @property
    def sentence(self) -> str:
        """What a person is told first."""
        return (
            f"ported from the embedding sha256:{self.source}, made for {self.source_base_name}: learned from"
            f" {self.images:,} images generated with it, and from no image of a patient, by its publisher's word"
        )


def parse_derivation(value: Any) -> Derivation:
    """Read plain data.

    Raises:
        BadDerivationError: not of the form of a `Derivation`.
    """
    if isinstance(value, Derivation):
        return value
    try:
        text = json.dumps(value, allow_nan=False)
        return Derivation.model_validate_json(text, by_alias=True, by_name=False)
    except ValidationError as error:
        raise BadDerivationError(f"what it was ported from cannot be read: {explain(error)}", _REWRITE) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise BadDerivationError(f"what it was ported from cannot be read: {error}", _REWRITE) from error


def read_derivation(text: str) -> Derivation:
    """Read the text under `embhub.derived_from` of a header: canonical JSON of at most MAX_BYTES.

    Raises:
        BadDerivationError: anything else.
    """
    try:
        value = strict_json.read_object(text.encode("utf-8", "surrogatepass"), limit=MAX_BYTES)
    except strict_json.JsonError as error:
        raise BadDerivationError(f"what it was ported from cannot be read: {error}", _REWRITE) from error
    found = parse_derivation(value)
    if found.to_text() != text:
        raise BadDerivationError("what it was ported from is not written canonically (RFC 8785)", _REWRITE)
    return found


def check_tool(derived: Derivation | None, tool: object) -> None:
    """A header that says `embhub port` says of what, and no other says so.

    Raises:
        BadDerivationError: one without the other.
    """
    if (derived is not None) != (tool == TOOL):
        raise BadDerivationError("the header names a source without being a port, or the reverse", _REWRITE)
