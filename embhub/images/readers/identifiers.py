"""What in a DICOM header names a person, and which kinds of pictures have names burned into them.

Of the attributes that PS3.15 Annex E removes or replaces, those that point at a person without anything else: names,
addresses, numbers that another system looks up, dates of birth. Dates of studies, UIDs, places and devices are not
among them: they stay in the file like everything but its pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DIRECT = frozenset(
    [
        "PatientBirthDate",
        "PatientBirthDateInAlternativeCalendar",
        "PatientDeathDateInAlternativeCalendar",
        "PatientBirthTime",
        "OtherPatientIDs",
        "OtherPatientIDsSequence",
        "PatientAddress",
        "PatientTelephoneNumbers",
        "PatientTelecomInformation",
        "MedicalRecordLocator",
        "AccessionNumber",
        "AdmissionID",
        "ServiceEpisodeID",
        "InsurancePlanIdentification",
        "ReferringPhysicianAddress",
        "ReferringPhysicianTelephoneNumbers",
        "ResponsibleOrganization",
        "PersonAddress",
        "PersonTelephoneNumbers",
        "PersonTelecomInformation",
        "IssuerOfAdmissionID",
        "MilitaryRank",
        "RequestedProcedureID",
        "FillerOrderNumberImagingServiceRequest",
        "FillerOrderNumberImagingServiceRequestRetired",
        "FillerOrderNumberProcedure",
        "PlacerOrderNumberImagingServiceRequest",
        "PlacerOrderNumberImagingServiceRequestRetired",
        "PlacerOrderNumberProcedure",
        "OrderCallbackPhoneNumber",
        "OrderCallbackTelecomInformation",
        "PatientInstitutionResidence",
        "ScheduledPatientInstitutionResidence",
    ]
)
"""Besides every name of a person (VR PN), wherever it stands."""

REVIEWED = frozenset({"US", "IVUS", "ES", "XC", "OT", "SC", "GM", "DOC", "OSS"})
"""Modalities whose devices write into the picture: a person or a program must have looked at them."""

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_ULTRASOUND = ("1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.3")
_ENDOSCOPY = ("1.2.840.10008.5.1.4.1.1.77.1.1", "1.2.840.10008.5.1.4.1.1.77.1.4")
_SCREEN = re.compile(r"screen ?(save|shot|capture)|dose ?(info|report)|patient protocol|\bprotocol sheet", re.I)
_HEAD = re.compile(
    r"\b(?:head(?:neck)?|brain|skull|face|facial|neck|sinus(?:es)?|orbits?|eyes?|jaw|mandib\w*|maxill\w*|iacs?|sella"
    r"|temporal|neuro|crani\w*)\b",
    re.I,
)
_HEAD_CODES = frozenset({"T-D1100", "69536005", "T-A0100", "12738006", "T-11100", "89546000", "T-D1600", "45048000"})
_STAND_INS = frozenset(
    {
        *("anonymous", "anonymized", "anonymised", "anon", "deidentified", "removed", "redacted", "none", "unknown"),
        *("noname", "patient", "subject", "na", "null", "xxx", "dummy", "research"),
    }
)
_DEPTH, _NAME = 12, 0x00100010


@dataclass(frozen=True)
class Found:
    """Keywords of direct identifiers that hold something, and how many private elements there are; no value."""

    identifiers: tuple[str, ...]
    private: int
    overlays: bool


def search(header: Any) -> Found:
    """Look through a data set and its sequences.

    With `PatientIdentityRemoved` YES the patient's name and every other name are taken for the stand-ins that a
    de-identification writes; without it a name counts unless it is empty, such a word, or the patient's id itself.
    """
    removed = str(header.get("PatientIdentityRemoved", "")).strip().upper() == "YES"
    patient = _letters(header.get("PatientID", ""))
    found: set[str] = set()
    private, overlays = 0, False
    for tag, element in _elements(header, 0):
        if element is None:
            if _may_name(tag):  # what cannot be read may name somebody all the same
                found.add(_keyword(tag))
            continue
        if element.tag.is_private:
            private += 1
            continue
        overlays = overlays or (0x6000 <= element.tag.group <= 0x60FF and element.tag.element == 0x3000)
        keyword = element.keyword
        if (element.VR == "PN" or keyword in DIRECT) and not _stands_in(element, removed=removed, patient=patient):
            found.add(keyword or f"{element.tag}")
    return Found(tuple(sorted(found)), private, overlays)


def needs_review(header: Any) -> bool:
    """Whether pictures of this kind often have words in their pixels: ultrasound, endoscopy, captures of a screen."""
    kind = str(header.get("SOPClassUID", ""))
    if kind.startswith(_SECONDARY_CAPTURE) and kind[len(_SECONDARY_CAPTURE) :][:1] in ("", "."):
        return True
    if any(kind == root or kind.startswith(f"{root}.") for root in (*_ULTRASOUND, *_ENDOSCOPY)):
        return True
    if str(header.get("Modality", "")).strip().upper() in REVIEWED or header.get("ConversionType"):
        return True
    words = " ".join([str(header.get("SeriesDescription", "")), *map(str, _several(header.get("ImageType")))])
    return _SCREEN.search(words.replace("_", " ")) is not None


def shows_head(header: Any) -> bool:
    """Whether the header says that a head is in the picture, from which a face can be drawn, or somebody's features."""
    if str(header.get("RecognizableVisualFeatures", "")).strip().upper() == "YES":
        return True
    words = [str(header.get(name, "")) for name in ("BodyPartExamined", "StudyDescription", "ProtocolName")]
    codes = {str(item.get("CodeValue", "")) for item in header.get("AnatomicRegionSequence", None) or ()}
    return bool(codes & _HEAD_CODES) or any(_HEAD.search(word.replace("_", " ")) for word in words)


def _elements(data: Any, depth: int) -> Iterator[tuple[Any, Any]]:
    """All elements with their tags, those inside sequences too; one that cannot be read is None.

    Sequences nested too deep are taken for a patient's name that cannot be read.
    """
    for tag in list(data.keys()):
        try:
            element = data[tag]
            value = element.value
        except Exception:  # noqa: BLE001  # pydicom raises whatever a malformed value makes it stumble on
            yield tag, None
            continue
        yield tag, element
        if element.VR == "SQ" and depth < _DEPTH:
            for item in value:
                yield from _elements(item, depth + 1)
        elif element.VR == "SQ" and value:
            yield _NAME, None  # not looked into: it may name somebody all the same


def _may_name(tag: Any) -> bool:
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    return dictionary_has_tag(tag) and (dictionary_VR(tag) == "PN" or _keyword(tag) in DIRECT)


def _keyword(tag: Any) -> str:
    from pydicom.datadict import keyword_for_tag

    found: str = keyword_for_tag(tag)
    return found


def _stands_in(element: Any, *, removed: bool, patient: str) -> bool:
    if element.VR == "SQ":  # of other ids: one that is the patient's own says nothing more
        ids = [_letters(item.get("PatientID", "")) for item in element.value]
        return all(value in _STAND_INS or value in ("", patient) for value in ids)
    values = [_letters(value) for value in _several(element.value)]
    if element.VR == "PN":
        return removed or all(value in _STAND_INS or value in ("", patient) for value in values)
    return all(value in _STAND_INS or not value.strip("0") for value in values)


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]


def _letters(value: Any) -> str:
    return "".join(letter for letter in str(value).lower() if letter.isalnum())
