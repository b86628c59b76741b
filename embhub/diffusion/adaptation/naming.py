"""The folder of an adapted base: its name is published, and it must not be there yet. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path

from embhub import destinations
from embhub.builtin_bases import NAMES, resolve
from embhub.diffusion.training.captions import check_words
from embhub.errors import UsageError


def check_public_name(name: str) -> None:
    """Refuse a folder's name that cannot be published as a base's.

    Raises:
        UsageError: characters that no name has, or a built-in base's name. PrivacyError: it looks like a person's.
    """
    if name in NAMES or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", name):
        raise UsageError(
            f"a base cannot be called {name!r}",
            "its folder's name is published: letters, digits, dots, dashes, at most 60, and no built-in base's",
        )
    check_words("folder's name", name)


def check_name(out: Path, *, overwrite: bool, base: str | Path) -> None:
    """Refuse a folder that cannot become a base; what an earlier adaptation left there is looked at later.

    Raises:
        UsageError: it is there and `overwrite` is off, or it is the base itself; a name that cannot be published, or is
            a built-in base's.
        PrivacyError: a name that looks like a person's.
        ConfigError: it cannot be made or written.
    """
    check_public_name(out.name)
    if out.exists():
        if (folder := resolve(base)) is not None and out.resolve() == folder.resolve():
            raise UsageError(f"{out} is the base itself", "choose another folder")
        if not overwrite:
            raise UsageError(f"{out} exists", "choose another folder, or pass --overwrite")
    destinations.check_folder(out)
