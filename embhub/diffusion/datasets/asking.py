"""What a data set is to hold: classes from a YAML file or the command line, checked before anything is drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from embhub.cards.personal_data import looks_like_patient, personal_data
from embhub.errors import PrivacyError, UsageError
from embhub.formats import safe_yaml
from embhub.options.preprocessing import HIGHEST, LOWEST
from embhub.release import files as release_files

MOST_PER_CLASS = 1_000_000
_HINT = "docs/how-to/make-a-data-set.md shows one"


def _line(text: str) -> str:
    if text != text.strip() or not text.isprintable() or not text:
        raise ValueError("must be one line of text")
    return text


Line = Annotated[str, Field(max_length=500), AfterValidator(_line)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Class(_Part):
    """One label, the prompt that is drawn for it, and its embeddings: files, folders or repositories."""

    label: Annotated[str, Field(max_length=80), AfterValidator(_line)]
    prompt: Line
    embeddings: tuple[Line, ...] = ()

    @property
    def folder(self) -> str:
        """Where its images lie: the label in letters that every file system takes."""
        return re.sub(r"[^a-z0-9]+", "-", self.label.lower()).strip("-") or "class"


class Asked(_Part):
    """A whole data set. `base` is None for what the embeddings were made for, `steps` and `guidance` for its own.

    `resolution` is None for what the embeddings were trained with. The `negative` prompt serves all classes.
    """

    classes: Annotated[tuple[Class, ...], Field(min_length=1, max_length=1000)]
    base: Line | None = None
    per_class: int = Field(ge=1, le=MOST_PER_CLASS)
    seed: int = Field(default=0, ge=0, lt=2**63)
    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance: float | None = Field(default=None, ge=0, le=100)
    resolution: int | None = Field(default=None, ge=LOWEST, le=HIGHEST)
    negative: Line | None = None
    negative_embeddings: tuple[Line, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Every embedding that is named, once."""
        named = [target for item in self.classes for target in item.embeddings]
        return tuple(dict.fromkeys([*named, *self.negative_embeddings]))


def read(config: Path | None, *, classes: Sequence[str] = (), embeddings: Sequence[str] = (), **settings: Any) -> Asked:
    """From a file, or from `LABEL=PROMPT` words; settings that were given stand above the file's.

    `embeddings` serve every class whose prompt has their token: who knows which is `sources.assign`.

    Raises:
        UsageError: neither or both, a malformed file, two classes of one name.
        PrivacyError: a label or prompt that looks like a patient.
    """
    if (config is None) == (not classes):
        raise UsageError("a data set has classes", 'name a file in YAML, or pass --class LABEL="prompt" for each')
    if config is not None and embeddings:
        raise UsageError(
            "--embedding goes with --class", "in the file, name the embeddings of each class under `embeddings:`"
        )
    written = _load(config) if config is not None else {"classes": [_split(text, embeddings) for text in classes]}
    said = {name: value for name, value in settings.items() if value is not None}
    return _check({"per_class": 100, **written, **said})


def _load(config: Path) -> dict[str, Any]:
    try:
        values = safe_yaml.load(release_files.read_file(config, limit=safe_yaml.MAX_BYTES))
    except safe_yaml.YamlError as error:
        raise UsageError(f"{config} is not readable YAML: {error}", _HINT) from error
    if not isinstance(values, dict):
        raise UsageError(f"{config} is not a list of `field: value` lines", _HINT)
    return values


def _split(text: str, embeddings: Sequence[str]) -> dict[str, Any]:
    label, equals, prompt = (part.strip() for part in text.partition("="))
    if not (label and equals and prompt):
        raise UsageError(f"{text[:60]!a} names no class", 'write it as --class LABEL="prompt with <token>"')
    return {"label": label, "prompt": prompt, "embeddings": list(embeddings)}


def _check(values: dict[str, Any]) -> Asked:
    try:
        asked = Asked.model_validate(_tuples(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {first['msg'].removeprefix('Value error, ')}", _HINT) from error
    if asked.negative is not None and personal_data(asked.negative):
        raise PrivacyError("the negative prompt looks like it names a person", "describe findings, never patients")
    folders = [item.folder for item in asked.classes]
    if twice := {folder for folder in folders if folders.count(folder) > 1}:
        raise UsageError(f"two classes would lie in the folder {min(twice)}", "give each class a label of its own")
    for number, item in enumerate(asked.classes, start=1):
        if personal_data(f"{item.label}\n{item.prompt}") or looks_like_patient(item.label):
            raise PrivacyError(f"class {number} looks like it names a person", "label findings, never patients")
    return asked


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """YAML knows lists only; strict models want tuples and floats."""
    rows = values.get("classes")
    if isinstance(rows, list):
        rows = tuple(
            {**row, "embeddings": tuple(row["embeddings"])} if isinstance(row, dict) and _has_list(row) else row
            for row in rows
        )
        values = {**values, "classes": rows}
    if isinstance(values.get("negative_embeddings"), list):
        values = {**values, "negative_embeddings": tuple(values["negative_embeddings"])}
    if type(values.get("guidance")) is int:
        values = {**values, "guidance": float(values["guidance"])}
    return values


def _has_list(row: dict[str, Any]) -> bool:
    return isinstance(row.get("embeddings"), list)
