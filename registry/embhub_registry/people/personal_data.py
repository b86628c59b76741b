"""Where a registry looks for signs of a person: every text that a commit would make public. Pure."""

from __future__ import annotations

import re

from embhub.cards.personal_data import looks_like_patient, personal_data, personal_data_in_release
from embhub.release.files import CARD, Release

_DIGESTS = re.compile(r"\b[0-9a-f]{32,}\b|SHA256:[A-Za-z0-9+/]{43}")


def find_in_words(text: str) -> list[str]:
    """Signs of a person in a text, as `kind at line N, column M`; digests are no record numbers."""
    return personal_data(_DIGESTS.sub(" ", text))


def find_in_name(name: str) -> str | None:
    """The kind of sign in the name of a repository, branch or tag; None where there is none."""
    return looks_like_patient(name)


def find_in_release(release: Release) -> list[str]:
    """Signs of a person in card, README.md and the embedding's header, as `kind in place`.

    Report and statements have no room for words of their own: verification refuses them.
    """
    header = release.embedding.metadata
    found = personal_data_in_release(release.card, readme=release.files[CARD], training=release.embedding.training)
    if kind := find_in_name(release.embedding.token.strip("<>")):
        found.append(f"{kind} in the token")
    for name, value in header.items():
        if name.startswith("modelspec."):
            found += [f"{finding.split(' at line ')[0]} in the header's {name}" for finding in find_in_words(value)]
    return found
