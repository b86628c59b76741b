"""Does a base generate such images? By its card, the caption, and the modality and body part of DICOM headers.

No pixel is looked at. The caption is public, so that it may choose the base, whose name a release carries. A header is
of one patient: it can stop a training before anything is written, and it never chooses. Its words are not repeated
either; messages have those of the cards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from embhub.builtin_bases import GENERATES, Generates
from embhub.errors import UsageError
from embhub.images.readers.dicom_header import Header

_SILENT = frozenset({"", "OT"})
"""Modalities that say nothing; OT is DICOM's word for "other"."""
_LIST = "`embhub base list` says what the built-in bases generate"
_SHOWN = 8


class Shown(NamedTuple):
    """What the header of one DICOM file says that it shows, in DICOM's codes; `row` is the sample's."""

    row: int
    modality: str
    body_part: str


def shown_by(headers: Mapping[int, tuple[Header, ...]]) -> tuple[Shown, ...]:
    """What the headers say, by row; those without a word of it are left out."""
    found = (
        Shown(row, header.modality, " ".join(header.choices["BodyPartExamined"]).upper())
        for row, several in headers.items()
        for header in several
    )
    return tuple(dict.fromkeys(one for one in found if one.modality not in _SILENT or one.body_part))


def choose_base(caption: str, shown: Sequence[Shown], kind: str = "image") -> str:
    """The built-in base that the caption names, where no header says otherwise; errors call a row `kind`.

    Raises:
        UsageError: The caption names none, or the headers are of other images. The hint names the base that fits.
    """
    named = next((name for name, card in GENERATES.items() if _names(caption, card)), None)
    if named is None:
        raise UsageError(
            f"no base was named, and the caption names no images that a built-in base generates ({_LIST})",
            _advise(shown),
        )
    if others := _different(GENERATES[named], shown):
        raise UsageError(
            f"the caption names images as {named} generates them ({GENERATES[named].what}), and the headers of"
            f" {len(others):,} DICOM files are of another modality or body part ({_rows(others, kind)})",
            f"leave those files out, or {_advise(shown)}",
        )
    return named


def say_chosen(name: str) -> str:
    """What a person is told of a base that was chosen for them."""
    return f"base: {name}, which generates {GENERATES[name].what}, as the caption says; --base names another"


def propose_base(caption: str, shown: Sequence[Shown], kind: str = "image") -> tuple[str | None, str]:
    """The base to propose to a person, None where the caption names none that fits; and the reason.

    No header proposes one: a base is published beside a claim, and one patient's header could decide it.
    """
    try:
        named = choose_base(caption, shown, kind)
    except UsageError as error:
        return None, f"{error.message}; {error.hint}"
    return named, say_chosen(named)


def doubt(base: str | Path, shown: Sequence[Shown]) -> str:
    """A warning where a built-in base was named and the headers are of other images; "" where nothing is amiss."""
    card = GENERATES.get(str(base))
    if card is None or not (others := _different(card, shown)):
        return ""
    fitting = find_fitting(shown)
    better = f"; {fitting} fits: it generates {GENERATES[fitting].what}" if fitting else ""
    return f"{base} generates {card.what}, and the headers of {len(others):,} DICOM files are of other images{better}"


def settle(
    base: str | Path | None, caption: str, shown: Sequence[Shown], kind: str = "image"
) -> tuple[str | Path, tuple[str, ...]]:
    """The base that was named, else the one that the caption names; with remarks for a person.

    Raises:
        UsageError: As `choose_base`.
    """
    if base is None:
        chosen = choose_base(caption, shown, kind)
        return chosen, (say_chosen(chosen),)
    found = doubt(base, shown)
    return base, (found,) if found else ()


def find_fitting(shown: Sequence[Shown]) -> str | None:
    """The built-in base that generates what all headers say; None where there is none, or no header says anything."""
    if not shown:
        return None
    return next((name for name, card in GENERATES.items() if not _different(card, shown)), None)


def describe(shown: Sequence[Shown]) -> str:
    """For an inspection, which knows no caption: what the headers say of the base to name.

    Raises:
        UsageError: No built-in base generates what the headers say, so that a training would ask for one.
    """
    if not shown:
        return f"which base suits them was not looked at: no header says what the images show; {_LIST}"
    if (fitting := find_fitting(shown)) is None:
        raise UsageError("no base was named, and no built-in base generates what the headers say", _advise(shown))
    return (
        f"the headers fit the base {fitting}, which generates {GENERATES[fitting].what}: `train` takes it where the"
        f" caption names such images, or with --base {fitting}"
    )


def _advise(shown: Sequence[Shown]) -> str:
    if fitting := find_fitting(shown):
        return f"name the base that fits the headers: --base {fitting} generates {GENERATES[fitting].what}"
    return (
        "name a base that was trained on such images: --base FOLDER or --base owner/name"
        " (docs/how-to/base-families.md); for embhub's own phantoms --base builtin"
    )


def _names(caption: str, card: Generates) -> bool:
    def holds(words: Sequence[str]) -> bool:
        return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", caption.casefold()) for word in words)

    return bool(card.words) and all(map(holds, card.words)) and not holds(card.other_words)


def _different(card: Generates, shown: Sequence[Shown]) -> list[Shown]:
    return [
        one
        for one in shown
        if (one.modality not in _SILENT and one.modality not in card.modalities)
        or (one.body_part and one.body_part not in card.body_parts)
    ]


def _rows(others: Sequence[Shown], kind: str) -> str:
    rows = ", ".join(str(one.row) for one in others[:_SHOWN])
    return f"{kind} {rows}{', …' if len(others) > _SHOWN else ''}"
