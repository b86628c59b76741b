"""JSON that every parser reads alike: duplicate names, NaN, BOM, lone surrogates and trailing bytes are refused.

Two readers that disagree about a signed document can be played against each other (RFC 8259 section 4 leaves
duplicate names open), so what is ambiguous is not read at all. Nor is what costs far more than its bytes: a list of
empty objects takes thirty times its size in memory, and a thousand times once a validator explains each of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from itertools import accumulate
from typing import Any

import rfc8785

MAX_DEPTH = 64
MAX_NODES = 50_000
MAX_ITEMS = 300_000
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_STRUCTURE = b"[]{}"
_OTHERS = bytes(set(range(256)) - set(_STRUCTURE))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_STRING_OR_GAP = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([^"]++)', re.DOTALL)


class JsonError(ValueError):
    """Why a document was not read; callers turn it into their own refusal."""


def read(data: bytes, *, limit: int, nodes: int = MAX_NODES, items: int = MAX_ITEMS) -> Any:
    """The value of a UTF-8 JSON document of at most `limit` bytes.

    Args:
        nodes: the most objects, lists and names of members together: what costs memory beyond its bytes.
        items: the most commas, so that a long list of numbers may be longer than that.

    Raises:
        JsonError: too large, too many parts, not UTF-8, not JSON, or ambiguous.
    """
    if len(data) > limit:
        raise JsonError(f"{len(data)} bytes, at most {limit} are read")
    _check_parts(data, nodes=nodes, items=items)
    _check_depth(data)
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        _check(value)
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError("not UTF-8") from error
    except ValueError as error:
        raise JsonError(f"not JSON: {error}") from error
    return value


def canonical(document: dict[str, Any]) -> bytes:
    """As RFC 8785 writes it. Raises JsonError for a number that JSON cannot carry exactly."""
    try:
        return rfc8785.dumps(document)
    except rfc8785.CanonicalizationError as error:
        raise JsonError(str(error)) from error


def read_object(data: bytes, *, limit: int, nodes: int = MAX_NODES, items: int = MAX_ITEMS) -> dict[str, Any]:
    """Like `read`, for a document that is one JSON object."""
    value = read(data, limit=limit, nodes=nodes, items=items)
    if not isinstance(value, dict):
        raise JsonError("not a JSON object")
    return value


def loads(data: bytes | str) -> Any:
    """`json.loads` for what others sent and nobody signed: ambiguous members pass, deep nesting does not.

    Raises:
        JsonError: nested deeper than MAX_DEPTH. ValueError: not UTF-8, or not JSON.
    """
    text = data if isinstance(data, str) else data.decode("utf-8")
    _check_depth(text.encode("utf-8", "surrogatepass"))
    return json.loads(text)


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


def _check_parts(data: bytes, *, nodes: int, items: int) -> None:
    """Count before anything is built; what stands in strings is no structure."""
    if _nodes(data) <= nodes and data.count(b",") <= items:
        return
    parts = commas = 0
    for gap in _STRING_OR_GAP.finditer(data):
        if gap[1] is None:
            continue
        parts += _nodes(gap[1])
        commas += gap[1].count(b",")
        if parts > nodes:
            raise JsonError(f"more than {nodes:,} objects, lists and names")
        if commas > items:
            raise JsonError(f"more than {items:,} commas")


def _check_depth(data: bytes) -> None:
    """Look before anything is parsed.

    A parser that comes to Python's recursion limit may collect garbage there, and then every finalizer fails.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", data).translate(None, _OTHERS)
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise JsonError("nested too deeply")


def _nodes(data: bytes) -> int:
    return data.count(b"{") + data.count(b"[") + data.count(b":")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise JsonError(f"the name {name[:40]!r} stands twice in one object")
        members[name] = value
    return members


def _no_constant(text: str) -> Any:
    raise JsonError(f"{text} is not JSON")


def _check(value: Any) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            raise JsonError("a number outside the range of a double")
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_text(name)
            _check(member)
    elif isinstance(value, list):
        for item in value:
            _check(item)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise JsonError("text with a lone surrogate") from error
