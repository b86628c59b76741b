"""JSON that every parser reads alike: duplicate names, NaN, BOM, lone surrogates and trailing bytes are refused.

Two readers that disagree about a signed document can be played against each other (RFC 8259 section 4 leaves
duplicate names open), so what is ambiguous is not read at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any

MAX_DEPTH = 64


class JsonError(ValueError):
    """Why a document was not read; callers turn it into their own refusal."""


def read(data: bytes, *, limit: int) -> Any:
    """The value of a UTF-8 JSON document of at most `limit` bytes.

    Raises:
        JsonError: too large, not UTF-8, not JSON, or ambiguous.
    """
    if len(data) > limit:
        raise JsonError(f"{len(data)} bytes, at most {limit} are read")
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        _check(value, depth=0)
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError("not UTF-8") from error
    except RecursionError as error:
        raise JsonError("nested too deeply") from error
    except ValueError as error:
        raise JsonError(f"not JSON: {error}") from error
    return value


def read_object(data: bytes, *, limit: int) -> dict[str, Any]:
    """Like `read`, for a document that is one JSON object."""
    value = read(data, limit=limit)
    if not isinstance(value, dict):
        raise JsonError("not a JSON object")
    return value


def exact(value: object, names: set[str], *, what: str, optional: Set[str] = frozenset()) -> Mapping[str, Any]:
    """`value` if it is an object with the members `names`, perhaps some `optional` ones, and none beside.

    Raises:
        JsonError: a member is missing or unknown, or it is no object.
    """
    if not isinstance(value, Mapping):
        raise JsonError(f"{what} is not an object")
    if missing := names - value.keys():
        raise JsonError(f"{what} lacks {', '.join(sorted(missing))}")
    if unknown := sorted(value.keys() - names - optional):
        raise JsonError(f"{what} has the unknown member {unknown[0][:40]!r}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise JsonError(f"the name {name[:40]!r} stands twice in one object")
        members[name] = value
    return members


def _no_constant(text: str) -> Any:
    raise JsonError(f"{text} is not JSON")


def _check(value: Any, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise JsonError("nested too deeply")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            raise JsonError("a number outside the range of a double")
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_text(name)
            _check(member, depth=depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth=depth + 1)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise JsonError("text with a lone surrogate") from error
