"""From what a survey remembers to the figures of an inspection."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from statistics import median
from typing import TYPE_CHECKING, Literal

from embhub.cards.personal_data import looks_like_patient, personal_data
from embhub.errors import EmbhubError
from embhub.images.checks.header_review import count_identifiers, tag_of
from embhub.images.framing import is_too_small
from embhub.images.inspections.report import (
    Counts,
    Deep,
    Duplicates,
    Identifier,
    Ignored,
    Inspection,
    Kind,
    Label,
    Names,
    Near,
    Patients,
    Refusal,
    Size,
    Splits,
    TextField,
)
from embhub.images.inspections.survey import Survey
from embhub.images.manifests.sample import Sample, each_file
from embhub.images.readers.encoding import Encoding
from embhub.options.preprocessing import Fit
from embhub.progress import OnProgress
from embhub.site.memory.patients import is_keyed, key_patient, tidy

if TYPE_CHECKING:
    from embhub.images.readers.dicom_header import Header

_TEXT = "text burned into the pixels (needs the extra `ocr`)"


def summarise(
    survey: Survey,
    resolution: int,
    fit: Fit,
    *,
    source: Literal["folder", "manifest", "volumes"],
    ignored: tuple[Ignored, ...],
    warnings: tuple[str, ...],
    on_progress: OnProgress | None = None,
) -> Inspection:
    """The report, without remarks."""
    kinds = Counter((e.format, e.mode, e.bits) for e in survey.encodings)
    return Inspection(
        source=source,
        row_name=survey.kind or ("row" if source == "manifest" else "image"),
        images=Counts(listed=survey.listed, readable=len(survey.read), different=len(survey.pictures)),
        resolution=resolution,
        under_half=sum(is_too_small(size, resolution, fit) for size in survey.sizes),
        sizes=tuple(Size(width=w, height=h, images=n) for (w, h), n in Counter(survey.sizes).most_common()),
        kinds=tuple(Kind(format=f, mode=m, bits=b, images=n) for (f, m, b), n in kinds.most_common()),
        deep=_deep(survey.encodings),
        patients=_patients(survey.read),
        labels=_labels(survey),
        splits=_splits(survey),
        duplicates=_duplicates(survey, on_progress),
        names=_names(survey),
        metadata=tuple(TextField(field=name, images=n) for name, n in survey.fields.most_common()),
        with_metadata=survey.with_fields,
        dicom=len(each_file(survey.headers)),
        identifiers=_identifiers(each_file(survey.headers)),
        ignored=ignored,
        refusals=_refusals(survey.problems),
        warnings=warnings,
        remarks=(),
        burned_text=_rows(survey, survey.with_text) if survey.finds_text else None,
        text_unknown=_rows(survey, survey.text_unknown),
        not_looked_for=(*(() if survey.finds_text else (_TEXT,)), "faces in reconstructions of a head"),
    )


def _rows(survey: Survey, digests: Collection[bytes]) -> tuple[int, ...]:
    return tuple(sorted(sample.row for digest in digests for sample in survey.pictures[digest]))


def _deep(encodings: Sequence[Encoding]) -> Deep | None:
    ranges = [(e.lowest, e.highest) for e in encodings if e.lowest is not None and e.highest is not None]
    if not ranges:
        return None
    return Deep(
        images=len(ranges),
        lowest=min(low for low, _ in ranges),
        highest=max(high for _, high in ranges),
        within_8_bits=sum(low >= 0 and high <= 255 for low, high in ranges),
    )


def _patients(samples: Sequence[Sample]) -> Patients | None:
    if not samples or any(sample.patient_id is None for sample in samples):
        return None
    each = Counter(sample.patient_id for sample in samples).values()
    return Patients(
        number=len(each),
        fewest=min(each),
        median=median(each),
        most=max(each),
        histogram=dict(sorted(Counter(each).items())),
    )


def _labels(survey: Survey) -> tuple[Label, ...]:
    withheld = _personal_labels(survey)
    counts: Counter[str | None] = Counter(
        None if sample.label in withheld else sample.label for sample in survey.read if sample.label
    )
    return tuple(Label(label=label, images=number) for label, number in counts.most_common())


def _splits(survey: Survey) -> Splits:
    holdout = sum(sample.split == "holdout" for sample in survey.read)
    return Splits(train=len(survey.read) - holdout, holdout=holdout, left_out=survey.left_out)


def _identifiers(headers: Sequence[Header]) -> tuple[Identifier, ...]:
    return tuple(
        Identifier(attribute=keyword, tag=tag_of(keyword), files=files)
        for keyword, files in count_identifiers(headers).most_common()
    )


def _duplicates(survey: Survey, on_progress: OnProgress | None) -> Duplicates:
    firsts = [twins[0] for twins in survey.pictures.values()]
    pairs = tuple(
        Near(
            row=firsts[pair.second].row,
            like=firsts[pair.first].row,
            other_patient=firsts[pair.first].patient_id != firsts[pair.second].patient_id,
        )
        for pair in survey.likenesses.pairs([sample.patient_id or "" for sample in firsts], on_progress)
    )
    shared = sum(len({twin.patient_id for twin in twins}) > 1 for twins in survey.pictures.values())
    return Duplicates(
        exact=len(survey.read) - len(survey.pictures),
        near=len(pairs),
        across_patients=shared + sum(pair.other_patient for pair in pairs),
        pairs=pairs,
    )


def _names(survey: Survey) -> Names:
    """Files are refused by `train`; ids and labels stay in this site's records, so they are pointed out only."""
    personal = _personal_labels(survey)
    return Names(
        files=tuple(survey.names),
        patient_ids=tuple(
            s.row
            for s in survey.samples
            if s.patient_id and not is_keyed(s.patient_id) and looks_like_patient(s.patient_id)
        ),
        labels=tuple(s.row for s in survey.samples if s.label in personal),
    )


def _personal_labels(survey: Survey) -> set[str]:
    """Labels that look like a person's, or are the id of a patient who has them.

    One or two characters that several patients have, such as 1, are a label.
    """
    held: dict[str, set[str | None]] = defaultdict(set)
    for sample in survey.samples:
        if sample.label:
            held[sample.label].add(sample.patient_id)
    return {
        label
        for label, ids in held.items()
        if (any(_is_id(label, patient, survey) for patient in ids) and not (len(label) < 3 and len(ids) > 1))
        or looks_like_patient(label)
        or personal_data(label)
    }


def _is_id(label: str, patient: str | None, survey: Survey) -> bool:
    """Whether a label is a patient's id, which may be known here by its key alone."""
    if patient is None or not is_keyed(patient):
        return patient == tidy(label)
    return any(key_patient(label, issuer=issuer) == patient for issuer in survey.issuers)


def _refusals(problems: Sequence[tuple[EmbhubError, tuple[int, ...]]]) -> tuple[Refusal, ...]:
    """Problems of one kind, those with one remedy, are one refusal; the order is that of `train`."""
    groups: dict[tuple[type, str], list[tuple[EmbhubError, tuple[int, ...]]]] = defaultdict(list)
    for error, rows in problems:
        groups[type(error), error.hint].append((error, rows))
    return tuple(
        Refusal(
            error=type(group[0][0]).__name__,
            exit_code=group[0][0].exit_code,
            message=group[0][0].message,
            hint=group[0][0].hint,
            cases=len(group),
            rows=tuple(sorted({row for _, rows in group for row in rows})),
        )
        for group in groups.values()
    )
