"""The first line of a manifest: its separator, its columns, and those that are probably misspelled.

A misspelled `patient_id` would be ignored, and every image would count as a person of its own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from embhub.cards.personal_data import looks_like_patient
from embhub.errors import UsageError

KNOWN = ("path", "patient_id", "issuer", "label", "split", "caption")
SEPARATORS = (",", ";", "\t")
_OTHERS: Mapping[str, str] = {
    **dict.fromkeys(("patient", "patients", "subject", "subjectid", "subjects", "pid", "patid"), "patient_id"),
    **dict.fromkeys(("patientennr", "patientenid", "patientennummer", "patientnr", "patientnumber"), "patient_id"),
    **dict.fromkeys(("patienten", "patnr", "patientenkennung", "patientencode", "pseudonym"), "patient_id"),
    **dict.fromkeys(("proband", "probandennr", "probandenid", "probandennummer"), "patient_id"),
    **dict.fromkeys(("file", "filename", "filepath", "image", "imagepath", "datei", "dateiname", "bild"), "path"),
    **dict.fromkeys(("pfad", "dateipfad", "bildpfad", "bilddatei", "bildname"), "path"),
    **dict.fromkeys(("aufteilung", "datenaufteilung"), "split"),
}
_SHOWN = 12  # columns that a message lists
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 _.+-]{0,39}")


def parse_columns(text: str) -> dict[str, str]:
    """`path=Datei,patient_id=PatientenNr`: a table's own names by ours.

    Raises:
        UsageError: anything else.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    found = {known.strip(): own.strip() for known, _, own in pairs}
    if not all(own.strip() for *_, own in pairs) or len(found) != len(pairs) or not set(found) <= set(KNOWN):
        raise UsageError(
            f"{text[:60]!r} names no columns",
            f"write OURS=YOURS, such as path=Datei,patient_id=PatientenNr; ours are {', '.join(KNOWN)}",
        )
    return found


def rename(names: Sequence[str], columns: Mapping[str, str]) -> list[str]:
    """The names of a table's columns with ours in place of its own.

    Raises:
        UsageError: it has no such column, or has ours already.
    """
    for known, own in columns.items():
        if own not in names or (known in names and known != own):
            said = f"it has a column {known} already" if own in names else f"its columns are {list_columns(names)}"
            raise UsageError(f"the manifest's column for {known} cannot be {own[:40]!r}", said)
    ours = {own: known for known, own in columns.items()}
    return [ours.get(name, name) for name in names]


def find_separator(first_line: str, path: str = "path") -> str:
    """The separator of a table whose first line has the column `path`: a comma where none fits."""
    for separator in SEPARATORS:
        if path in {name.strip().strip('"') for name in first_line.split(separator)}:
            return separator
    return max(SEPARATORS, key=first_line.count)


def check_columns(names: Sequence[str]) -> None:
    """Refuse a column that is probably one of ours, misspelled, where the column itself is not there.

    Raises:
        UsageError: such a column; the message names the right one.
    """
    for name in names:
        meant = _meant(name)
        if meant is not None and meant not in names:
            shown = f"`{name}`" if _is_plain(name) else "one"
            raise UsageError(
                f"the manifest has a column {shown}: did you mean {meant}?",
                f"name the column {meant}; if it holds something else, give it another name. `embhub inspect --columns"
                f" {meant}=… --write-manifest FILE` renames columns in a copy",
            )


def describe_unused(names: Iterable[str], used: str) -> str | None:
    """A remark on columns that nothing reads; names that may be a person's are counted only."""
    further = [name for name in names if name not in KNOWN and name != used]
    if not further:
        return None
    plain = [name for name in further if _is_plain(name)]
    hidden = len(further) - len(plain)
    counted = [f"{hidden} column{'s' if hidden > 1 else ''} that may name a person"] if hidden else []
    said = [*plain[:_SHOWN], *counted]
    return f"columns that are not used: {', '.join(said)}"


def list_columns(names: Iterable[str]) -> str:
    """The columns of a manifest for a message, without those that may name a person."""
    return ", ".join([name for name in names if _is_plain(name)][:_SHOWN])


def _meant(name: str) -> str | None:
    """Which known column a name stands for in another spelling; None for a known one, and for any other word."""
    if name in KNOWN:
        return None
    folded = re.sub(r"[^a-z0-9]", "", name.casefold())
    if folded in _OTHERS:
        return _OTHERS[folded]
    for known in ("patient_id", "label", "split", "path", "caption"):
        plain = known.replace("_", "")
        if folded in (plain, f"{plain}s") or (
            known == "patient_id" and difflib.get_close_matches(folded, [plain], cutoff=0.85)
        ):
            return known
    return None


def _is_plain(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and looks_like_patient(text) is None
