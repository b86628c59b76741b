"""Whether a README.md loads in `huggingface_hub.ModelCard`, without huggingface_hub, and whether its licence exists.

That is what `validate-yaml` promises. Stock clients ask before they upload a card. Facts of the client:
`huggingface_hub/repocard.py` and `repocard_data.py` of 0.36 to 2.x. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from embhub.cards.vocabulary import is_licence
from embhub.formats import safe_yaml

# Where the clients see the front matter, an older and a newer one; blank lines at its ends are of no matter here.
_BLOCKS = (
    re.compile(r"\s*---[\r\n]([\S\s]*?)[\r\n]---(?:\r\n|\n|$)"),
    re.compile(r"\s*---(?:\r\n|\r|\n)([\S\s]*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$)"),
)
# Fields become attributes of an object: these are its own, or arguments of its constructor.
_TAKEN = frozenset(["self", "ignore_metadata_errors", "get", "pop", "to_dict", "to_yaml", "_to_dict"])
_RESULT = {"task": ("type",), "dataset": ("type", "name")}  # what each result of a model index must have
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same types as the clients' loader, read faster


def find_problem(readme: str, *, limit: int) -> str | None:
    """Why `ModelCard.load` fails with this text, or that its licence is none; None where it loads."""
    blocks = dict.fromkeys(match[1] for pattern in _BLOCKS if (match := pattern.match(readme)))
    return next((problem for block in blocks if (problem := _block_problem(block, limit=limit))), None)


def _block_problem(block: str, *, limit: int) -> str | None:
    try:
        safe_yaml.load(block.encode(), limit=limit)  # bounds the work of the second reading too
        values = yaml.load(block, Loader=_LOADER)  # noqa: S506 - a SafeLoader
    except safe_yaml.YamlError as error:
        return str(error)
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError) as error:
        return f"it is read in another way by PyYAML, which says: {' '.join(str(error).split())[:200]}"
    if values is None:
        return None
    if not isinstance(values, dict):
        return "the front matter is not a list of `name: value` lines"
    return _fields_problem(values)


def _fields_problem(values: Mapping[Any, Any]) -> str | None:
    for name in values:
        if not isinstance(name, str):
            return f"the field {str(name)[:40]!r} is no text for YAML 1.1: put quotes around it"
        if name in _TAKEN:
            return f"a field cannot be called `{name}`"
    tags, index = values.get("tags"), values.get("model-index")
    if not (tags is None or isinstance(tags, str | list | dict)):
        return "`tags` is not a list"
    if values.get("eval_results") and not index:
        return "`eval_results` is not read: write a `model-index`"
    if problem := _licence_problem(values.get("license")):
        return problem
    return _index_problem(index) if index else None


def _licence_problem(stated: Any) -> str | None:
    words = stated if isinstance(stated, list) else [] if stated is None else [stated]
    for word in words:
        if not isinstance(word, str) or not is_licence(word):
            return (
                f"`license` names {str(word)[:60]!a}, which is no licence: write an SPDX identifier such as cc-by-4.0,"
                " or `other` with `license_name` and `license_link`"
            )
    return None


def _index_problem(index: Any) -> str | None:
    if not isinstance(index, list):
        return "`model-index` is not a list"
    measured = False
    for model in index:
        if not isinstance(model, dict) or "name" not in model or not isinstance(model.get("results"), list):
            return "each entry of `model-index` needs a `name` and a list of `results`"
        for result in model["results"]:
            if problem := _result_problem(result):
                return problem
            measured = measured or bool(result["metrics"])
    return "the last entry of `model-index` has no name" if measured and index[-1]["name"] is None else None


def _result_problem(result: Any) -> str | None:
    if not isinstance(result, dict):
        return "each of `results` in `model-index` must have `task`, `dataset` and `metrics`"
    for part, names in _RESULT.items():
        if not isinstance(result.get(part), dict) or any(name not in result[part] for name in names):
            return f"each of `results` in `model-index` needs a `{part}` with {' and '.join(names)}"
    metrics, source = result.get("metrics"), result.get("source") or {}
    if not isinstance(metrics, list) or not all(isinstance(m, dict) and {"type", "value"} <= set(m) for m in metrics):
        return "each of `results` in `model-index` needs a list of `metrics` with type and value"
    if not isinstance(source, dict) or (metrics and source.get("name") is not None and source.get("url") is None):
        return "a `source` in `model-index` needs a url"
    return None
