"""What an inspection says beyond the warnings of `train`: worth a look by a person, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from embhub.images.inspections.report import Inspection

_LARGE_SHARE = 0.2


def remarks_on(found: Inspection) -> tuple[str, ...]:
    """Sentences on likenesses, names, depth, metadata and balance, the gravest first."""
    sharing = (*_on_text(found), *_on_likeness(found), *_on_names(found))
    return (*sharing, *_on_depth(found), *_on_metadata(found), *_on_balance(found))


def _on_text(found: Inspection) -> Iterator[str]:
    if found.burned_text:
        yield (
            f"text burned into the pixels: {_rows(found.burned_text, found)}. It can name a patient, and an embedding "
            "can learn it: look, and black it out or leave the image out. What was read is not repeated here"
        )
    if found.text_unknown:
        yield (
            f"text burned into the pixels was not looked for in {_rows(found.text_unknown, found)}: too narrow, or the "
            "reader failed. Look yourself"
        )


def _on_likeness(found: Inspection) -> Iterator[str]:
    foreign = [pair.row for pair in found.duplicates.pairs if pair.other_patient]
    same = [pair.row for pair in found.duplicates.pairs if not pair.other_patient]
    if foreign:
        yield (
            f"nearly the picture of another patient: {_rows(foreign, found)}. Is it one patient "
            "under two ids? A patient kept back would still be learned from"
        )
    if same:
        yield f"nearly repeats an earlier picture: {_rows(same, found)}. Copies count twice in training"


def _on_names(found: Inspection) -> Iterator[str]:
    for rows, what in ((found.names.patient_ids, "patient ids"), (found.names.labels, "labels")):
        if rows:
            yield (
                f"{what} that look like a name, a date or a record number: {_rows(rows, found)}. They stay on this "
                "machine, but neutral ones cannot slip out; they are not repeated here"
            )


def _on_depth(found: Inspection) -> Iterator[str]:
    if found.deep:
        yield (
            f"more than 8 bits in {found.deep.images:,}, values {found.deep.lowest:g} to {found.deep.highest:g}: "
            "each is scaled by its own range (1st percentile black, 99.5th white), so absolute values are lost"
        )
        if found.deep.within_8_bits:
            yield f"no value beyond 255 in {found.deep.within_8_bits:,} of those: were they meant to be 8-bit files?"
        if others := found.images.readable - found.deep.images:
            yield f"{others:,} others are read as they are, or in a window: an embedding may learn the difference"
    if cut := sum(kind.images for kind in found.kinds if kind.bits == 16 and kind.mode in ("RGB", "RGBA", "LA")):
        yield f"16-bit colour in {cut:,}: only the upper 8 bits are read"


def _on_metadata(found: Inspection) -> Iterator[str]:
    if found.with_metadata:
        names = ", ".join(f"{field.field} ({field.images})" for field in found.metadata[:6])
        yield (
            f"words in the headers of {found.with_metadata:,} files: {names}. Training reads pixels only; "
            "remove them before the files go anywhere"
        )


def _on_balance(found: Inspection) -> Iterator[str]:
    patients, readable = found.patients, found.images.readable
    if patients and patients.number > 2 and patients.most > max(3, _LARGE_SHARE * readable):
        yield f"one patient has {patients.most} of {readable} images: an embedding may learn that patient"


def _rows(rows: Sequence[int], found: Inspection) -> str:
    return f"{len(rows):,} ({found.row_name} {', '.join(map(str, rows[:8]))}{', …' if len(rows) > 8 else ''})"
