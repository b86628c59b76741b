"""YAML as data only: no aliases, no duplicate keys, no objects, bounded in size.

Plain scalars resolve to fewer types than YAML 1.1 allows (no dates, no yes/no, no base-60 numbers), so that what a
person typed as text stays text; everything that PyYAML's safe dumper writes reads back the same.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

MAX_BYTES = 65_536


class YamlError(ValueError):
    """The text is not YAML that embhub reads; the message names the line where it can."""


class _Loader(yaml.SafeLoader):
    # A fresh table: the inherited one knows dates, octal and base-60 numbers.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the type its base class declares

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise YamlError(f"line {self.line + 1}: aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(f"line {line}: a key must be plain text")
            if key.value in seen:
                raise YamlError(f"line {line}: the key {key.value!r} appears twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_BOOL = re.compile(r"^(?:true|false)$")
_NULL = re.compile(r"^(?:~|null|)$")
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,17})$")
_FLOAT = re.compile(r"^[-+]?[0-9]+\.[0-9]*(?:[eE][-+][0-9]{1,3})?$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", _NULL, ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))


def load(data: bytes, *, limit: int = MAX_BYTES) -> Any:
    """Parse one YAML document of plain data.

    Raises:
        YamlError: too long, not UTF-8, not YAML, or with aliases, tags for objects or duplicate keys.
    """
    if len(data) > limit:
        raise YamlError(f"it is {len(data):,} bytes long; at most {limit:,} are read")
    try:
        return yaml.load(data.decode("utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader with fewer types
    except YamlError:
        raise
    except UnicodeDecodeError as error:
        raise YamlError("it is not UTF-8 text") from error
    except RecursionError as error:
        raise YamlError("it is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise YamlError(f"{where}{getattr(error, 'problem', None) or 'not valid YAML'}") from error


def dump(value: Any) -> bytes:
    """Write plain data as YAML with keys in the order given; the same value gives the same bytes."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)
    return text.encode("utf-8")
