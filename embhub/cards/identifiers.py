"""Identifiers that a citation names: ORCID iDs of authors, the ROR of an institution, the DOI of a release. Pure.

Each has one spelling here, whatever the spelling in a card's file: the addresses that ORCID and ROR ask for, and the
bare DOI. A digit that was typed wrongly fails the checksum of an ORCID iD or a ROR; a DOI has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

ORCID: Final = "https://orcid.org/"
ROR: Final = "https://ror.org/"
DOI: Final = "https://doi.org/"
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"  # base 32 without i, l, o and u
_DOI = re.compile(r"10\.[0-9]{4,9}(\.[0-9]{1,9}){0,3}/[A-Za-z0-9:/_;.()\[\]-]{1,200}")


def check_orcid(text: str) -> str:
    """The address of an ORCID iD, typed with or without `https://orcid.org/`.

    The last character is the checksum ISO 7064 mod 11-2 of the others.

    Raises:
        ValueError: another form, or a wrong checksum.
    """
    bare = text.removeprefix(ORCID)
    if re.fullmatch(r"([0-9]{4}-){3}[0-9]{3}[0-9X]", bare) is None:
        raise ValueError("not an ORCID iD, such as https://orcid.org/0000-0002-1825-0097")
    if bare[-1] != orcid_checksum(bare[:-1].replace("-", "")):
        raise ValueError("the checksum of this ORCID iD is wrong: a digit is mistyped")
    return ORCID + bare


def orcid_checksum(digits: str) -> str:
    """The last character of an ORCID iD from its 15 digits (ISO 7064 mod 11-2)."""
    total = 0
    for digit in digits:
        total = (total + int(digit)) * 2
    return "0123456789X"[(12 - total % 11) % 11]


def check_ror(text: str) -> str:
    """The address of an institution in the Research Organization Registry, typed with or without `https://ror.org/`.

    Raises:
        ValueError: another form, or a wrong checksum.
    """
    bare = text.removeprefix(ROR)
    if re.fullmatch(rf"0[{_CROCKFORD}]{{6}}[0-9]{{2}}", bare) is None:
        raise ValueError("not a ROR identifier, such as https://ror.org/05wg1m734")
    if bare[7:] != ror_checksum(bare[:7]):
        raise ValueError("the checksum of this ROR identifier is wrong: a character is mistyped")
    return ROR + bare


def ror_checksum(coded: str) -> str:
    """The last two digits of a ROR from the seven characters before them (ISO 7064 mod 97-10 of their number)."""
    number = 0
    for character in coded:
        number = number * 32 + _CROCKFORD.index(character)
    return f"{98 - number * 100 % 97:02d}"


def check_doi(text: str) -> str:
    """A DOI without a resolver's address, typed with or without `https://doi.org/` or `doi:`.

    Raises:
        ValueError: not a DOI of letters, digits and `:/_;.()[]-`.
    """
    bare = text.removeprefix(DOI).removeprefix("doi:")
    if _DOI.fullmatch(bare) is None:
        raise ValueError("not a DOI, such as 10.5281/zenodo.1234567")
    return bare


Orcid = Annotated[str, Field(max_length=60), AfterValidator(check_orcid)]
Ror = Annotated[str, Field(max_length=60), AfterValidator(check_ror)]
Doi = Annotated[str, Field(max_length=260), AfterValidator(check_doi)]


def find_strangers(orcids: Mapping[str, str], authors: tuple[str, ...]) -> str | None:
    """What is wrong with the ORCID iDs of a card, or None: each is of one author, and no two authors share one."""
    if not set(orcids) <= set(authors):
        return "orcid names somebody who is not among the authors"
    if len(set(orcids.values())) < len(orcids):
        return "orcid gives two authors the same ORCID iD"
    return None
