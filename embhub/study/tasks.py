"""What a coordinator asks of a site, and what comes back: a line of JSON, and bytes. An engine carries both.

Tasks are `prepare` (the frame), `follow` (public sums that a site lacks), the five of a step, and `finish` (the file to
consent to). Each names the study by its digest and, in a step, the number: what belongs to another is refused. Nothing
here is secret, and nothing that a coordinator sends is believed: see `answering`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.formats import strict_json
from embhub.study import wire
from embhub.study.grid import Residues
from embhub.study.wire import Digest, StudyStepError

STEP: Final = ("begin", "share", "mask", "agree", "show")
TASKS: Final = ("prepare", "follow", *STEP, "finish")
MAX_BYTES: Final = 32_000_000
AT_ONCE: Final = 1_000_000
"""Bytes of sums in one message; the others follow in the next."""
_LINE = 1_000

Ask = Callable[[str, Mapping[str, bytes], float], Mapping[str, bytes]]
"""Task, data for each site, seconds -> the answers of those who answered in time. It ends early if all have."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Asked(_Line):
    """A task: `number` of the step, or 0; `first` is the place of the first sum that comes along."""

    study: Digest
    task: str
    number: Annotated[int, Field(ge=0, le=100_000)] = 0
    first: Annotated[int, Field(ge=0, le=100_000)] = 0


class Answered(_Line):
    """An answer: `refused` says why there is none; `have` is how many sums the site has."""

    study: Digest
    task: str
    number: Annotated[int, Field(ge=0, le=100_000)] = 0
    have: Annotated[int, Field(ge=0, le=100_000)] = 0
    refused: Annotated[str, Field(max_length=500)] = ""


Read = TypeVar("Read", bound=_Line)


def pack(line: _Line, body: bytes = b"") -> bytes:
    """A line and what follows it."""
    return json.dumps(line.model_dump(), sort_keys=True).encode() + b"\n" + body


def unpack(kind: type[Read], data: bytes) -> tuple[Read, bytes]:
    """The inverse of `pack`.

    Raises:
        StudyStepError: anything else, or more than MAX_BYTES.
    """
    if len(data) > MAX_BYTES:
        raise StudyStepError(f"a message of {len(data)} bytes, of at most {MAX_BYTES}")
    line = data[: _LINE + 1].partition(b"\n")[0]
    try:
        found = kind.model_validate(strict_json.read_object(line, limit=_LINE))
    except ValidationError as error:
        raise StudyStepError(f"not a line of a study's message: {error.error_count()} faults") from error
    except ValueError as error:
        raise StudyStepError("not a line of a study's message") from error
    return found, data[len(line) + 1 :]


def ask_of(study: str, task: str, body: bytes = b"", **more: Any) -> bytes:
    """A task's bytes."""
    return pack(Asked(study=study, task=task, **more), body)


def read_asked(data: bytes, *, study: str, task: str) -> tuple[Asked, bytes]:
    """A task for a site of this study.

    Raises:
        StudyStepError: no task, or one of another study.
    """
    asked, body = unpack(Asked, data)
    if asked.study != study:
        raise StudyStepError("the task is of another study")
    if asked.task != task or task not in TASKS:
        raise StudyStepError("there is no such task")
    return asked, body


def read_answer(data: bytes, *, study: str, task: str, number: int = 0) -> tuple[Answered, bytes]:
    """A site's answer to this task.

    Raises:
        StudyStepError: it refused, or answered something else.
    """
    answer, body = unpack(Answered, data)
    if (answer.study, answer.task, answer.number) != (study, task, number):
        raise StudyStepError("an answer to something else")
    if answer.refused:
        raise StudyStepError("".join(letter for letter in answer.refused if letter.isprintable()))
    return answer, body


def sums_bytes(sums: Sequence[Residues]) -> bytes:
    """Public sums, one after the other, as many as go into one message."""
    room = max(1, AT_ONCE // max(1, 4 * len(sums[0]))) if sums else 0
    return b"".join(wire.vector_bytes(total) for total in sums[:room])


def read_sums(data: bytes, width: int) -> list[Residues]:
    """The inverse of `sums_bytes`.

    Raises:
        StudyStepError: not sums of `width` numbers.
    """
    if len(data) % (4 * width):
        raise StudyStepError(f"{len(data)} bytes are no sums of {width} numbers")
    return [np.frombuffer(data[at : at + 4 * width], "<u4").astype(np.uint32) for at in range(0, len(data), 4 * width)]
