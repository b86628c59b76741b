"""What readers said: one line of JSON each, appended and never changed. Readers have random names, no other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from embhub.durable import locked
from embhub.errors import ConfigError, UsageError
from embhub.reader_study.study import RATINGS, Name, Study

Role = Literal["radiologist", "radiologist in training", "other physician", "technologist", "researcher", "other"]
ROLES: tuple[Role, ...] = get_args(Role)
Seen = Literal["yes", "no"]
LOWEST, HIGHEST = 1, 5
"""Of the scale from "certainly real" to "certainly generated"."""
_LARGEST = 20_000_000


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Reader(_Line):
    """A person who began the study."""

    line: Literal["reader"] = "reader"
    reader: Name
    role: Role


class Rating(_Line):
    """One reader's answers to one case. `origin` is 1 (certainly real) to 5 (certainly generated)."""

    line: Literal["rating"] = "rating"
    reader: Name
    case: Name
    origin: Annotated[int, Field(ge=LOWEST, le=HIGHEST)]
    finding: Seen | None = None


@dataclass
class Answers:
    """Everything that was said so far: roles by reader, and ratings by reader and case."""

    roles: dict[str, Role] = field(default_factory=dict)
    ratings: dict[str, dict[str, Rating]] = field(default_factory=dict)

    def complete(self, study: Study) -> Mapping[str, Sequence[Rating]]:
        """Of each reader who rated every case: the ratings in the order of the study's cases."""
        return {
            reader: [said[case.name] for case in study.cases]
            for reader, said in self.ratings.items()
            if len(said) == len(study.cases)
        }


_LINES: TypeAdapter[Reader | Rating] = TypeAdapter(Annotated[Reader | Rating, Field(discriminator="line")])


def add(folder: Path, study: Study, line: Reader | Rating) -> None:
    """Append one line; it is on disk when this returns. A case that the reader rated before keeps its first rating.

    Raises:
        UsageError: an unknown case or reader, or an answer about the finding where none was asked or is missing.
        ConfigError: the file is damaged or cannot be written.
    """
    path = folder / RATINGS
    try:
        with locked(path):
            answers = read(folder, study)
            if isinstance(line, Rating):
                _check(line, study, answers)
                if line.case in answers.ratings.get(line.reader, {}):
                    return
            _append(path, line.model_dump_json().encode() + b"\n")
    except OSError as error:
        raise ConfigError(
            f"the rating was not stored: {error.strerror}", "free space on the disk, and send it again"
        ) from error


def _append(path: Path, line: bytes) -> None:
    """What an interrupted write left of a line is cut off first."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as stream:
        stream.seek(stream.read().rfind(b"\n") + 1)
        stream.truncate()
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())


def _check(line: Rating, study: Study, answers: Answers) -> None:
    if line.reader not in answers.roles or line.case not in {case.name for case in study.cases}:
        raise UsageError("this study has no such reader or image", "open the study's address again")
    if (line.finding is None) != (study.finding is None):
        raise UsageError("one of the questions has no answer", "answer each question")


def read(folder: Path, study: Study) -> Answers:
    """All answers. A last line without its end was never acknowledged, and is passed over.

    Raises:
        ConfigError: another line is damaged, or of a reader or case that the study does not have.
    """
    path, answers = folder / RATINGS, Answers()
    data = path.read_bytes() if path.exists() else b""
    if len(data) > _LARGEST:
        raise ConfigError(f"{path} is too large", "move it away; a study has at most some thousand ratings")
    for number, text in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            line = _LINES.validate_json(text)
            if isinstance(line, Reader):
                answers.roles[line.reader] = line.role
                answers.ratings.setdefault(line.reader, {})
            else:
                _check(line, study, answers)
                answers.ratings[line.reader].setdefault(line.case, line)
        except (ValidationError, UsageError) as error:
            raise ConfigError(f"{path}, line {number}, is damaged", "restore it from a copy") from error
    return answers
