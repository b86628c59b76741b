"""YAML as data only: no aliases, no duplicate keys, no objects, nothing that JSON could not hold, bounded in size and
in work.

Plain scalars resolve to fewer types than YAML 1.1 allows (no dates, no yes/no, no base-60 numbers), so that what a
person typed as text stays text; everything that PyYAML's safe dumper writes reads back the same.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import yaml

MAX_BYTES = 65_536
_LONG = 24  # numbers in a list that is written in a block
MAX_MARKS = 10_000  # every value needs one of them; PyYAML takes 30 microseconds a value
MAX_BRACKETS = 32  # one inside the other: the scanner looks at every open one again and again
_MARKS = b"\n,:[{?-"
_DOCUMENTS = 4  # that were read last: a registry reads each card that is pushed twice


class YamlError(ValueError):
    """The text is not YAML that embhub reads; the message names the line where it can."""


_TAG = "tag:yaml.org,2002:"
_SHAPES = {  # what a plain scalar may look like to be more than text, with the characters that it may start with
    f"{_TAG}bool": (re.compile(r"(?:true|false)"), "tf"),
    f"{_TAG}null": (re.compile(r"(?:~|null|)"), ["~", "n", ""]),
    f"{_TAG}int": (re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})"), "-+0123456789"),
    f"{_TAG}float": (re.compile(r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+][0-9]{1,3})?"), "-+0123456789"),
}
_KEY_TAGS = frozenset({*_SHAPES, f"{_TAG}str"})
_TYPES = frozenset({*_KEY_TAGS, f"{_TAG}seq", f"{_TAG}map", None})  # None stands for what is refused


class _Loader(yaml.SafeLoader):
    # Fresh tables: the inherited ones know dates, octal and base-60 numbers, sets and bytes.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the type its base class declares
    yaml_constructors = {  # noqa: RUF012  # as above
        tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag in _TYPES
    }

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        if self.flow_level >= MAX_BRACKETS:
            raise YamlError("it is nested too deeply")
        super().fetch_flow_collection_start(TokenClass)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise YamlError(f"line {self.line + 1}: aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        line = node.start_mark.line + 1
        shape = _SHAPES.get(node.tag)
        if shape and not (isinstance(node, yaml.ScalarNode) and shape[0].fullmatch(node.value)):
            raise YamlError(f"line {line}: this is no {node.tag.removeprefix(_TAG)}")  # an explicit !!tag
        value = super().construct_object(node, deep=deep)
        if isinstance(value, float) and not math.isfinite(value):
            raise YamlError(f"line {line}: a number must be finite")
        if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            raise YamlError(f"line {line}: text with a lone surrogate")
        if isinstance(value, str) and "\0" in value:
            raise YamlError(f"line {line}: text with the character NUL")
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _KEY_TAGS:
                raise YamlError(f"line {line}: a key must be plain text")
            if key.value in seen:
                raise YamlError(f"line {line}: the key {key.value[:40]!r} appears twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


for _tag, (_pattern, _first) in _SHAPES.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern.pattern})$"), list(_first))


@lru_cache(maxsize=_DOCUMENTS)
def _read(data: bytes) -> Any:
    """One document; callers get a copy of it."""
    return yaml.load(data.decode("utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader with fewer types


def load(data: bytes, *, limit: int = MAX_BYTES) -> Any:
    """Parse one YAML document of plain data.

    Raises:
        YamlError: too long, too many lines and marks, not UTF-8, not YAML, or with aliases, duplicate keys, or what is
            neither text, number, true, false, null, list nor mapping.
    """
    if len(data) > limit:
        raise YamlError(f"it is {len(data):,} bytes long; at most {limit:,} are read")
    if (marks := sum(data.count(mark) for mark in _MARKS)) > MAX_MARKS:
        raise YamlError(f"it has {marks:,} lines and marks; at most {MAX_MARKS:,} are read")
    try:
        return copy.deepcopy(_read(data))
    except YamlError:
        raise
    except UnicodeDecodeError as error:
        raise YamlError("it is not UTF-8 text") from error
    except RecursionError as error:
        raise YamlError("it is nested too deeply") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last for a character beyond Unicode
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise YamlError(f"{where}{getattr(error, 'problem', None) or 'not valid YAML'}") from error


class _Dumper(yaml.SafeDumper):
    def represent_text(self, text: str) -> yaml.ScalarNode:
        # line breaks that a reader would turn into spaces are escaped
        style = '"' if any(c in text for c in "\x85\u2028\u2029\ufeff") else None
        return self.represent_scalar(f"{_TAG}str", text, style=style)

    def represent_items(self, items: list[Any]) -> yaml.SequenceNode:
        # a long list of numbers (an RDP curve) is one block of lines, not a line each
        numbers = len(items) > _LONG and all(type(item) in (int, float, type(None)) for item in items)
        return self.represent_sequence(f"{_TAG}seq", items, flow_style=True if numbers else None)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(list, _Dumper.represent_items)


def dump(value: Any) -> bytes:
    """Write plain data as YAML with keys in the order given; the same value gives the same bytes."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)
    return text.encode("utf-8")
