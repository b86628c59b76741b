"""Strategies of hypothesis that damage a valid document: bytes changed, cut, doubled, moved; JSON with odd values."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

WORDS = [
    *(b'"', b"{", b"[", b"}", b"]", b":", b",", b"\\u0000", b"\\ud800", b"null", b"true", b"NaN", b"1e999", b"-1"),
    *(b"0", b"9" * 30, b"\xff", b"\x00", b"\xe2\x80\xae", b"&a", b"*a", b"!!str", b"---\n", b"<<", b"\n", b"="),
    *(b"==", b"%00"),
]
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**53, 2**64, 10**300, 0.5, -0.0, 1e308, 5e-324, "", "a", "\u0000", "\u202e"),
    *([], {}, [[]], [{}], {"": ""}, {"a": 1}, [0] * 50, ["a"] * 50, "0" * 64, "9" * 400, [None], [1.5, "x"], "é" * 300),
]


@st.composite
def damaged(draw: st.DrawFn, document: bytes) -> bytes:
    """`document` after one to three changes of its bytes."""
    data = bytearray(document)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 2, 8, 60, 2000])))
        match draw(st.sampled_from(["change", "cut", "double", "word", "end", "move"])):
            case "change" if start < len(data):
                data[start] = draw(st.integers(0, 255))
            case "cut":
                del data[start:end]
            case "double":
                data[start:start] = data[start:end]
            case "word":
                data[start:start] = draw(st.sampled_from(WORDS))
            case "end":
                del data[start:]
            case "move":
                moved = data[start:end]
                del data[start:end]
                place = draw(st.integers(0, len(data)))
                data[place:place] = moved
    return bytes(data)


@st.composite
def odd_json(draw: st.DrawFn, document: bytes) -> bytes:
    """A JSON document with one or two of its values replaced, removed or doubled."""
    value = json.loads(document)
    for _ in range(draw(st.integers(1, 2))):
        value = _replace(draw, value)
    return json.dumps(value).encode()


def _replace(draw: st.DrawFn, value: Any) -> Any:
    inside = value if isinstance(value, dict | list) else []
    if not inside or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(ODD))
    if isinstance(value, dict):
        name = draw(st.sampled_from(sorted(value)))
        match draw(st.integers(0, 5)):
            case 0:
                return {key: item for key, item in value.items() if key != name}
            case 1:
                return {**value, draw(st.sampled_from(["x", "", "schema", "__proto__"])): value[name]}
            case _:
                return {**value, name: _replace(draw, value[name])}
    place = draw(st.integers(0, len(value) - 1))
    match draw(st.integers(0, 5)):
        case 0:
            return value[:place] + value[place + 1 :]
        case 1:
            return [*value, value[place]]
        case _:
            return [*value[:place], _replace(draw, value[place]), *value[place + 1 :]]
