"""A study's folder: `study.json` says what each image is, `cases/` holds the images, `ratings.jsonl` what readers said.

The folder holds images of patients and stays at the site; only its owner may read it. Readers see a case's random name
and its pixels: every image has the same size, the same file format and no metadata.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.errors import ConfigError, UsageError
from embhub.formats import strict_json

FILE, CASES, RATINGS = "study.json", "cases", "ratings.jsonl"
FEWEST, MOST = 10, 500
"""Images of each kind. Fewer than ten real ones could point at a person."""
_MAX_BYTES = 1_000_000
Kind = Literal["real", "generated"]
Name = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Case(_Part):
    """One image of the study. `name` is random and says nothing of `kind`."""

    name: Name
    kind: Kind


class Study(_Part):
    """What `prepare` wrote.

    `embeddings` are the digests that every generated image declares in its metadata; `finding` is what readers are
    asked to look for, None where they are asked for the origin alone.
    """

    schema_: Literal["embhub.reader-study-cases/1"] = Field(default="embhub.reader-study-cases/1", alias="schema")
    dataset: Annotated[str, Field(min_length=1, max_length=100)]
    finding: Annotated[str, Field(min_length=1, max_length=100)] | None
    embeddings: Annotated[tuple[Digest, ...], Field(max_length=16)]
    cases: Annotated[tuple[Case, ...], Field(min_length=2 * FEWEST, max_length=2 * MOST)]

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Names of the cases of one kind."""
        return tuple(case.name for case in self.cases if case.kind == kind)


def new_name() -> str:
    """A random name for a case or a reader: 64 bits in hexadecimal."""
    return secrets.token_hex(8)


def write_study(study: Study, folder: Path) -> None:
    """Write `study.json`, the last file of a folder that is being prepared."""
    from embhub.durable import write_atomic

    write_atomic(folder / FILE, study.model_dump_json(by_alias=True, indent=1).encode(), mode=0o600)


def read_study(folder: Path) -> Study:
    """Read a prepared study.

    Args:
        folder: what `embhub research reader-study prepare` wrote.

    Raises:
        UsageError: there is no study.
        ConfigError: its file is damaged, or an image is missing.
    """
    try:
        data = (folder / FILE).read_bytes()
    except OSError as error:
        raise UsageError(
            f"{folder} holds no reader study", "run `embhub research reader-study prepare` first"
        ) from error
    try:
        strict_json.read_object(data, limit=_MAX_BYTES)
        study = Study.model_validate_json(data)
    except (ValidationError, strict_json.JsonError) as error:
        raise ConfigError(f"{folder / FILE} is damaged", "prepare the study again") from error
    if any(not case_file(folder, case.name).is_file() for case in study.cases):
        raise ConfigError(f"images of the study in {folder} are missing", "prepare the study again")
    return study


def case_file(folder: Path, name: str) -> Path:
    """The image of a case."""
    return folder / CASES / f"{name}.png"
