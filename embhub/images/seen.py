"""Whom a base was trained on, as `seen.json` beside its weights tells it: patient ids and sketches of public images.

Only a base of public images can have such a list: it is there so that nobody tests on those patients unaware.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from embhub.errors import ConfigError
from embhub.formats import strict_json
from embhub.images.sketch import SAME, distance
from embhub.site.memory.patients import is_keyed, key_patient, tidy

NAME, SCHEMA = "seen.json", "embhub.seen/1"
_MOST = 50_000_000


@dataclass(frozen=True)
class Seen:
    """`patients` as the public source names them, `sketches` of their images, in no common order."""

    source: str
    patients: frozenset[str]
    sketches: tuple[int, ...]

    def has_patient(self, name: str) -> bool:
        """Whether the source has a patient of this id among those that the base saw; also of one from a header."""
        return tidy(name) in self.patients or (is_keyed(name) and name in self._keyed)

    @cached_property
    def _keyed(self) -> frozenset[str]:
        return frozenset(map(key_patient, self.patients))

    def has_picture(self, sketches: tuple[int, ...]) -> bool:
        """Whether one of a picture's sketches is that of an image that the base saw."""
        return any(distance(mine, one) <= SAME for one in self.sketches for mine in sketches)

    def to_bytes(self) -> bytes:
        """The file."""
        values = {
            "schema": SCHEMA, "source": self.source, "patients": sorted(self.patients),
            "sketches": sorted(f"{one:0128x}" for one in self.sketches),
        }  # fmt: skip
        return json.dumps(values, indent=0).encode() + b"\n"


def read(folder: Path) -> Seen | None:
    """The list of a base's folder; None where it has none.

    Raises:
        ConfigError: the list is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        values = strict_json.read(path.read_bytes(), limit=_MOST)
        if values["schema"] != SCHEMA:
            raise ValueError("of another schema")
        found = tuple(int(one, 16) for one in values["sketches"])
        return Seen(str(values["source"]), frozenset(map(str, values["patients"])), found)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the base's {NAME} cannot be read: {error}", "install embhub-bases again") from error
