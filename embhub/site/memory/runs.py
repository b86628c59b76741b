"""What this site remembers of its trainings: which images were members, which were kept back. Never leaves the site.

One private file a run in `state/runs/`, named by the embedding's digest, so that `embhub audit FILE` finds its
members by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.privacy.second_opinion import SecondOpinion
from embhub.site import config

_DIGEST = re.compile(r"[0-9a-f]{64}")
_WITHOUT_SOURCE = (
    "restore it from a backup. Without one, move it away: the file then counts as no port, so make sure yourself that"
    " its patients and those of other versions differ by none, or by ten or more"
)


class Sample(BaseModel):
    """An image of a training set: where it lies on this site, and whose it is.

    `view` is which picture of a DICOM file or volume it is, and in which window (`embhub.images.readers.view`).
    `caption` is what its manifest said of it alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    patient_id: str
    label: str | None = None
    view: str | None = None
    caption: str | None = None


class Run(BaseModel):
    """One training: enough to audit its embedding, and to train shadows of it.

    `second_opinion` is what opacus said of its privacy claim; None without a claim.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["embhub.run/1"] = Field(default="embhub.run/1", alias="schema")
    embedding_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    base: str
    caption: str
    token: str
    vectors: int = Field(ge=1)
    members: tuple[Sample, ...]
    holdout: tuple[Sample, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    second_opinion: SecondOpinion | None = None


def save(run: Run) -> None:
    """Remember a run, mode 0600 in a folder of mode 0700; the same digest again overwrites.

    Raises:
        ConfigError: the state folder cannot be written.
    """
    path = _path(run.embedding_digest)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"cannot write in {path.parent}: {error.strerror}", "check EMBHUB_HOME") from error
    write_atomic(path, run.model_dump_json(by_alias=True, indent=1).encode("utf-8") + b"\n", mode=0o600)


def find(digest: str, *, otherwise: str = "name members and non-members yourself") -> Run | None:
    """The run that made the embedding with this SHA-256 (hex), or None.

    Args:
        digest: of the embedding's file.
        otherwise: what a person can do without the record; it is the hint where the record is damaged.

    Raises:
        ConfigError: its record is damaged, or others can read it.
    """
    if not _DIGEST.fullmatch(digest):
        return None
    path = _path(digest)
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", otherwise) from error
    if mode & 0o077:
        raise ConfigError(f"others can read {path}, which names patients", f"chmod 600 {path}")
    try:
        run = Run.model_validate_json(data)
    except ValidationError as error:
        raise ConfigError(f"the record {path} is damaged", otherwise) from error
    if run.embedding_digest != digest:
        raise ConfigError(f"the record {path} is another embedding's", otherwise)
    return run


def origins(digest: str) -> Iterator[str]:
    """The digest itself, and by this site's records what the file was ported from, as far back as they go.

    A record is read only when the caller asks for what is behind its file.

    Raises:
        ConfigError: a record is damaged, others can read it, or it makes a file a port of itself.
    """
    visited: set[str] = set()
    while digest not in visited:
        visited.add(digest)
        yield digest
        run = find(digest, otherwise=_WITHOUT_SOURCE)
        source = run.settings.get("ported_from") if run is not None else None
        if not isinstance(source, str):
            return
        digest = source
    raise ConfigError(f"the record {_path(digest)} makes the file a port of itself", _WITHOUT_SOURCE)


def find_all() -> list[Run]:
    """Every training that this site remembers, by its embedding's digest.

    Raises:
        ConfigError: a record is damaged, or others can read it.
    """
    folder = config.paths().state / "runs"
    digests = sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []
    return [run for digest in digests if (run := find(digest)) is not None]


def _path(digest: str) -> Path:
    return config.paths().state / "runs" / f"{digest}.json"
