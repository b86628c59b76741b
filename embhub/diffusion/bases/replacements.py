"""A base as words, with what is replaced in it: `BASE + unet=SOURCE + lora=SOURCE`. Imports no torch.

One string goes wherever a base is named: options, the Python calls, and this site's memory of a training, from which an
audit finds the base again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from embhub.builtin_bases import resolve
from embhub.errors import UsageError

LORA = "lora"
HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
_GLUE = " + "
_REPLACEMENT = re.compile(r"([a-z][a-z0-9_]{0,30})=(\S(?:.*\S)?)", re.S)


class Replacement(NamedTuple):
    """A part of the pipeline, such as `unet` or `text_encoder_2`, or `lora`; and the folder, file or Hub id for it."""

    part: str
    source: str


def parse_base(base: str) -> tuple[str, tuple[Replacement, ...]]:
    """The base and what is replaced in it. A folder that is there is a base whatever its name.

    Raises:
        UsageError: a replacement that is none, or a part replaced twice.
    """
    if Path(base).is_dir():
        return base, ()
    first, *others = re.split(r" \+ (?=[^=+]*=)", base)
    return first, check_replacements(others)


def find_folder(base: str | Path) -> Path | tuple[str, str | None]:
    """The folder of a base without replacements, or name and revision of a repository of the Hub, which is not asked.

    Raises:
        UsageError: no built-in name, no pipeline folder, and no name of a repository.
        ConfigError: a built-in base is missing from this installation.
    """
    folder = resolve(base)
    if folder is None and (hub_id := HUB_ID.fullmatch(str(base))) and not Path(base).exists():
        return hub_id[1], hub_id[2]
    if folder is None or not (folder / "model_index.json").is_file():
        raise UsageError(
            f"{base} is not a base model", "name builtin, builtin-xray, a folder with model_index.json, or owner/name"
        )
    return folder


def check_replacements(words: Sequence[str]) -> tuple[Replacement, ...]:
    """`part=source` each.

    Raises:
        UsageError: a replacement that is none, or a part replaced twice; several LoRAs are added one after another.
    """
    found = []
    for word in words:
        if not (match := _REPLACEMENT.fullmatch(word)) or _GLUE in match[2]:
            raise UsageError(
                f"{word!r} replaces nothing", "pass PART=SOURCE, such as unet=folder, vae=owner/name or lora=folder"
            )
        found.append(Replacement(match[1], match[2]))
    parts = [part for part, _ in found if part != LORA]
    if twice := next((part for part in parts if parts.count(part) > 1), None):
        raise UsageError(f"{twice} is replaced twice", "name one source for it")
    return tuple(found)


def replace_in(base: str, words: Sequence[str]) -> str:
    """`base` with more of it replaced; local sources by their whole paths, so that it holds in any folder.

    Raises:
        UsageError: as `check_replacements`.
    """
    first, before = parse_base(base)
    sources = [
        Replacement(part, str(Path(source).absolute()) if Path(source).exists() else source)
        for part, source in check_replacements(words)
    ]
    together = [f"{part}={source}" for part, source in (*before, *sources)]
    check_replacements(together)
    if sources and Path(first).is_dir():
        first = str(Path(first).absolute())
    return _GLUE.join((first, *together))
