"""Answers that hold for one release alone: taken from a site's defaults, a person has to confirm each.

A draft lists them under `confirm:`, which is no field of the card. Whoever has checked an answer takes its name off the
list; a card with names left on it is not complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

KEY = "confirm"
OF_ONE_RELEASE: Mapping[str, str] = MappingProxyType(
    {
        "legal_basis": "legal_basis",
        "consent_or_waiver": "consent_or_waiver",
        "ethics_ref": "ethics_ref",
        "deidentification": "deidentification.pixel_review",
    }
)
"""Fields of the card, and what of them is to be confirmed."""


def choose(site: Mapping[str, Any], earlier: Mapping[str, Any], computed: Mapping[str, Any]) -> list[str]:
    """What of a draft is to be confirmed.

    Args:
        site: answers that the site gives for all its releases.
        earlier: what the card's own file said before, its list of open confirmations included.
        computed: what follows from the training's own record.

    Returns:
        Names for the list: answers of the site that nobody changed or confirmed in the card's file.
    """
    listed = earlier.get(KEY)
    still_open = set(listed) if isinstance(listed, list) and all(isinstance(name, str) for name in listed) else set()
    found = []
    for field, name in OF_ONE_RELEASE.items():
        if field in site and field not in computed:
            unchanged = name in still_open and earlier.get(field) == site[field]
            if field not in earlier or unchanged:
                found.append(name)
    return found


def find_open(values: Mapping[str, Any]) -> list[str]:
    """One sentence for each answer that a card's file lists as not confirmed."""
    listed = values.get(KEY) or []
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        return [f"{KEY}: must be a list of field names; remove a name once you have checked its answer"]
    return [
        f"{name}: to confirm, from `site:` of config.yaml: check that it holds for this release, then remove it from"
        f" `{KEY}:`"
        for name in (ascii(one)[1:-1][:60] for one in listed)
    ]
