"""Closed word lists of the card: DICOM modalities, de-identification codes, code systems, licences.

No SNOMED or ICD table is shipped (their licences forbid it): a code of theirs is checked for its shape only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

# Defined terms of Modality (0008,0060) that stand for images, DICOM PS3.3 C.7.3.1.1.1.
MODALITIES: Mapping[str, str] = MappingProxyType(
    {
        "BI": "biomagnetic imaging",
        "CFM": "confocal microscopy",
        "CR": "computed radiography",
        "CT": "computed tomography",
        "DG": "diaphanography",
        "DMS": "dermoscopy",
        "DX": "digital radiography",
        "ES": "endoscopy",
        "GM": "general microscopy",
        "IO": "intra-oral radiography",
        "IVOCT": "intravascular optical coherence tomography",
        "IVUS": "intravascular ultrasound",
        "LS": "laser surface scan",
        "MG": "mammography",
        "MR": "magnetic resonance",
        "NM": "nuclear medicine",
        "OCT": "optical coherence tomography",
        "OP": "ophthalmic photography",
        "OPM": "ophthalmic mapping",
        "OPT": "ophthalmic tomography",
        "OPTBSV": "ophthalmic tomography, B-scan volume",
        "OPTENF": "ophthalmic tomography, en face",
        "OT": "other",
        "PA": "photoacoustic imaging",
        "PT": "positron emission tomography",
        "PX": "panoramic X-ray",
        "RF": "radiofluoroscopy",
        "RG": "radiographic imaging (film)",
        "RTIMAGE": "radiotherapy image",
        "SM": "slide microscopy",
        "TG": "thermography",
        "US": "ultrasound",
        "XA": "X-ray angiography",
        "XC": "external-camera photography",
    }
)

# De-identification methods, DICOM PS3.16 CID 7050.
DEIDENTIFICATION: Mapping[str, str] = MappingProxyType(
    {
        "113100": "Basic Application Confidentiality Profile",
        "113101": "Clean Pixel Data Option",
        "113102": "Clean Recognizable Visual Features Option",
        "113103": "Clean Graphics Option",
        "113104": "Clean Structured Content Option",
        "113105": "Clean Descriptors Option",
        "113106": "Retain Longitudinal Temporal Information Full Dates Option",
        "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
        "113108": "Retain Patient Characteristics Option",
        "113109": "Retain Device Identity Option",
        "113110": "Retain UIDs Option",
        "113111": "Retain Safe Private Option",
        "113112": "Retain Institution Identity Option",
        "not-dicom": "the images were never DICOM files, or came de-identified from another source",
    }
)

CODE_SYSTEMS: Mapping[str, str] = MappingProxyType(
    {
        "RadLex": r"RID[0-9]{1,8}",
        "SNOMED CT": r"[0-9]{6,18}",
        "ICD-10": r"[A-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?",
        "ICD-11": r"[0-9A-Z]{4}(\.[0-9A-Z]{1,3})?",
        "ICD-O": r"([CM]?[0-9]{2,4}(\.[0-9])?|[0-9]{4}/[0-9])",
        "local": r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    }
)

# Licence words that the Hugging Face Hub knows; anything else is `other` there, with a name and a link.
_HUB_LICENCES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense
zlib pddl lgpl-lr
"""
_OF_ONE_MODEL = frozenset(
    [
        "apple-amlr",
        "apple-ascl",
        "deepfloyd-if-license",
        "gemma",
        "llama2",
        "llama3",
        "llama3.1",
        "llama3.2",
        "llama3.3",
    ]
)
"""Words of the Hub for the terms of one model or one owner, which SPDX does not list."""
HUB_LICENCES = _OF_ONE_MODEL.union(_HUB_LICENCES.split())
_HUB_TO_SPDX: Mapping[str, str] = MappingProxyType(
    {
        "openrail": "LicenseRef-OpenRAIL",
        "openrail++": "LicenseRef-OpenRAIL-PlusPlus",
        "bigscience-openrail-m": "LicenseRef-BigScience-OpenRAIL-M",
        "creativeml-openrail-m": "LicenseRef-CreativeML-OpenRAIL-M",
        "bigscience-bloom-rail-1.0": "LicenseRef-BigScience-BLOOM-RAIL-1.0",
        "bigcode-openrail-m": "LicenseRef-BigCode-OpenRAIL-M",
        "c-uda": "C-UDA-1.0",
        "odc-by": "ODC-By-1.0",
        "odbl": "ODbL-1.0",
        "pddl": "PDDL-1.0",
        "lgpl-lr": "LGPLLR",
    }
)
"""Words of the Hub that SPDX does not know: RAIL licences are none of its list, and databases' have a version there."""
_SPDX_TO_HUB: Mapping[str, str] = MappingProxyType({spdx: word for word, spdx in _HUB_TO_SPDX.items()})
LONGEST_LICENCE = 200  # letters of an expression
_WITHOUT_VERSION = frozenset({"cc", "bsd", "gpl", "lgpl", "gfdl"})


def check_licence(expression: str) -> str:
    """The SPDX licence expression in its canonical spelling; a licence of one's own is `LicenseRef-Name`.

    A word of the Hub, such as `creativeml-openrail-m`, becomes the SPDX expression that stands for it.

    Raises:
        ValueError: not an SPDX expression.
    """
    word = expression.strip().lower()
    if word in _HUB_TO_SPDX:
        return _HUB_TO_SPDX[word]
    if word in _OF_ONE_MODEL:
        return f"LicenseRef-{word}"
    if word in _WITHOUT_VERSION:
        raise ValueError(f"{word} is a family of licences: write which one, such as BSD-3-Clause or GPL-3.0-only")
    try:
        return str(canonicalize_license_expression(expression))
    except InvalidLicenseExpression as error:
        raise ValueError(
            "not an SPDX licence: write CC-BY-4.0, Apache-2.0 or the like, or LicenseRef-Name for any other"
        ) from error


def is_licence(word: str) -> bool:
    """Whether the Hub, or SPDX, knows a licence by this word or expression, in whatever case."""
    if word.lower() in HUB_LICENCES or word.lower() in ("other", "unknown"):
        return True
    try:
        return len(word) <= LONGEST_LICENCE and bool(check_licence(word))
    except ValueError:
        return False


def check_code(system: str, code: str) -> None:
    """Raise ValueError unless `code` has the shape that `system` gives its codes."""
    if not re.fullmatch(CODE_SYSTEMS[system], code):
        raise ValueError(f"not a code of {system}")


def hub_licence(expression: str) -> str:
    """The Hub's word for a licence, `other` where it has none."""
    word = _SPDX_TO_HUB.get(expression) or expression.removeprefix("LicenseRef-").lower()
    word = re.sub(r"-(?:only|or-later)$", "", word)  # the Hub has gpl-3.0 for both
    return word if word in HUB_LICENCES else "other"
