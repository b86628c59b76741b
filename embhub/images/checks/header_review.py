"""What headers of DICOM files say against learning from them: refused, or said as a warning. Keywords, never values."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from embhub.errors import PrivacyError
from embhub.images.manifests.problems import Watcher
from embhub.images.manifests.sample import Listing, Sample, each_file
from embhub.images.readers.dicom_header import Header
from embhub.site.memory.patients import key_patient

FEW = 10
"""Patients under which a group can point at a person: that of a card's smallest cell."""

_GUIDE = "docs/how-to/use-dicom-and-nifti.md"
_SHOWN = 8


def check_headers(listing: Listing, watcher: Watcher) -> list[str]:
    """Tell `watcher` of what is refused; returns warnings.

    Refused: direct identifiers, unless the site states that identified headers may be read here; a picture that says
    it has annotations burned in; ultrasound, endoscopy and captures of a screen, unless the site states a review of
    pixels; several pictures of one study or volume of which some are of nobody; those of one series under two patients.
    Of a picture of several series, each is looked at.

    Raises:
        PrivacyError: any of these, by a watcher that refuses.
    """
    notes = list(listing.notes)
    if listing.without_picture:
        notes.append(f"{listing.without_picture} DICOM files without a picture were left out (reports, plans, states)")
    _refuse_identifiers(listing, watcher)
    _refuse_annotations(listing, watcher)
    _refuse_orphans(listing, watcher)
    _refuse_shared_series(listing, watcher)
    if not listing.headers:
        return notes
    return [*notes, *_warnings(each_file(listing.headers), _reviewed(listing)), *_doubts(listing)]


def warn_of_few(samples: Sequence[Sample]) -> list[str]:
    """Warnings where so few patients stand behind the whole, or behind one label, that it can point at a person."""
    patients = {sample.patient_id for sample in samples}
    if None in patients or not samples:
        return []
    if len(patients) < FEW:
        return [f"{len(patients)} patients: among fewer than {FEW} a finding can point at a person"]
    behind: dict[str, set[str | None]] = {}
    for sample in samples:
        behind.setdefault(sample.label, set()).add(sample.patient_id)
    rare = sum(len(people) < FEW for label, people in behind.items() if label)
    return (
        [f"{rare} of the labels have fewer than {FEW} patients: a rare finding can point at a person"] if rare else []
    )


def count_identifiers(headers: Sequence[Header]) -> Counter[str]:
    """In how many of the headers each direct identifier is, by DICOM keyword."""
    return Counter(keyword for header in headers for keyword in header.found.identifiers)


def tag_of(keyword: str) -> str:
    """`(gggg,eeee)` of a keyword; the keyword itself where the dictionary has none."""
    from pydicom.datadict import tag_for_keyword

    number = tag_for_keyword(keyword)
    return keyword if number is None else f"({number >> 16:04X},{number & 0xFFFF:04X})"


def _refuse_identifiers(listing: Listing, watcher: Watcher) -> None:
    files, rows = _find(listing, lambda header: bool(header.found.identifiers))
    if not rows or (listing.statement is not None and listing.statement.identified_headers):
        return
    counts = count_identifiers(files).most_common()
    named = ", ".join(f"{keyword} {tag_of(keyword)} in {files:,}" for keyword, files in counts[:_SHOWN])
    more = f" and {len(counts) - _SHOWN} other attributes" if len(counts) > _SHOWN else ""
    error = PrivacyError(
        f"direct identifiers in the headers of {len(files):,} DICOM files: {named}{more} ({_rows(rows, listing.kind)})",
        f"de-identify the files (DICOM PS3.15), or state that they may be read here: {_GUIDE}",
    )
    watcher.problem(error, rows)


def _refuse_annotations(listing: Listing, watcher: Watcher) -> None:
    files, burned = _find(listing, lambda header: header.burned_in == "YES")
    if burned:
        error = PrivacyError(
            f"{len(files):,} DICOM files say that annotations are burned into their pixels"
            f" ({_rows(burned, listing.kind)})",
            "clean the pixels and set BurnedInAnnotation to NO, or leave them out",
        )
        watcher.problem(error, burned)
    _, unseen = _find(listing, lambda header: header.needs_review and header.burned_in != "YES")
    if unseen and not _reviewed(listing):
        error = PrivacyError(
            f"{len(unseen):,} pictures are ultrasound, endoscopy or captures of a screen, which often show names"
            f" ({_rows(unseen, listing.kind)})",
            f"look at their pixels, then state so as `pixel_review` in a volumes file: {_GUIDE}",
        )
        watcher.problem(error, unseen)


def _refuse_orphans(listing: Listing, watcher: Watcher) -> None:
    """A study is of one patient, a volume too; without an id some pictures could be learned from and some controls."""
    studies = _together(listing, lambda header: header.study)
    several = (samples for samples in studies if len(samples) > 1)
    if rows := sorted({sample.row for samples in several for sample in samples if sample.patient_id is None}):
        error = PrivacyError(
            f"{len(rows):,} pictures are of no patient, and there are others of the same study or volume"
            f" ({_rows(rows, listing.kind)})",
            "say whose they are in a manifest or a volumes file: pictures of one patient must stay together",
        )
        watcher.problem(error, rows)


def _refuse_shared_series(listing: Listing, watcher: Watcher) -> None:
    series = _together(listing, lambda header: header.series if header.numbered else b"")
    shared = [samples for samples in series if len({sample.patient_id for sample in samples} - {None}) > 1]
    if rows := sorted({sample.row for samples in shared for sample in samples}):
        error = PrivacyError(
            f"{len(shared):,} DICOM series or volumes stand under several patients ({_rows(rows, listing.kind)})",
            "put the ids right: all pictures of a series are of one patient, and no two series have one UID",
        )
        watcher.problem(error, rows)


def _find(listing: Listing, test: Callable[[Header], bool]) -> tuple[tuple[Header, ...], list[int]]:
    """The files whose headers pass, and the rows of the pictures that they have a part in."""
    found = {row: several for row, headers in listing.headers.items() if (several := tuple(filter(test, headers)))}
    return each_file(found), list(found)


def _together(listing: Listing, of: Callable[[Header], bytes]) -> list[list[Sample]]:
    """Samples that must be of one patient: of one study or series, or slices of one volume."""
    groups: dict[bytes | Path, list[Sample]] = defaultdict(list)
    for sample in listing.samples:
        headers = listing.headers.get(sample.row)
        keys = {of(header) for header in headers} if headers else set(sample.paths if sample.view else ())
        for key in keys - {b""}:
            groups[key].append(sample)
    return list(groups.values())


def _doubts(listing: Listing) -> Iterator[str]:
    """One PatientID of headers under several ids of a manifest: right where headers say it wrongly, else dangerous.

    Or the same id without the issuer that the header names: another training may know the patient with it.
    """
    ids: dict[str, set[str | None]] = defaultdict(set)
    bare = 0
    for sample in listing.samples:
        header, *_ = listing.headers.get(sample.row, (None,))  # channels are of the same patient
        if header and header.patient:
            ids[header.patient].add(sample.patient_id)
            if header.issuer and sample.patient_id not in (None, header.patient):
                bare += key_patient(str(sample.patient_id), issuer=header.issuer) == header.patient
    if bare:
        yield (
            f"the ids of {bare:,} DICOM files are given without the issuer that their headers name: the privacy ledger"
            " takes patients with and without for two; add a column `issuer`"
        )
    if parted := sum(len(found) > 1 for found in ids.values()):
        yield (
            f"{parted:,} of the PatientIDs in headers stand under several patients here: if the headers are right,"
            " people count as several, and what is claimed or measured by patient is not"
        )


def _reviewed(listing: Listing) -> bool:
    return listing.statement is not None and listing.statement.pixel_review in ("manual", "automatic")


def _warnings(headers: Sequence[Header], reviewed: bool) -> Iterator[str]:
    counts = {
        "private elements": sum(header.found.private > 0 for header in headers),
        "overlays": sum(header.found.overlays for header in headers),
    }
    if silent := sum(not header.burned_in for header in headers):
        rest = "their pixels were reviewed, as the site states" if reviewed else "their pixels may hold words"
        yield f"BurnedInAnnotation is absent in {silent:,} DICOM files; {rest}"
    if identified := sum(header.identity_removed != "YES" for header in headers):
        yield f"PatientIdentityRemoved is absent or NO in {identified:,} DICOM files: are they de-identified?"
    for what, files in counts.items():
        if files:
            yield f"{what} in {files:,} DICOM files: training reads pixels only"
    if heads := sum(header.head for header in headers):
        yield f"{heads:,} DICOM files are of a head or recognizable: faces can be drawn from slices, and learned from"
    named = [header for header in headers if header.patient is not None]
    if 0 < len(named) < len(headers):
        yield f"{len(headers) - len(named):,} of the DICOM files have no PatientID"
    if 0 < sum(bool(header.issuer) for header in named) < len(named):
        yield "IssuerOfPatientID is in some DICOM files only: one patient may count as two; set `issuer` for all"


def _rows(numbers: Sequence[int], kind: str) -> str:
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    return f"{kind} {shown}{', …' if len(numbers) > _SHOWN else ''}"
